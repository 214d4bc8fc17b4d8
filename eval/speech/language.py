"""What TRAIN says of the language: sentences, pronunciations, n-gram models. No signal is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from brainfm.data.speech import transcript
from brainfm.data.transcript import Transcript
from brainfm.errors import DataError
from brainfm.signals.phonemes import SILENCE
from brainfm.signals.spelling import normalise, words_of
from brainfm.speech.lexicon import Lexicon
from brainfm.speech.ngram import NGram
from brainfm.types import Event
from eval.speech.windows import Plan, Window

WORD_ORDER, PHONEME_ORDER = 3, 4
"""Longest n-grams."""
PRONUNCIATIONS = 2
"""At most so many a word, the most frequent ones of TRAIN."""


class Language:
    """Counted once from the training recordings of a plan, without the tested sentences.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    sentences : list of lists of words
    word_lm : NGram of words
    word_counts : of words

    Raises
    ------
    DataError
        If the training recordings hold no sentence besides the tested ones.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._said: dict[int, Transcript] = {}
        judged = {w.ref.recording for w in (*plan.test, *plan.val)}
        self._barred = {
            normalise(e.label) for row in judged for e in self._transcript(row).sentences
        }
        kept = [
            [normalise(w.label) for w in words]
            for said in self._taught()
            for words in said_sentences(said, self._barred)
        ]
        self.sentences = [[w for text in s for w in text.split()] for s in kept]
        self.sentences = [s for s in self.sentences if s]
        if not self.sentences:
            raise DataError(
                f"{plan.store.root}: the training recordings hold no sentence besides tested "
                "ones, so no language model can be made; give others with --train"
            )
        self.word_lm = NGram.train(self.sentences, WORD_ORDER)
        self.word_counts = Counter(w for s in self.sentences for w in s)

    def lexicon(self) -> Lexicon:
        """Pronunciations of the words of TRAIN, from its phonemes."""
        heard: dict[str, Counter[str]] = defaultdict(Counter)
        for said in self._taught():
            for sentence in said_sentences(said, self._barred):
                for word in sentence:
                    plain = normalise(word.label)
                    inside = said.phonemes_within(word.onset_s, word.onset_s + word.duration_s)
                    spelled = " ".join(p.label for p in inside if p.label != SILENCE)
                    if plain and " " not in plain and spelled:
                        heard[plain][spelled] += 1
        return Lexicon(
            {
                word: [p for p, _ in counts.most_common(PRONUNCIATIONS)]
                for word, counts in sorted(heard.items())
            }
        )

    def before(self, window: Window) -> list[str]:
        """Words of its sentence that were said before a word."""
        said = self._transcript(window.ref.recording)
        inside = [s for s in said.sentences if s.onset_s <= window.start_s + 1e-6]
        first = inside[-1].onset_s if inside else 0.0
        earlier = [w for w in said.words if first - 1e-6 <= w.onset_s < window.start_s - 1e-6]
        return [plain for w in earlier for plain in words_of(w.label)]

    def unknown_words(self) -> tuple[int, int]:
        """Tested words that TRAIN does not hold, and all tested words."""
        words = [word for w in self.plan.test for word in w.words]
        return sum(word not in self.word_counts for word in words), len(words)

    def _taught(self) -> Iterator[Transcript]:
        for row in sorted({w.ref.recording for w in self.plan.train}):
            yield self._transcript(row)

    def _transcript(self, row: int) -> Transcript:
        if row not in self._said:
            self._said[row] = transcript(self.plan.store, row)
        return self._said[row]


def said_sentences(said: Transcript, barred: set[str]) -> Iterator[tuple[Event, ...]]:
    """Words of each sentence whose text is not barred; all words in one where none is marked."""
    if not said.sentences:
        yield said.words
    for e in said.sentences:
        if normalise(e.label) not in barred:
            yield tuple(said.words_within(e.onset_s, e.onset_s + e.duration_s))
