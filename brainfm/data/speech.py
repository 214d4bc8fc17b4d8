"""Windows around words, sentences and stretches of speech, and what was said in each of them.

Splits are kept apart by recording (the split column) and by sentence: a window that touches a
sentence which another split is judged on is dropped and counted.

Shapes: B batch, L symbols, N frames, F features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainfm.data.collate import WindowDataset
from brainfm.data.stimulus import frames_between
from brainfm.data.store import MAX_OPEN, Store
from brainfm.data.transcript import Transcript
from brainfm.data.utterances import SpeechTargets, Utterance, transcript, utterances
from brainfm.data.windows import SEGMENT, WindowIndex, bucketed
from brainfm.errors import DataError
from brainfm.signals.phonemes import SIL, phoneme_id
from brainfm.signals.preprocess import Preprocess
from brainfm.signals.spelling import normalise
from brainfm.types import Event, SignalBatch, Stimulus, WindowRef

__all__ = ["SpeechTargets", "SpeechWindows", "Utterance", "cut_speech", "frequent_words"]
__all__ += ["sentences_judged_on", "spoken", "transcript", "utterances"]

JUDGED_ON = {"train": ("val", "test"), "val": ("test",), "test": ()}
"""A sentence of the splits on the right may not be seen in the split on the left."""


def spoken(store: Store, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a transcript.

    Raises
    ------
    DataError
        If there are rows, and none of them has one.
    """
    said = [transcript(store, int(row)) for row in rows.index]
    mask = [bool(t.words or t.sentences) for t in said]
    if len(rows) and not any(mask):
        raise DataError(
            f"{store.path(int(rows.index[0]))}: has no event 'word:...' or 'sentence:...', "
            f"like all {len(rows)} recordings chosen; choose data sets with speech"
        )
    return rows[np.array(mask, bool)]


def frequent_words(store: Store, rows: pd.DataFrame, many: int) -> list[str]:
    """The most frequent words of these recordings (give those of TRAIN), most frequent first.

    Raises
    ------
    DataError
        If there are fewer different words.
    """
    counts = Counter(
        normalise(word.label) for row in rows.index for word in transcript(store, int(row)).words
    )
    # What is written with a hyphen or is mere punctuation is not one word.
    counts = Counter({word: n for word, n in counts.items() if word and " " not in word})
    if len(counts) < many:
        raise DataError(
            f"{store.root}: the training recordings chosen hold {len(counts)} different words, "
            f"not the {many} of the vocabulary; ask for fewer or choose more recordings"
        )
    return [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:many]]


def sentences_judged_on(store: Store, rows: pd.DataFrame, split: str) -> frozenset[str]:
    """Sentences among `rows` of those splits that `split` must not see; see `JUDGED_ON`."""
    others = rows[rows["split"].isin(JUDGED_ON[split])]
    texts = (
        normalise(s.label) for row in others.index for s in transcript(store, int(row)).sentences
    )
    return frozenset(filter(None, texts))


