"""Long recordings in parts, and intervals as samples.

Shapes: K intervals.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from brainfm.signals.intervals import interval_samples
from brainfm.types import Event, Recording, Stimulus

PART_HOURS = 4.0
"""Longest part of a recording: 64 channels at 256 Hz in 16 bits are then 0.5 GB."""


def split_into_parts(recording: Recording, hours: float = PART_HOURS) -> list[Recording]:
    """Cut a very long recording into parts of at most `hours`, between intervals if possible.

    Events, intervals and stimulus move with their samples; all parts keep one `split_group`.
    """
    n, most = len(recording.signal), int(hours * 3600 * recording.sfreq)
    if n <= most:
        return [recording]
    inside = interval_samples(recording)
    cuts = [0]
    while n - cuts[-1] > most:
        limit = cuts[-1] + most
        across = inside[(inside[:, 0] < limit) & (inside[:, 1] > limit), 0]
        # A trial is kept whole unless it fills more than half a part.
        whole = across[across > cuts[-1] + most // 2]
        cuts.append(int(whole.min()) if len(whole) else limit)
    cuts.append(n)
    return [
        _part(recording, a, b, i, inside)
        for i, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True), 1)
    ]


def _part(r: Recording, a: int, b: int, number: int, inside: NDArray[np.int64]) -> Recording:
    start, stop = a / r.sfreq, b / r.sfreq
    kept = np.clip(inside, a, b)
    kept = kept[kept[:, 1] > kept[:, 0]]
    events = [
        Event(max(e.onset_s, start) - start, _overlap(e, start, stop), e.label)
        for e in r.events
        if start <= e.onset_s < stop or _overlap(e, start, stop) > 0
    ]
    return replace(
        r,
        signal=r.signal[a:b],
        name=f"{r.name}_part-{number:02d}" if r.name else f"part-{number:02d}",
        events=events,
        intervals_s=[((i - a) / r.sfreq, (j - a) / r.sfreq) for i, j in kept.tolist()],
        start_s=r.start_s + start,
        stimulus={name: _frames(s, start, stop) for name, s in r.stimulus.items()},
        notes=[*r.notes, f"part {number}: seconds {start:g} to {stop:g} of the recording"],
    )


def _frames(s: Stimulus, start: float, stop: float) -> Stimulus:
    first, last = round(start * s.rate_hz), int(np.ceil(stop * s.rate_hz - 1e-6))
    return Stimulus(s.values_NF[first:last], s.rate_hz)


def _overlap(e: Event, start: float, stop: float) -> float:
    return max(0.0, min(e.onset_s + e.duration_s, stop) - max(e.onset_s, start))
