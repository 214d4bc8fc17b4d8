"""A speech decoder: encoder, head, words and contract, saved as one model.

Shapes: B batch, N frames, K symbols or classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.heads.align import Align, AlignConfig
from brainfm.heads.classify import Classify, ClassifyConfig
from brainfm.heads.ctc import CTC, CTCConfig
from brainfm.heads.regress import Regress, RegressConfig
from brainfm.hub import BrainModel, config_from_dict
from brainfm.models.base import Encoder
from brainfm.signals.phonemes import PHONEMES, SILENCE
from brainfm.signals.preprocess import Preprocess
from brainfm.speech.lexicon import Lexicon, WordGrammar, words_in
from brainfm.speech.ngram import NGram
from brainfm.speech.search import AnySymbol, beam_search, greedy
from brainfm.speech.text import vocabulary_of
from brainfm.types import HeadOutput, SignalBatch

HEADS: dict[str, tuple[type, type, *tuple[str, ...]]] = {
    "classify": (Classify, ClassifyConfig, "target_B"),
    "ctc": (CTC, CTCConfig, "sequence_BL", "span_BL2"),
    "align": (Align, AlignConfig, "stimulus_BNF"),
    "regress": (Regress, RegressConfig, "stimulus_BNF"),
}
"""Name to class, sizes, and the fields of a batch that it learns from; without the first none."""
SYMBOLS = ("<blank>", *PHONEMES, SILENCE)
"""Names of the classes of CTC."""
LEXICON, PHONEME_LM, WORD_LM = "lexicon.json", "phonemes.ngram.json", "words.ngram.json"
"""Files beside the weights, each where there is one."""


@dataclass(frozen=True)
class SearchConfig:
    """How log-probabilities of symbols become a transcript; chosen on validation recordings."""

    beam: int | None = 32
    """Prefixes kept. None: greedy, without any language model."""
    weight: float = 0.5
    """Of the n-gram's log-probabilities (of phonemes, or of words where a lexicon is used)."""
    bonus: float = 0.0
    """Added for each phoneme, or each word where a lexicon is used."""
    lookahead: int = 2
    """Order of the n-gram of words that is asked inside words already (`lexicon.WordGrammar`); at
    most its own, and none where there is no such model."""

    def __post_init__(self) -> None:
        if self.beam is not None and self.beam < 1:
            raise ValueError(f"beam is {self.beam}; it must be at least 1, or null for greedy")
        if not self.weight >= 0:
            raise ValueError(f"weight is {self.weight}; it must not be negative")
        if self.lookahead < 0:
            raise ValueError(f"lookahead is {self.lookahead}; it must not be negative")


@dataclass(frozen=True)
class SpeechDecoderConfig:
    """Which encoder and head, their sizes, and what is said.

    Raises
    ------
    ContractError
        If a class is unknown, or a size is not one of its class.
    """

    encoder: str = "brainfm.models.duin.DuINEncoder"
    """Class of the encoder."""
    sizes: Any = None
    """Its configuration; None: its default."""
    head: str = "ctc"
    """One of `HEADS`."""
    head_sizes: Any = None
    """The configuration of the head; width, sources and classes that are not given are those of
    the encoder and the vocabulary."""
    vocabulary: tuple[str, ...] = ()
    """Words of the classes, in order, where the head classifies."""
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ContractError(f"head is '{self.head}'; it must be one of {', '.join(HEADS)}")
        made = encoder_class(self.encoder).config_class
        sizes = {} if self.sizes is None else self.sizes
        if isinstance(sizes, dict):
            sizes = config_from_dict(made, sizes, f"sizes of {self.encoder}")
        if not isinstance(sizes, made):
            raise ContractError(
                f"sizes are those of a {type(sizes).__name__}, but {self.encoder} takes a "
                f"{made.__name__}"
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "vocabulary", vocabulary_of(list(self.vocabulary), "vocabulary"))