def cut_speech(
    store: Store,
    rows: pd.DataFrame,
    targets: SpeechTargets,
    vocabulary: Sequence[str] | None = None,
    *,
    patch: int | None = None,
    elsewhere: Collection[str] = frozenset(),
) -> tuple[WindowIndex, Counter[str]]:
    """Windows of the chosen recordings, and how many were left out for which reason.

    Parameters
    ----------
    store : Store
    rows : of `store.recordings`, of one split
    targets : SpeechTargets
    vocabulary : classes; windows of other words are left out. None: all words
    patch : samples in a step of the model; windows hold whole steps
    elsewhere : sentences (normalised) that windows must not touch; see `sentences_judged_on`
    """
    dropped: Counter[str] = Counter()
    known = None if vocabulary is None else {normalise(word) for word in vocabulary}
    parts = []
    for row in rows.index:
        said = transcript(store, int(row))
        kept = utterances(store, int(row), targets, patch, said, dropped)
        if known is not None:
            inside = [u for u in kept if normalise(u.text) in known]
            dropped["word outside the vocabulary"] += len(kept) - len(inside)
            kept = inside
        touching = _touching([u.ref for u in kept], said, elsewhere, store.recipe.sfreq)
        dropped["sentence of another split"] += int(touching.sum())
        kept = [u for u, touches in zip(kept, touching, strict=True) if not touches]
        part = np.zeros(len(kept), SEGMENT)
        for i, ref in enumerate(u.ref for u in kept):
            span = (ref.start, ref.start + ref.length)
            part[i] = (*span, row, ref.length, 1, 0, 1, patch or ref.length)
        parts.append(part)
    segments = np.concatenate(parts) if parts else np.zeros(0, SEGMENT)
    segments, buckets = bucketed(segments, rows)
    dropped = +dropped
    return WindowIndex(segments, buckets, dropped.total(), store.index_hash), dropped


