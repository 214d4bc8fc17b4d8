"""From MNE's `Raw` to a `Recording`: the one road that preparation and `brainfm.encode` share.

Order: type channels by name, clean names, keep what brainfm reads, drop what is bad, check the
signal as recorded, then notch, resample and band-pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.bipolar import placed_channels
from brainfm.signals.filters import NO_HIGHPASS, apply_recipe
from brainfm.signals.names import clean_names
from brainfm.signals.positions import KIND_OF_TYPE
from brainfm.signals.preprocess import Recipe
from brainfm.signals.quality import QualityConfig, check_quality, repair_spikes
from brainfm.types import Channels, Event, Recording

MIN_SFREQ, MAX_SFREQ = 1.0, 200_000.0
"""Hz. Below, nothing electric is left; above, no amplifier of brains samples."""

USUAL_SFREQ = (
    *(100, 125, 128, 160, 200, 240, 250, 256, 300, 400, 500, 512, 600, 625, 678.17, 1000, 1024),
    *(1200, 1250, 2000, 2034.51, 2048, 2400, 2500, 4000, 4096, 5000, 8192, 10_000, 16_384),
    *(20_000, 24_000, 30_000),
)
"""Hz. Another rate is kept, with a note: amplifiers offer few, damaged headers any."""

USUAL_LINE = (50.0, 60.0)
"""Hz, the mains of the world."""

BAD_WORDS = ("bad", "edge")
"""Annotations that begin so (MNE's rule) are cut out, and windows never cross them."""


def recording_from_raw(
    raw: Any,
    *,
    recipe: Recipe,
    dataset: str = "user",
    subject: str = "unknown",
    session: str = "",
    name: str = "",
    source: str = "",
    line_freq: float | None = None,
    montage: str | None = "standard_1005",
    duplicates: str = "raise",
    split: str | None = None,
    split_group: str = "",
    quality: QualityConfig | None = None,
) -> Recording:
    """Make a `Recording` of any MNE raw object.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    recipe : rate and filters
    dataset, subject, session, name, source, split, split_group : see `Recording`
    line_freq : Hz, used where ``raw.info["line_freq"]`` says nothing
    montage : for scalp channels without positions; None leaves them unknown
    duplicates : "raise" or "first", what to do with names that two columns share
    quality : thresholds of the checks

    Returns
    -------
    Recording at the recipe's rate, float32, SI units; `notes` say everything that was changed.
        ``notes`` begins with "highpass: none ..." where the recording was too short for one.

    Raises
    ------
    DataError
        If there is no channel to read, the rate is absurd, or the checks refuse the recording.
    """
    where = source or name or "recording"
    sfreq = float(raw.info["sfreq"])
    if not np.isfinite(sfreq) or not MIN_SFREQ <= sfreq <= MAX_SFREQ:
        raise DataError(
            f"{where}: the sampling rate is {sfreq:g} Hz, outside {MIN_SFREQ:g} to "
            f"{MAX_SFREQ:g} Hz; correct the header"
        )
    if raw.n_times < 2:
        raise DataError(f"{where}: holds {raw.n_times} samples; leave the file out")
    raw, channels, notes = pick_channels(raw, where, montage=montage, duplicates=duplicates)
    raw.load_data(verbose="ERROR")
    line_freq = raw.info["line_freq"] or line_freq
    if not any(abs(sfreq - usual) < 0.01 for usual in USUAL_SFREQ):
        notes.append(f"unusual sampling rate of {sfreq:.6g} Hz")
    if line_freq is not None and line_freq not in USUAL_LINE:
        notes.append(f"unusual line frequency of {line_freq:.6g} Hz")
    intervals = stretches_of(raw)
    if not intervals:
        raise DataError(
            f"{where}: every sample lies in an annotation that begins with 'bad'; rename it if "
            "the data are to be used"
        )
    # A view: `raw` is already our own copy, and recordings are large.
    x_TC = raw._data.T
    found = check_quality(x_TC, sfreq, channels, line_freq, intervals, quality)
    if found.refusal:
        raise DataError(f"{where}: {found.refusal}; leave the recording out or repair it")
    notes += found.notes
    intervals = found.intervals
    for c, why in found.bad.items():
        notes.append(f"channel '{channels.name[c]}' is dropped: {why}")
    if found.repaired:
        repair_spikes(x_TC, found)
    good = found.good(len(channels))
    if len(good) < len(channels):
        raw.pick([raw.ch_names[i] for i in good], exclude=())
        channels = channels.take(good)

    if intervals[-1][1] < raw.n_times:
        # Padding behind the last sample would ring back into the signal through the filters.
        raw.crop(tmax=(intervals[-1][1] - 1) / sfreq, verbose="ERROR")
    n_before = raw.n_times
    raw, filter_notes, highpass = apply_recipe(raw, recipe, line_freq, where=where, copy=False)
    if recipe.highpass_hz is not None and highpass is None:
        notes.insert(0, f"{NO_HIGHPASS} (too short for it)")
    notes += filter_notes
    ratio = raw.n_times / n_before
    seconds = raw.n_times / recipe.sfreq
    return Recording(
        signal=np.ascontiguousarray(raw.get_data().T, np.float32),
        sfreq=float(recipe.sfreq),
        channels=channels,
        dataset=dataset,
        subject=subject,
        session=session,
        name=name,
        events=events_of(raw),
        intervals_s=[
            (float(a * ratio / recipe.sfreq), float(min(b * ratio / recipe.sfreq, seconds)))
            for a, b in intervals
        ],
        split=split,
        split_group=split_group,
        line_freq=line_freq,
        source=source,
        notes=notes,
    )


def pick_channels(
    raw: Any,
    where: str = "recording",
    *,
    montage: str | None = "standard_1005",
    duplicates: str = "raise",
) -> tuple[Any, Channels, list[str]]:
    """The channels that brainfm reads, typed and named and placed. No sample is looked at.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    where : the recording, for sentences
    montage, duplicates : see `recording_from_raw`

    Returns
    -------
    raw : a copy with these channels, its samples still where they were
    channels : of its columns
    notes : what was changed and left out

    Raises
    ------
    DataError
        If there is no channel to read, or two of one name.
    """
    report = clean_names(raw.ch_names, where=where, duplicates=duplicates)
    were = raw.get_channel_types()
    types = [k if k and t == "eeg" else t for t, k in zip(were, report.kinds, strict=True)]
    notes: list[str] = []
    retyped = [
        f"{n} is {t}" for n, t, was in zip(report.names, types, were, strict=True) if t != was
    ]
    if retyped:
        notes.append("channels typed by their names: " + ", ".join(retyped[:6]))
    notes += report.notes

    marked = set(raw.info["bads"])
    keep = [
        i
        for i, t in enumerate(types)
        if t in KIND_OF_TYPE and raw.ch_names[i] not in marked and "__" not in report.names[i]
    ]
    if not keep:
        raise DataError(
            f"{where}: none of its {len(types)} channels is EEG, MEG, ECoG, sEEG, EMG or ECG "
            f"(types: {', '.join(sorted(set(types)))}); set the channel types in the file"
        )
    if marked:
        notes.append(f"{len(marked)} channels marked bad in the file: {_few(sorted(marked))}")
    unread = set(range(len(types))) - set(keep)
    others = [report.names[i] for i in sorted(unread) if raw.ch_names[i] not in marked]
    if others:
        notes.append(f"channels that brainfm does not read are left out: {_few(others)}")

    picked = raw.copy().pick([raw.ch_names[i] for i in keep], exclude=())
    changed = {raw.ch_names[i]: types[i] for i in keep if types[i] != were[i]}
    if changed:
        picked.set_channel_types(changed, verbose="ERROR", on_unit_change="ignore")
    names = [report.names[i] for i in keep]
    try:
        channels, more = placed_channels(
            picked.info, names, montage=montage, reference=report.reference
        )
    except ValueError as e:
        raise DataError(f"{where}: {e}") from e
    return picked, channels, notes + more


def events_of(raw: Any) -> list[Event]:
    """Annotations of an MNE raw object but those that begin with "bad" or "edge"."""
    first = raw.first_time if raw.annotations.orig_time is not None else 0.0
    return [
        Event(float(a["onset"]) - first, float(a["duration"]), str(a["description"]))
        for a in raw.annotations
        if not str(a["description"]).lower().startswith(BAD_WORDS)
    ]


def stretches_of(raw: Any) -> list[tuple[int, int]]:
    """Stretches of samples between annotations that begin with "bad" or "edge"."""
    n, sfreq = raw.n_times, float(raw.info["sfreq"])
    first = raw.first_time if raw.annotations.orig_time is not None else 0.0
    cuts = []
    for a in raw.annotations:
        if str(a["description"]).lower().startswith(BAD_WORDS):
            start = (float(a["onset"]) - first) * sfreq
            stop = start + float(a["duration"]) * sfreq
            # An edge has no length; it still separates two samples.
            cuts.append((int(np.floor(start + 0.5)), int(np.ceil(stop - 1e-6))))
    out, at = [], 0
    for a, b in sorted(cuts):
        if a > at:
            out.append((at, min(a, n)))
        at = max(at, b, a)
    if at < n:
        out.append((at, n))
    return [(a, b) for a, b in out if 0 <= a < b]


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
