"""Checks of a recording as it was recorded, before any filter hides what is wrong with it.

Every finding is a sentence. A channel that is flat, clipped, not finite, all line noise, out of
every physiological range or another channel's copy is marked bad; a recording with too few good
channels, or with channels that are shifted copies of each other, is refused.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from brainfm.signals.copies import Copy, find_copies, groups
from brainfm.signals.wording import describe_lagged, summary
from brainfm.types import Channels, Kind


@dataclass(frozen=True)
class QualityConfig:
    min_good: float = 0.5
    """Share of channels that must be good, else the recording is refused."""
    flat_share: float = 0.5
    """Share of samples in constant runs from which on a channel is flat."""
    flat_run_s: float = 0.25
    """Shortest constant run that counts; where all channels rest at once, the file is padded."""
    clip_share: float = 0.02
    """Share of samples resting at the largest or smallest value from which on a channel is bad."""
    line_share: float = 0.95
    """Share of the power above 1 Hz at the line frequency and its harmonics: the line's
    amplitude is over four times that of everything else, and no notch gets at what is under it."""
    line_share_alone: float = 0.7
    """The same for a channel with ten times the share of its neighbours: its electrode is off."""
    spike: float = 10.0
    """A sample that leaves both neighbours, in one direction, by this many times the usual step
    between samples (of the channel, and of the half second around) is a bit error or a glitch of
    the amplifier. At 8 there was none in 8 million samples of sound EEG, MEG and ECoG."""
    spike_share: float = 1e-3
    """Up to this share of samples are interpolated, with a note; more and the channel is bad."""


AMPLITUDE = {
    Kind.EEG: (3e-8, 5e-3),
    Kind.ECOG: (1e-7, 2e-2),
    Kind.SEEG: (1e-7, 2e-2),
    Kind.EMG: (1e-7, 5e-2),
    Kind.ECG: (1e-6, 5e-2),
    Kind.MAG: (1e-16, 1e-8),
    Kind.GRAD: (1e-15, 1e-7),
}
"""Smallest and largest plausible standard deviation within a second, in the SI unit of the kind.
Generous: scalp EEG is some 1e-5 V, so a wrong prefix (mV for uV) falls outside. BOLD has none."""

SPIKE_KINDS = (Kind.EEG, Kind.MAG, Kind.GRAD)
"""Heart beats, motor units and stimulation are sharp by nature; the other kinds are left alone."""

SPIKE_MIN_SFREQ = 100.0
"""Below this many Hz a blink can be one sample."""


@dataclass
class QualityReport:
    """What the checks found.

    Attributes
    ----------
    bad : column to reason
    notes : sentences on what was found or corrected in channels that stay
    refusal : why the whole recording cannot enter, or None
    copies : pairs of channels that repeat each other
    repaired : (sample, column) of interpolated spikes
    intervals : (start, stop) samples, those given without stretches in which every channel rests
    """

    bad: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refusal: str | None = None
    copies: list[Copy] = field(default_factory=list)
    repaired: list[tuple[int, int]] = field(default_factory=list)
    intervals: list[tuple[int, int]] = field(default_factory=list)

    def good(self, n_channels: int) -> NDArray[np.intp]:
        """Columns that stay."""
        return np.array([i for i in range(n_channels) if i not in self.bad], np.intp)


def check_quality(
    x_TC: NDArray[np.floating],
    sfreq: float,
    channels: Channels,
    line_freq: float | None = None,
    intervals: list[tuple[int, int]] | None = None,
    config: QualityConfig | None = None,
) -> QualityReport:
    """Look for what is wrong with a recording.

    Parameters
    ----------
    x_TC : SI units, as recorded: not filtered, not resampled
    sfreq : Hz
    channels : kinds, units and names of the columns
    line_freq : Hz; None looks at both 50 and 60
    intervals : (start, stop) in samples, trials or stretches between gaps; default everything
    config : thresholds

    Returns
    -------
    QualityReport; nothing is raised and `x_TC` is not changed (see `repair_spikes`)
    """
    config = config or QualityConfig()
    n_C = len(channels)
    report = QualityReport()
    given = intervals or [(0, len(x_TC))]
    intervals = _without_padding(x_TC, sfreq, given, report, config)
    report.intervals = intervals
    used = np.concatenate([np.arange(a, b) for a, b in intervals])
    x = x_TC if len(used) == len(x_TC) else x_TC[used]
    if len(x) < 2:
        report.refusal = f"only {len(x)} samples lie outside bad annotations"
        return report
    with np.errstate(invalid="ignore", over="ignore"):
        _not_finite(x, report)
        _flat(x, sfreq, channels, report, config)
        _amplitude(x, sfreq, channels, report)
        _clipped(x, channels, report, config)
        _line(x_TC, sfreq, channels, line_freq, intervals, report, config)
        _spikes(x_TC, sfreq, channels, intervals, report, config)
    _copies(x_TC, channels, intervals, report)
    if report.refusal is None and len(report.good(n_C)) < max(1, config.min_good * n_C):
        report.refusal = (
            f"only {len(report.good(n_C))} of {n_C} channels are good ({summary(report.bad)})"
        )
    return report


def repair_spikes(x_TC: NDArray[np.floating], report: QualityReport) -> None:
    """Replace the spikes of a report, in place, by the mean of their neighbours."""
    for t, c in report.repaired:
        x_TC[t, c] = (x_TC[t - 1, c] + x_TC[t + 1, c]) / 2


def _not_finite(x: NDArray[np.floating], report: QualityReport) -> None:
    # A sum is finite only if all are (overflow aside), and costs no mask of the whole signal.
    for c in np.flatnonzero(~np.isfinite(x.sum(0, dtype=np.float64))):
        n = int((~np.isfinite(x[:, c])).sum())
        report.bad[int(c)] = (
            f"{n} samples are NaN or infinite" if n else "values too large for a sum"
        )


def _flat(
    x: NDArray[np.floating],
    sfreq: float,
    channels: Channels,
    report: QualityReport,
    config: QualityConfig,
) -> None:
    run = max(8, int(config.flat_run_s * sfreq))
    for c in _not_yet_bad(channels, report):
        constant = np.diff(x[:, c]) == 0
        if constant.all():
            report.bad[c] = "flat (one value throughout)"
            continue
        share = _runs(constant, run - 1) / len(x)
        if share > config.flat_share:
            report.bad[c] = f"flat for {share:.0%} of the time"
        elif share > 0.001:
            report.notes.append(f"channel '{channels.name[c]}' is flat for {share:.1%} of the time")


def _without_padding(
    x_TC: NDArray[np.floating],
    sfreq: float,
    intervals: list[tuple[int, int]],
    report: QualityReport,
    config: QualityConfig,
) -> list[tuple[int, int]]:
    """Cut out stretches in which no channel moves: zeros that fill up the last EDF record."""
    run = max(8, int(config.flat_run_s * sfreq))
    rest = np.ones(max(len(x_TC) - 1, 0), bool)
    for c in range(x_TC.shape[1]):
        rest &= np.diff(x_TC[:, c]) == 0
        if not rest.any():
            return intervals
    # One channel at rest says nothing about the amplifier; a file of flat channels is not padding.
    if rest.all() or x_TC.shape[1] < 2:
        return intervals
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rest, [False]]).astype(np.int8)))
    gaps = [(int(a), int(b) + 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    gaps = [(a, b) for a, b in gaps if b - a >= run]
    out: list[tuple[int, int]] = []
    for start, stop in intervals:
        at = start
        for a, b in gaps:
            if a >= stop or b <= at:
                continue
            if a > at:
                out.append((at, a))
            at = b
        if at < stop:
            out.append((at, stop))
    if gaps:
        lost = sum(b - a for a, b in gaps) / sfreq
        report.notes.append(
            f"all channels rest at once for {lost:.2f} s in {len(gaps)} stretch"
            f"{'es' if len(gaps) > 1 else ''} (first at {gaps[0][0] / sfreq:.2f} s): padding, "
            "cut out"
        )
    return out


MIXED = 3
"""Fewer channels out of range are broken by themselves."""


def _amplitude(
    x: NDArray[np.floating], sfreq: float, channels: Channels, report: QualityReport
) -> None:
    n = min(len(x), max(8, int(sfreq)))
    std = np.array([np.std(x[a : a + n], axis=0) for a in range(0, len(x) - n + 1, n)])
    std_C = np.median(std, axis=0)
    for kind in np.unique(channels.kind):
        limits = AMPLITUDE.get(Kind(int(kind)))
        rows = [c for c in _not_yet_bad(channels, report) if channels.kind[c] == kind]
        rows = [c for c in rows if channels.unit[c] != "au"]
        if limits is None or not rows:
            continue
        low, high = limits
        middle, unit = float(np.median(std_C[rows])), channels.unit[rows[0]]
        if not low < middle < high:
            report.refusal = (
                f"{Kind(int(kind)).name} channels vary by {middle:.2g} {unit} within a second "
                f"(median), outside {low:g} to {high:g} {unit}; the unit in the header is wrong"
            )
            return
        out = [c for c in rows if not low < std_C[c] < high]
        if len(out) >= max(MIXED, len(rows) / 5):
            ratio = float(np.median(std_C[out])) / middle
            # Loose electrodes are loud by any number, another unit by a thousand or a million.
            if any(0.2 < ratio * factor < 5 for factor in (1e-6, 1e-3, 1e3, 1e6)):
                report.refusal = (
                    f"{len(out)} of {len(rows)} {Kind(int(kind)).name} channels, '"
                    f"{channels.name[out[0]]}' first, vary {ratio:.1g} times as much as the "
                    "others; units are mixed: bring all channels to one"
                )
                return
        for c in out:
            report.bad[c] = f"varies by {std_C[c]:.2g} {unit}, outside {low:g} to {high:g}"


def _clipped(
    x: NDArray[np.floating], channels: Channels, report: QualityReport, config: QualityConfig
) -> None:
    for c in _not_yet_bad(channels, report):
        v = x[:, c]
        share = 0.0
        for edge in (v.min(), v.max()):
            share += _runs(v == edge, 3) / len(v)
        if share > config.clip_share:
            report.bad[c] = f"clipped for {share:.1%} of the time"
        elif share > 1e-4:
            report.notes.append(
                f"channel '{channels.name[c]}' is clipped for {share:.2%} of the time"
            )


def _line(
    x_TC: NDArray[np.floating],
    sfreq: float,
    channels: Channels,
    line_freq: float | None,
    intervals: list[tuple[int, int]],
    report: QualityReport,
    config: QualityConfig,
) -> None:
    from scipy.signal import welch

    rows = _not_yet_bad(channels, report)
    longest = max(b - a for a, b in intervals)
    n = int(min(2 * sfreq, longest))
    # Coarser than 2 Hz, the line cannot be told from what surrounds it.
    if not rows or n < sfreq / 2:
        return
    spans = [(a, b) for a, b in intervals if b - a >= n]
    spans = [spans[i] for i in np.unique(np.linspace(0, len(spans) - 1, 30).astype(int))]
    psd = np.zeros((len(rows), n // 2 + 1))
    for a, b in spans:
        part = np.asarray(x_TC[a : min(b, a + int(60 * sfreq))], np.float64)[:, rows]
        f, p = welch(part, sfreq, nperseg=n, axis=0, detrend="linear")
        psd += p.T
    width = max(1.0, 1.5 * sfreq / n)
    total = psd[:, f > 1].sum(1)
    share = np.zeros(len(rows))
    which = line_freq or 0.0
    for candidate in (line_freq,) if line_freq else (50.0, 60.0):
        near = np.zeros(len(f), bool)
        for h in np.arange(candidate, sfreq / 2 - width, candidate):
            near |= np.abs(f - h) <= width
        found = np.divide(psd[:, near].sum(1), total, out=np.zeros_like(total), where=total > 0)
        if found.max() > share.max():
            share, which = found, float(candidate)
    for k, c in enumerate(rows):
        same = [m for m, d in enumerate(rows) if channels.kind[d] == channels.kind[c] and d != c]
        around = float(np.median(share[same])) if same else 1.0
        alone = share[k] > config.line_share_alone and share[k] > 10 * around
        if share[k] > config.line_share or alone:
            report.bad[c] = f"{share[k]:.0%} of its power above 1 Hz is {which:g} Hz line noise"


def _spikes(
    x_TC: NDArray[np.floating],
    sfreq: float,
    channels: Channels,
    intervals: list[tuple[int, int]],
    report: QualityReport,
    config: QualityConfig,
) -> None:
    from scipy.ndimage import uniform_filter1d

    if sfreq < SPIKE_MIN_SFREQ:
        return
    edge = np.zeros(len(x_TC), bool)
    for a, b in intervals:
        edge[[a, b - 1]] = True
    for c in _not_yet_bad(channels, report):
        if channels.kind[c] not in SPIKE_KINDS:
            continue
        d = np.diff(np.asarray(x_TC[:, c], np.float64))
        size = np.abs(d)
        middle = float(np.median(size))
        # The median is 0 for a slow signal in coarse steps; the mean then stands in.
        scale = max(1.4826 * middle, float(np.minimum(size, 1e3 * middle).mean()))
        scale = scale or float(size.mean())
        # Muscle is rough for a while: what is usual is judged in the half second around, too.
        around = uniform_filter1d(np.minimum(size, 20 * scale), int(0.5 * sfreq) | 1)
        limit = config.spike * np.maximum(scale, 1.25 * around[:-1])
        away = (d[:-1] * d[1:] < 0) & (np.minimum(size[:-1], size[1:]) > limit)
        where = np.flatnonzero(away) + 1
        where = where[~edge[where]]
        if not where.size:
            continue
        if where.size > max(10, config.spike_share * len(x_TC)):
            report.bad[c] = f"{where.size} single-sample spikes"
            continue
        report.repaired += [(int(t), c) for t in where]
        report.notes.append(
            f"channel '{channels.name[c]}': {where.size} single-sample spikes interpolated "
            f"(first at {where[0] / sfreq:.3f} s)"
        )


def _copies(
    x_TC: NDArray[np.floating],
    channels: Channels,
    intervals: list[tuple[int, int]],
    report: QualityReport,
) -> None:
    rows = _not_yet_bad(channels, report)
    found = find_copies(x_TC[:, rows], intervals)
    report.copies = [Copy(rows[c.original], rows[c.copy], c.lag, c.scale) for c in found]
    lagged = [c for c in report.copies if c.lag > 0]
    if lagged:
        report.refusal = describe_lagged(lagged, channels)
        return
    for group in groups(report.copies):
        keep, rest = group[0], group[1:]
        by = {c.copy: c.scale for c in report.copies if c.original == keep}
        for c in rest:
            scale = by.get(c, 1.0)
            how = "repeats" if abs(scale - 1) < 0.02 else f"is {scale:.3g} times"
            report.bad[c] = f"{how} channel '{channels.name[keep]}' (bridged or copied)"


def _not_yet_bad(channels: Channels, report: QualityReport) -> list[int]:
    return [c for c in range(len(channels)) if c not in report.bad]


def _runs(flag: NDArray[np.bool_], shortest: int) -> int:
    """Number of True values in runs of at least `shortest`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flag, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= shortest].sum())
