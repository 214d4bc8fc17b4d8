"""What was said, by CTC: error rates of phonemes, words and characters.

All systems go through one search; each chooses how much it listens to the language models on
validation windows. Shapes: N frames, K symbols.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.signals.phonemes import PHONEMES, SIL
from brainfm.speech.decoder import SYMBOLS
from brainfm.speech.lexicon import WordGrammar, words_in
from brainfm.speech.ngram import NGram
from brainfm.speech.search import AnySymbol, beam_search, edits, greedy
from brainfm.speech.text import NORMALISER
from eval.metrics.text import PHONEME_RULE, error_counts
from eval.speech.answers import LINEAR, NO_BRAIN, Answer, Said, Say
from eval.speech.decoders import Trained
from eval.speech.frames import MOST_FRAMES, linear_frames
from eval.speech.language import PHONEME_ORDER, WORD_ORDER, Language
from eval.speech.scores import Counts, Metric
from eval.speech.windows import Plan, Window

BEAM, LOOKAHEAD = 16, 2
WEIGHTS, BONUSES = (0.1, 0.3, 0.7, 1.2), (0.0, 1.0, 2.0)
DEFAULT = (0.7, 0.0)
"""Tried for the weight of a language model and the bonus of each symbol or word; and what is taken
where there is nothing to choose on."""
CHOOSERS = 12
"""Validation windows that weight and bonus are chosen on, evenly drawn."""
EXAMPLES = 8
"""Windows whose transcripts are shown."""
UNIFORM = "language model only (uniform)"


class Transcripts:
    """Phonemes and words by CTC.

    Parameters
    ----------
    plan : Plan whose targets ask for phonemes; tested windows in which no word is said are
        left out and counted
    """

    title = "Phonemes and words by CTC"
    metrics = (
        Metric("PER greedy", pooled=True, lower=True),
        Metric(f"PER, phoneme {PHONEME_ORDER}-gram", pooled=True, lower=True),
        Metric(f"WER, lexicon + word {WORD_ORDER}-gram", pooled=True, lower=True),
        Metric("CER", pooled=True, lower=True),
    )
    needs_val = True

    def __init__(self, plan: Plan) -> None:
        spoken = [w for w in plan.test if w.words and any(k != SIL for k in w.symbols)]
        if len(spoken) < len(plan.test):
            plan.dropped[plan.split]["nothing said"] = len(plan.test) - len(spoken)
        plan.test = spoken
        every = max(1, len(plan.val) // CHOOSERS)
        plan.val = [w for w in plan.val if w.words and w.symbols][::every][:CHOOSERS]
        self.plan, self.language = plan, Language(plan)
        names = SYMBOLS if plan.targets.silence else SYMBOLS[:-1]
        said = [[SYMBOLS[k] for k in w.symbols] for w in plan.train if w.symbols]
        self.search = Search(
            NGram.train(said, PHONEME_ORDER, names[1:]), self.language, plan.targets.silence
        )
        self.references = [[SYMBOLS[k] for k in w.symbols] for w in plan.test]
        self.texts = [" ".join(w.words) for w in plan.test]
        self.decoded: dict[int, dict[str, list[str]]] = {}
        """By id of what a system said."""

    def read(self, trained: Trained, said: Said) -> Said:
        """Log-probabilities of the symbols that are in the targets."""
        return [with_symbols(logp_NK, self.plan.targets.silence) for logp_NK in said]

    def baselines(self, say: Say) -> dict[str, Answer]:
        """The language models alone, and linear models that name the phoneme of every frame."""
        k = len(SYMBOLS) if self.plan.targets.silence else len(SYMBOLS) - 1

        def flat(windows: Sequence[Window]) -> Said:
            # As many frames as CTC needs for any sequence, and some to spare.
            sfreq = self.plan.store.recipe.sfreq
            frames = [max(1, round(w.ref.length / sfreq * 25)) for w in windows]
            return [np.full((n, k), -np.log(k)) for n in frames]

        found = {UNIFORM: Answer(NO_BRAIN, [flat(self.plan.test)], [flat(self.plan.val)])}
        for name, (test, val) in linear_frames(self.plan, k, say).items():
            found[name] = Answer(LINEAR, [test], [val])
        return found

    def counts(self, said: Said, val: Said | None) -> dict[str, Counts]:
        phoneme, word = self._choices(val or [])
        plain = [[SYMBOLS[i] for i in greedy(logp)] for logp in said]
        better = [self.search.phonemes(logp, *phoneme) for logp in said]
        words = [self.search.words(logp, *word) for logp in said]
        self.decoded[id(said)] = {
            "phonemes": [" ".join(p) for p in better],
            "words": [" ".join(w) for w in words],
            "chosen": [
                f"phonemes: weight {phoneme[0]:g}, bonus {phoneme[1]:g}; "
                f"words: weight {word[0]:g}, bonus {word[1]:g}"
            ],
        }
        tables = (
            error_counts(self.references, plain, "phoneme"),
            error_counts(self.references, better, "phoneme"),
            error_counts(self.texts, [" ".join(w) for w in words], "word"),
            error_counts(self.texts, [" ".join(w) for w in words], "character"),
        )
        return {
            m.name: Counts(t[:, :3].sum(1).astype(float), t[:, 3].astype(float))
            for m, t in zip(self.metrics, tables, strict=True)
        }

    def facts(self) -> dict[str, Any]:
        missing, all_words = self.language.unknown_words()
        return {
            "normaliser": NORMALISER,
            "phonemes": PHONEME_RULE,
            "lexicon": len(self.search.lexicon.words),
            "unknown_words": missing / max(1, all_words),
        }

    def notes(self) -> list[str]:
        missing, all_words = self.language.unknown_words()
        return [
            f"Pooled: all errors by all units of the references. Text: {NORMALISER}; phonemes: "
            f"{PHONEME_RULE}. Language models and a lexicon of {len(self.search.lexicon.words)} "
            f"words come from TRAIN transcripts alone; {missing} of {all_words} tested words are "
            f"not among them and cannot be right. Beams of {BEAM}. Weight and bonus of each row "
            f"{self._how_chosen()}. Linear models name the phoneme of each frame, silence stands "
            f"for the blank; ridge learns from all training frames, logistic regression from "
            f"{MOST_FRAMES} of each patient."
        ]

    def details(self, said: Mapping[str, Said]) -> dict[str, Any]:
        """Transcripts of some windows side by side, and what each system chose."""
        known = {name: self.decoded[id(s)] for name, s in said.items() if id(s) in self.decoded}
        every = max(1, len(self.texts) // EXAMPLES)
        places = list(range(0, len(self.texts), every))[:EXAMPLES]
        return {
            "transcripts": [
                {
                    "said": self.texts[i],
                    "phonemes": " ".join(p for p in self.references[i] if p != SYMBOLS[SIL]),
                    "systems": {
                        name: {"words": d["words"][i], "phonemes": d["phonemes"][i]}
                        for name, d in known.items()
                    },
                }
                for i in places
            ],
            "chosen": {name: d["chosen"][0] for name, d in known.items()},
        }

    def _how_chosen(self) -> str:
        many = len(self.plan.val)
        return f"are chosen on {many} validation windows" if many else "have default values"

    def _choices(self, val: Said) -> list[tuple[float, float]]:
        """Weight and bonus of the phonemes' and of the words' search with the fewest errors."""
        windows = self.plan.val
        options = list(product(WEIGHTS, BONUSES))
        if not windows or len(val) != len(windows):
            return [DEFAULT, DEFAULT]
        ids = [tuple(k for k in w.symbols if k != SIL) for w in windows]
        chosen = []
        for ask, truth in (
            (self.search.phonemes, [[SYMBOLS[k] for k in s] for s in ids]),
            (self.search.words, [w.words for w in windows]),
        ):
            errors = [
                sum(edits(t, ask(logp, *o)) for t, logp in zip(truth, val, strict=True))
                for o in options
            ]
            chosen.append(options[int(np.argmin(errors))])
        return chosen


class Search:
    """Greedy and beam search with the language of TRAIN; asked twice the same, it remembers.

    Parameters
    ----------
    phoneme_lm : NGram
    language : of TRAIN
    silence : whether SIL is a symbol
    """

    def __init__(self, phoneme_lm: NGram, language: Language, silence: bool) -> None:
        self.phoneme_lm, self.word_lm, self.silence = phoneme_lm, language.word_lm, silence
        self.lexicon = language.lexicon()
        self._known: dict[tuple[Any, ...], list[str]] = {}
        self._grammar: dict[tuple[Any, ...], Any] = {}

    def phonemes(self, logp_NK: NDArray[Any], weight: float, bonus: float) -> list[str]:
        """The likeliest phonemes, without silence."""

        def find(grammar: AnySymbol) -> list[str]:
            best = beam_search(logp_NK, grammar, BEAM)[0]
            return [SYMBOLS[k] for k in best.symbols if k != SIL]

        n = logp_NK.shape[1]
        return self._once(
            ("phonemes", weight, bonus, n),
            logp_NK,
            lambda: AnySymbol(n, self.phoneme_lm, SYMBOLS[:n], weight, bonus),
            find,
        )

    def words(self, logp_NK: NDArray[Any], weight: float, bonus: float) -> list[str]:
        """The likeliest words; a word cut off at the end is left out."""

        def find(grammar: WordGrammar) -> list[str]:
            best = beam_search(logp_NK, grammar, BEAM)
            return words_in(best[0].states) if best else []

        return self._once(
            ("words", weight, bonus),
            logp_NK,
            lambda: WordGrammar(self.lexicon, self.word_lm, weight, bonus, self.silence, LOOKAHEAD),
            find,
        )

    def _once(self, key: tuple[Any, ...], logp_NK: NDArray[Any], make: Any, find: Any) -> list[str]:
        one = (*key, logp_NK.shape, hashlib.sha256(logp_NK.tobytes()).digest())
        if one not in self._known:
            if key not in self._grammar:
                self._grammar[key] = make()
            self._known[one] = find(self._grammar[key])
        return self._known[one]


def with_symbols(logp_NK: NDArray[Any], silence: bool) -> NDArray[np.float32]:
    """Without the column of a silence that the targets do not have, and never quite impossible."""
    kept = logp_NK if silence else logp_NK[:, : len(PHONEMES) + 1]
    return np.clip(kept, -40.0, 0.0).astype(np.float32)