class SpeechWindows(WindowDataset):
    """`WindowDataset` whose batches carry classes, phonemes and features of what was said.

    Parameters
    ----------
    store, preprocess, patch : as in `WindowDataset`
    targets : SpeechTargets, those that the windows were cut with
    vocabulary : classes in order; needed if batches shall carry `target_B`

    Raises
    ------
    DataError
        When a batch is read: for a recording without the features or phonemes that are asked for,
        or whose features are of another size or rate than those of the recordings before.
    """

    def __init__(
        self,
        store: Store,
        preprocess: Preprocess,
        patch: int | None,
        targets: SpeechTargets,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        super().__init__(store, preprocess, patch)
        self.targets = targets
        self.vocabulary = None if vocabulary is None else tuple(vocabulary)
        self._class = {normalise(word): k for k, word in enumerate(vocabulary or ())}
        self._said: dict[int, tuple[Transcript, dict[WindowRef, Utterance]]] = {}
        self._heard: dict[int, Stimulus] = {}

    def __getitem__(self, refs: Sequence[WindowRef]) -> SignalBatch:
        batch = super().__getitem__(refs)
        said = [self.utterance(ref) for ref in refs]
        if self.vocabulary is not None:
            batch.target_B = torch.tensor([self._class_of(u) for u in said])
        if self.targets.phonemes:
            events = [self._phonemes(u) for u in said]
            batch.sequence_BL = padded([[phoneme_id(e.label) for e in row] for row in events])
            batch.span_BL2 = self._spans(events, refs)
        if self.targets.stimulus is not None:
            heard = np.stack([self._frames(ref) for ref in refs])
            batch.stimulus_BNF = torch.from_numpy(heard)
        return batch

    def utterance(self, ref: WindowRef) -> Utterance:
        """What a window is about.

        Raises
        ------
        DataError
            If the window is none of those that the targets give.
        """
        by_ref = self._of(ref.recording)[1]
        if ref not in by_ref:
            raise DataError(
                f"{self.store.path(ref.recording)}: no {self.targets.unit} has its window at "
                f"samples {ref.start} to {ref.start + ref.length}; cut the windows with the same "
                "targets and patch"
            )
        return by_ref[ref]

    def __getstate__(self) -> dict[str, object]:
        # Mapped files do not travel to a spawned worker; it opens its own.
        return {**self.__dict__, "_heard": {}}

    def _of(self, row: int) -> tuple[Transcript, dict[WindowRef, Utterance]]:
        if row not in self._said:
            said = transcript(self.store, row)
            if self.targets.phonemes and not said.phonemes:
                raise DataError(
                    f"{self.store.path(row)}: has words but no event 'phoneme:...'; choose other "
                    "recordings, or set phonemes to false"
                )
            found = utterances(self.store, row, self.targets, self.patch, said)
            self._said[row] = said, {u.ref: u for u in found}
        return self._said[row]

    def _class_of(self, u: Utterance) -> int:
        found = self._class.get(normalise(u.text))
        if found is None:
            raise DataError(
                f"{self.store.path(u.ref.recording)}: '{u.text}' at {u.start_s:.2f} s is none of "
                f"the {len(self._class)} words of the vocabulary; cut the windows with it"
            )
        return found

    def _phonemes(self, u: Utterance) -> list[Event]:
        found = self._of(u.ref.recording)[0].phonemes_within(u.start_s, u.stop_s)
        return [e for e in found if self.targets.silence or phoneme_id(e.label) != SIL]

    def _spans(self, events: Sequence[Sequence[Event]], refs: Sequence[WindowRef]) -> Tensor:
        """Begin and end of each phoneme in its window, (B, L, 2); NaN after the last."""
        longest = max([1, *(len(row) for row in events)])
        span_BL2 = np.full((len(refs), longest, 2), np.nan, np.float32)
        for b, (row, ref) in enumerate(zip(events, refs, strict=True)):
            start_s = ref.start / self.store.recipe.sfreq
            for i, e in enumerate(row):
                onset_s = e.onset_s - start_s
                span_BL2[b, i] = onset_s, onset_s + e.duration_s
        return torch.from_numpy(span_BL2)

    def _frames(self, ref: WindowRef) -> NDArray[np.float32]:
        stimulus = self._stimulus(ref.recording)
        start_s, seconds = (n / self.store.recipe.sfreq for n in (ref.start, ref.length))
        rate = self.targets.frames_hz or stimulus.rate_hz
        return frames_between(stimulus, start_s, seconds, max(1, round(seconds * rate)))

    def _stimulus(self, row: int) -> Stimulus:
        if row in self._heard:
            return self._heard[row]
        name, path = str(self.targets.stimulus), self.store.path(row)
        there = self.store.stimulus(row)
        if name not in there:
            raise DataError(
                f"{path}: has no stimulus '{name}' (it has {', '.join(sorted(there)) or 'none'}); "
                "choose another feature or other recordings"
            )
        found = there[name]
        if self.targets.frames_hz is not None and self.targets.frames_hz > found.rate_hz + 1e-6:
            raise DataError(
                f"{path}: stimulus '{name}' has {found.rate_hz:g} frames a second, frames_hz asks "
                f"for {self.targets.frames_hz:g}; lower frames_hz"
            )
        for other, known in self._heard.items():
            mine, theirs = (
                (s.values_NF.shape[1], self.targets.frames_hz or s.rate_hz) for s in (found, known)
            )
            if mine != theirs:
                raise DataError(
                    f"{path}: stimulus '{name}' has {mine[0]} features at {mine[1]:g} Hz, that of "
                    f"{self.store.path(other)} {theirs[0]} at {theirs[1]:g} Hz; choose recordings "
                    "of one kind, or set frames_hz"
                )
            break
        self._heard[row] = found
        if len(self._heard) > MAX_OPEN:  # each holds a file descriptor
            del self._heard[next(iter(self._heard))]
        return found


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of ids as one int64 tensor (B, L), -1 after the end of each."""
    longest = max([1, *(len(row) for row in rows)])
    out = torch.full((len(rows), longest), -1, dtype=torch.int64)
    for b, row in enumerate(rows):
        out[b, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return out


def _touching(
    refs: Sequence[WindowRef], said: Transcript, texts: Collection[str], sfreq: float
) -> NDArray[np.bool_]:
    """Which windows share time with one of these sentences."""
    barred = [e for e in said.sentences if normalise(e.label) in texts] if texts else []
    hit = np.zeros(len(refs), bool)
    start = np.array([ref.start for ref in refs]) / sfreq
    stop = start + np.array([ref.length for ref in refs]) / sfreq
    for e in barred:
        hit |= (start < e.onset_s + e.duration_s) & (stop > e.onset_s)
    return hit
