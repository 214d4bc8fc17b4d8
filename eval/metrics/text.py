"""Error rates of words, characters and phonemes, counted by jiwer and pooled over sentences.

Pooled: all errors by all units of the references, so a long sentence counts more. Macro: the mean
of the sentences' own rates. Intervals are 95 %, over sentences or over groups of them (patients).
Shapes: N sentences, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.phonemes import SIL, phoneme_id, phoneme_symbol
from brainfm.speech.text import NORMALISER, normalise
from eval.metrics.classification import resample_weights
from eval.seizure.bootstrap import difference, interval

UNITS = {"word": "WER", "character": "CER", "phoneme": "PER"}
"""What is counted, and what its error rate is called. Spaces between words are characters."""
PHONEME_RULE = "ARPAbet without stress, SIL dropped"
Text = str | Sequence[str]
"""A sentence, or its words or phonemes."""


def error_counts(
    references: Sequence[Text], hypotheses: Sequence[Text], unit: str = "word"
) -> NDArray[np.int64]:
    """(N, 4) substitutions, deletions, insertions, and units of the reference.

    Parameters
    ----------
    references : what was said; none may be empty after normalising
    hypotheses : what was decoded; may be empty
    unit : one of `UNITS`. Words and characters are normalised by `speech.text`, phonemes by
        `PHONEME_RULE`

    Raises
    ------
    DataError
        If the lists differ in length, there is no sentence, a reference is empty, or a phoneme is
        unknown.
    """
    import jiwer

    if unit not in UNITS:
        raise ValueError(f"unit is '{unit}'; it must be one of {', '.join(UNITS)}")
    if len(references) != len(hypotheses):
        raise DataError(
            f"{len(references)} references but {len(hypotheses)} hypotheses; give one for each"
        )
    plain = _phonemes if unit == "phoneme" else _text
    said, found = [plain(r) for r in references], [plain(h) for h in hypotheses]
    if not said or not all(said):
        i = said.index("") if said else 0
        what = f"reference {i + 1} of {len(said)} ('{references[i]}') is empty" if said else "none"
        raise DataError(
            f"an error rate needs references: {what} once it is normalised; leave it out of both "
            "lists"
        )
    process = jiwer.process_characters if unit == "character" else jiwer.process_words
    counts = np.zeros((len(said), 4), np.int64)
    column = {"substitute": 0, "delete": 1, "insert": 2}
    out = process(said, found)
    for n, (chunks, units) in enumerate(zip(out.alignments, out.references, strict=True)):
        counts[n, 3] = len(units)
        for chunk in chunks:
            if chunk.type in column:
                reference = chunk.ref_end_idx - chunk.ref_start_idx
                hypothesis = chunk.hyp_end_idx - chunk.hyp_start_idx
                counts[n, column[chunk.type]] += max(reference, hypothesis)
    return counts


def pooled(counts_N4: NDArray[np.int64]) -> float:
    """All errors by all units of the references."""
    return float(counts_N4[:, :3].sum() / counts_N4[:, 3].sum())


def macro(counts_N4: NDArray[np.int64]) -> float:
    """Mean of the sentences' own rates."""
    return float((counts_N4[:, :3].sum(1) / counts_N4[:, 3]).mean())


def summarise(
    references: Sequence[Text],
    hypotheses: Sequence[Text],
    unit: str = "word",
    *,
    groups: Sequence[Any] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Error rate with its interval, and everything it was counted from.

    Parameters
    ----------
    groups : one label a sentence (a patient); groups are drawn whole. None draws sentences

    Returns
    -------
    {"metric", "rate", "low", "high", "macro", "substitutions", "deletions", "insertions", "units",
    "sentences", "over", "normaliser"}; low and high are None where there is one sentence or group
    """
    counts = error_counts(references, hypotheses, unit)
    weights_RN = _weights(len(counts), groups, n_resamples, seed)
    low, high = interval(_drawn(counts, weights_RN))
    substitutions, deletions, insertions, units = (int(v) for v in counts.sum(0))
    return {
        "metric": UNITS[unit],
        "rate": pooled(counts),
        "low": low,
        "high": high,
        "macro": macro(counts),
        "substitutions": substitutions,
        "deletions": deletions,
        "insertions": insertions,
        "units": units,
        "sentences": len(counts),
        "over": "sentences" if groups is None else f"{len(set(groups))} groups",
        "normaliser": PHONEME_RULE if unit == "phoneme" else NORMALISER,
    }


def paired_difference(
    references: Sequence[Text],
    a: Sequence[Text],
    b: Sequence[Text],
    unit: str = "word",
    *,
    groups: Sequence[Any] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Pooled rate of decoder a minus that of b on the same sentences; below 0, a is better.

    Returns
    -------
    {"difference", "low", "high", "p"} as in `eval.seizure.bootstrap.difference`
    """
    first, second = (error_counts(references, h, unit) for h in (a, b))
    weights_RN = _weights(len(first), groups, n_resamples, seed)
    return difference(
        pooled(first), pooled(second), _drawn(first, weights_RN), _drawn(second, weights_RN)
    )


def _weights(
    n: int, groups: Sequence[Any] | None, n_resamples: int, seed: int
) -> NDArray[np.float64]:
    if groups is not None and len(groups) != n:
        raise DataError(f"{len(groups)} groups for {n} sentences; give one for each")
    if len(set(range(n) if groups is None else groups)) < 2:
        return np.zeros((0, n))  # one cannot be resampled
    return resample_weights(n, n_resamples, seed, groups)


def _drawn(counts_N4: NDArray[np.int64], weights_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    return (weights_RN @ counts_N4[:, :3].sum(1)) / (weights_RN @ counts_N4[:, 3])


def _text(text: Text) -> str:
    return normalise(text if isinstance(text, str) else " ".join(text))


def _phonemes(text: Text) -> str:
    ids = [phoneme_id(s) for s in (text.split() if isinstance(text, str) else text)]
    return " ".join(phoneme_symbol(i) for i in ids if i != SIL)
