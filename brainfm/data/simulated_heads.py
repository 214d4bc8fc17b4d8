"""One simulated brain, recorded at once by EEG, MEG, electrodes inside the head and fMRI.

`simulate` makes recordings, `run` also the truth behind them: the currents of all parcels, what
they drive in the blood, and how late. Recordings of one run share a clock. No scanner could take
all of them at once, and no number measured on them is evidence on brains: everything is labelled
SIMULATED.

Shapes: C channels, P parcels, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.activity import Activity, Experiment, act
from brainfm.data.anatomy import KINDS, Head
from brainfm.data.coils import CTF_AXIAL, VV_MAG, VV_PLANAR
from brainfm.data.haemodynamics import Scanner, drive, hrf_lag_s, response, scan
from brainfm.data.synthetic import pink_noise
from brainfm.errors import DataError
from brainfm.signals.bold import prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Kind, Recording, Stimulus

DATASET = "simulated_heads"
NOISE = {
    Kind.EEG: (1.5e-6, 1.5e-6),
    Kind.MAG: (35e-15, 20e-15),
    Kind.GRAD: (3e-12, 1e-12),
    Kind.SEEG: (2e-6, 8e-6),
    Kind.ECOG: (2e-6, 8e-6),
}
"""Deviation of a sensor's white and 1/f noise, V, T and T/m: an amplifier's microvolt, a SQUID's
3 fT and 3 fT/cm per root hertz over 128 Hz. Contacts inside the head also hear cells that nobody
else does; that is most of their second number. Round numbers."""
LINE = 0.5
"""Size of the mains hum over that of white noise."""


@dataclass(frozen=True)
class Devices:
    """How a brain is listened to."""

    sfreq: float = 256.0
    """Of electrophysiology, Hz."""
    noise: float = 1.0
    """Multiplies the noise of all devices; 0: the bare truth."""
    line_hz: float | None = 50.0
    """Mains; None: no hum."""
    scanner: Scanner = field(default_factory=Scanner)


@dataclass(frozen=True, eq=False)
class Truth:
    """What no device measures.

    Attributes
    ----------
    activity : currents of parcels, and events
    drive_PT, response_PT : logarithm of power, and what it does to the blood, at
        `haemodynamics.HZ` steps a second
    lag_s : how late the blood is
    """

    activity: Activity
    drive_PT: NDArray[np.float64]
    response_PT: NDArray[np.float64]
    lag_s: float


@dataclass(frozen=True, eq=False)
class Run:
    """One run of one head: what was recorded, and what was there."""

    head: Head
    recordings: list[Recording]
    truth: Truth


def simulate(
    heads: Sequence[Head],
    seconds: float,
    kinds: Sequence[str] = ("EEG", "MEG", "SEEG", "BOLD"),
    seed: int = 0,
    *,
    experiment: Experiment | None = None,
    devices: Devices | None = None,
    session: str = "",
) -> list[Recording]:
    """Simultaneous recordings of each head, in the order of heads, then kinds.

    Parameters
    ----------
    seconds : of each run
    kinds : among "EEG", "MEG", "SEEG", "ECOG", "BOLD"
    seed : of the runs; heads have their own
    experiment, devices : what happens, and how it is recorded
    session : in names and clocks

    Raises
    ------
    DataError
        For a kind that no head is seen by, or a run too short for a frame.
    """
    return [
        recording
        for head in heads
        for recording in run(
            head, seconds, kinds, seed, experiment=experiment, devices=devices, session=session
        ).recordings
    ]


def run(
    head: Head,
    seconds: float,
    kinds: Sequence[str] = ("EEG", "MEG", "SEEG", "BOLD"),
    seed: int = 0,
    *,
    experiment: Experiment | None = None,
    devices: Devices | None = None,
    session: str = "",
) -> Run:
    """One run with its truth; see `simulate`. A kind is the same whatever other kinds are asked."""
    experiment, devices = experiment or Experiment(), devices or Devices()
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise DataError(f"no simulated '{min(unknown)}'; choose among {', '.join(KINDS)}")
    activity = act(head, seconds, seed, experiment, devices.sfreq)
    stretch = head.hrf_stretch
    drive_PT = drive(activity.moment_PT, activity.sfreq)
    truth = Truth(activity, drive_PT, response(drive_PT, stretch), hrf_lag_s(stretch))
    made = []
    for kind in kinds:
        rng = head.rng(f"noise of {kind}", seed)
        record = _bold if kind == "BOLD" else _electric
        recording = record(head, kind, truth, devices, rng)
        recording.session = session
        recording.name = "_".join(filter(None, (f"sub-{head.subject}", session, kind.lower())))
        recording.clock = "_".join(filter(None, (head.subject, session, f"run{seed}")))
        made.append(recording)
    return Run(head, made, truth)


def _electric(
    head: Head, kind: str, truth: Truth, devices: Devices, rng: np.random.Generator
) -> Recording:
    channels, activity = head.channels(kind), truth.activity
    x_CT = head.gain(kind).astype(np.float32) @ activity.moment_PT
    n = x_CT.shape[1]
    now = 2 * np.pi * (devices.line_hz or 0.0) * np.arange(n) / devices.sfreq
    for k in np.unique(channels.kind) if devices.noise else ():
        rows = np.flatnonzero(channels.kind == k)
        white, pink = (devices.noise * size for size in NOISE[Kind(k)])
        x_CT[rows] += np.float32(white) * rng.standard_normal((len(rows), n), np.float32)
        x_CT[rows] += (pink * pink_noise(rng, len(rows), n)).astype(np.float32)
        hum = LINE * white * rng.normal(size=(len(rows), 1))
        if devices.line_hz:
            x_CT[rows] += (hum * np.sin(now + rng.uniform(0, 2 * np.pi))).astype(np.float32)
    if kind == "EEG":
        x_CT -= x_CT.mean(0)
    return Recording(
        np.ascontiguousarray(x_CT.T),
        devices.sfreq,
        channels,
        dataset=DATASET,
        subject=head.subject,
        events=list(activity.events),
        line_freq=devices.line_hz,
        notes=_notes(head, _how(head, kind)),
        stimulus={} if activity.sound is None else {"envelope": activity.sound},
    )


def _bold(
    head: Head, kind: str, truth: Truth, devices: Devices, rng: np.random.Generator
) -> Recording:
    scanner, activity = devices.scanner, truth.activity
    seconds = activity.moment_PT.shape[1] / activity.sfreq
    x_FP, moved = scan(truth.response_PT, scanner, seconds, rng, devices.noise)
    if not len(x_FP):
        raise DataError(
            f"{seconds:g} s hold no frame after {scanner.dummies} dummies of {scanner.tr_s:g} s; "
            "simulate more seconds"
        )
    start_s = float(scanner.frame_times(seconds)[0])
    # What began before the first frame that was kept is no event of this recording.
    events = [e._replace(onset_s=e.onset_s - start_s) for e in activity.events]
    stimulus = {}
    if activity.sound is not None:
        rate, values = activity.sound.rate_hz, activity.sound.values_NF
        stimulus["envelope"] = Stimulus(values[round(start_s * rate) :], rate)
    return Recording(
        x_FP,
        1 / scanner.tr_s,
        head.channels(kind),
        dataset=DATASET,
        subject=head.subject,
        events=sorted([e for e in events if e.onset_s >= 0] + moved, key=lambda e: e.onset_s),
        notes=_notes(
            head,
            f"means of {x_FP.shape[1]} parcels of fsaverage, TR {scanner.tr_s:g} s; BOLD lags the "
            f"power of the currents by {truth.lag_s:.1f} s; {len(moved)} movements",
        ),
        stimulus=stimulus,
        start_s=start_s,
    )


def _notes(head: Head, what: str) -> list[str]:
    rows = ", ".join(" ".join(f"{v:.6g}" for v in row) for row in head.head_from_mni[:3])
    return [
        f"SIMULATED: head {head.seed}, fsaverage's cortex in spheres; no brain, no scanner, and no "
        "evidence on either",
        f"simulated: {what}",
        f"simulated: rows of the transform from MNI152 to this head's frame, metres: {rows}",
    ]


def _how(head: Head, kind: str) -> str:
    many = len(head.channels(kind))
    return {
        "EEG": f"{many} electrodes, measured a few millimetres off; average reference",
        "MEG": f"{many} coils of a helmet round a sphere",
        "SEEG": f"{many} contacts in tissue without end, places in MNI152",
        "ECOG": f"{many} contacts in tissue without end, places in MNI152",
    }[kind]


def prepared(made: Recording, recipe: Recipe) -> Recording:
    """A simulated recording with a recipe applied, down the same road as a recorded one."""
    if made.is_bold:
        return prepare_bold(made, recipe)
    recording = recording_from_raw(
        to_raw(made),
        recipe=recipe,
        dataset=made.dataset,
        subject=made.subject,
        name=made.name,
        source=made.name,
        line_freq=made.line_freq,
        split=made.split,
    )
    recording.notes = [*made.notes, *recording.notes]
    recording.channels = replace(recording.channels, reference=made.channels.reference)
    recording.start_s, recording.clock = made.start_s, made.clock
    recording.stimulus = made.stimulus
    return recording


def to_raw(recording: Recording) -> Any:
    """An `mne.io.RawArray` with kinds, places, directions and events, so that what is simulated
    goes down the same road as what is recorded.
    """
    import mne
    from mne._fiff.constants import FIFF

    channels = recording.channels
    types = [Kind(int(k)).name.lower() for k in channels.kind]
    info = mne.create_info(list(channels.name), recording.sfreq, types, verbose="ERROR")
    frames = {"head": FIFF.FIFFV_COORD_HEAD, "mni": FIFF.FIFFV_MNE_COORD_MNI_TAL}
    vectorview = bool((channels.kind == Kind.GRAD).any())
    for ch, kind, pos, ori in zip(
        info["chs"], channels.kind, channels.pos_m, channels.ori, strict=True
    ):
        ch["loc"][:3], ch["coord_frame"] = pos, frames[channels.frame]
        if kind == Kind.GRAD:
            ch["coil_type"], ch["loc"][3:6] = VV_PLANAR, ori
        elif kind == Kind.MAG:
            ch["coil_type"], ch["loc"][9:12] = (VV_MAG if vectorview else CTF_AXIAL), ori
    raw = mne.io.RawArray(recording.signal.T.astype(np.float64), info, verbose="ERROR")
    events = recording.events
    marks = mne.Annotations(
        [e.onset_s for e in events], [e.duration_s for e in events], [e.label for e in events]
    )
    raw.set_annotations(marks, verbose="ERROR")
    return raw