def encoder_class(name: str) -> type[Encoder]:
    """The encoder of brainfm with this full name.

    Raises
    ------
    ContractError
        If there is none; nothing outside `brainfm.models` is imported.
    """
    module, _, attribute = name.rpartition(".")
    if module.startswith("brainfm.models."):
        try:
            found = getattr(import_module(module), attribute, None)
        except ImportError:
            found = None
        if isinstance(found, type) and issubclass(found, Encoder):
            return found
    raise ContractError(
        f"encoder is '{name}'; it must be the full name of one, like "
        "'brainfm.models.duin.DuINEncoder'"
    )


class SpeechDecoder(BrainModel):
    """What was said or heard, from the signals of a window.

    Parameters
    ----------
    config : SpeechDecoderConfig
    preprocess : contract of the signals it was trained on
    encoder : a pretrained or fresh one to take over; its class, sizes and contract win

    Attributes
    ----------
    lexicon : words as phonemes, for `words` from CTC; None: set it before
    phoneme_lm, word_lm : n-gram models that the search listens to, or None
    """

    config_class = SpeechDecoderConfig

    def __init__(
        self,
        config: SpeechDecoderConfig | None = None,
        preprocess: Preprocess | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        config = config or SpeechDecoderConfig()
        if encoder is not None:
            name = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
            config = replace(config, encoder=name, sizes=encoder.config)
            preprocess = preprocess or encoder.preprocess
        else:
            encoder = encoder_class(config.encoder)(config.sizes, preprocess)
        make_head, sizes, self.learns_from, *self._more = HEADS[config.head]
        head_sizes = _filled(sizes, config, encoder)
        config = replace(config, head_sizes=head_sizes)
        super().__init__(config, preprocess)
        self.encoder = encoder
        try:
            self.head = make_head(head_sizes)
        except ValueError as e:
            raise ContractError(f"head '{config.head}' of {type(encoder).__name__}: {e}") from e
        self.lexicon: Lexicon | None = None
        self.phoneme_lm: NGram | None = None
        self.word_lm: NGram | None = None

    def forward(self, batch: SignalBatch) -> HeadOutput:
        """Predictions of the head; losses where the batch carries what it learns from."""
        targets = [getattr(batch, name) for name in (self.learns_from, *self._more)]
        return self.head(self.encoder(batch), *targets)

    def meet(self, batches: Iterable[SignalBatch]) -> None:
        self.encoder.meet(batches)

    @torch.no_grad()
    def predict(self, batch: SignalBatch) -> Tensor:
        """What the head says, whatever the batch carries.

        Class logits (B, K); CTC log-probabilities (B, N, K); unit vectors (B, E) of "align";
        speech features (B, N, F) of "regress".
        """
        return self.head(self.encoder(batch)).logits_BK

    def phonemes(
        self, batch: SignalBatch, search: SearchConfig | None = None
    ) -> list[tuple[str, ...]]:
        """Phonemes of each window by CTC; `phoneme_lm` joins in where there is one."""
        search = search or self.config.search
        found = []
        for logp_NK in self._log_probs(batch):
            if search.beam is None:
                ids: Sequence[int] = greedy(logp_NK)
            else:
                names, lm = SYMBOLS[: logp_NK.shape[1]], self.phoneme_lm
                grammar = AnySymbol(len(names), lm, names, search.weight, search.bonus)
                ids = beam_search(logp_NK, grammar, search.beam)[0].symbols
            found.append(tuple(SYMBOLS[k] for k in ids))
        return found

    def words(
        self, batch: SignalBatch, search: SearchConfig | None = None
    ) -> list[tuple[str, ...]]:
        """Words of each window: the likeliest class, or those of the lexicon by CTC.

        A word that is cut off at the end of a window is left out.

        Raises
        ------
        ContractError
            If the head says no words, or the lexicon or a beam that it needs is missing.
        """
        if self.config.head == "classify":
            self._require_vocabulary()
            best_B = self.predict(batch).argmax(-1)
            return [(self.config.vocabulary[k],) for k in best_B.tolist()]
        search = search or self.config.search
        logp_BNK = self._log_probs(batch)
        if self.lexicon is None or search.beam is None:
            raise ContractError(
                "words from phonemes need a lexicon and a beam: set decoder.lexicon, and "
                "search.beam to 32 or so"
            )
        silence = self.config.head_sizes.n_symbols == len(SYMBOLS)
        ahead = min(search.lookahead, self.word_lm.order) if self.word_lm else 0
        grammar = WordGrammar(
            self.lexicon, self.word_lm, search.weight, search.bonus, silence, ahead
        )
        results = [beam_search(logp_NK, grammar, search.beam) for logp_NK in logp_BNK]
        return [tuple(words_in(best[0].states)) if best else () for best in results]

    def name_classes(self, vocabulary: Sequence[str]) -> None:
        """Say which word each class is.

        Raises
        ------
        ContractError
            If they are not as many as the classes, or other words are known already.
        """
        words = vocabulary_of(list(vocabulary), "vocabulary of the data")
        known, many = self.config.vocabulary, self.config.head_sizes.n_classes
        if len(words) != many:
            raise ContractError(
                f"the data have a vocabulary of {len(words)} words, the head {many} classes; "
                f"set head_sizes.n_classes to {len(words)}"
            )
        if known and known != words:
            i = next(i for i, (a, b) in enumerate(zip(known, words, strict=True)) if a != b)
            raise ContractError(
                f"class {i} is '{known[i]}' for the decoder and '{words[i]}' for the data; give "
                "the data the decoder's vocabulary"
            )
        self.config = replace(self.config, vocabulary=words)

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> Path:
        folder = super().save_pretrained(folder, card)
        parts = {LEXICON: self.lexicon, PHONEME_LM: self.phoneme_lm, WORD_LM: self.word_lm}
        for name, part in parts.items():
            # What an earlier decoder left in the folder must not come back with this one.
            (folder / name).unlink(missing_ok=True)
            if part is not None:
                part.save(folder / name)
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        model, folder = super().from_pretrained(folder), Path(folder)
        for name, attribute, kind in (
            (LEXICON, "lexicon", Lexicon),
            (PHONEME_LM, "phoneme_lm", NGram),
            (WORD_LM, "word_lm", NGram),
        ):
            if (folder / name).is_file():
                setattr(model, attribute, kind.load(folder / name))
        return model

    def _log_probs(self, batch: SignalBatch) -> Any:
        if self.config.head != "ctc":
            raise ContractError(
                f"a decoder with head '{self.config.head}' says no phonemes; train one with 'ctc'"
            )
        return self.predict(batch).double().cpu().numpy()

    def _require_vocabulary(self) -> None:
        if not self.config.vocabulary:
            raise ContractError(
                "the decoder's classes have no names; call name_classes with the vocabulary "
                "it was trained on"
            )


def _filled(sizes: type, config: SpeechDecoderConfig, encoder: Encoder) -> Any:
    """The head's configuration with what the encoder and the vocabulary know."""
    given = config.head_sizes
    given = asdict(given) if is_dataclass(given) else dict(given or {})
    known = {
        "dim": encoder.dim,
        "n_sources": encoder.n_sources,
        "n_classes": len(config.vocabulary) or None,
    }
    for key in {f.name for f in fields(sizes)} & set(known):
        if given.get(key) is None and known[key] is not None:
            given[key] = known[key]
    if given.get("dim") != encoder.dim:
        raise ContractError(
            f"head_sizes.dim is {given.get('dim')}, but {type(encoder).__name__} gives features of "
            f"width {encoder.dim}; leave it out"
        )
    if config.vocabulary and given.get("n_classes", len(config.vocabulary)) != len(
        config.vocabulary
    ):
        raise ContractError(
            f"head_sizes.n_classes is {given['n_classes']}, but the vocabulary has "
            f"{len(config.vocabulary)} words; leave n_classes out"
        )
    return config_from_dict(sizes, given, f"head_sizes of '{config.head}'")
