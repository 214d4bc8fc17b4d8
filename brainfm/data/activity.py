"""What the cortex of a simulated head does: rest, tasks, sounds, seizures. The truth behind all
that its sensors see.

A parcel's current is 1/f noise that resembles its neighbours' and its mirror image's, waxing and
waning with the networks it belongs to, plus rhythms, plus what events evoke and induce. It is a
caricature with the right places, spectra and delays, no model of cortex.

Shapes: P parcels, T samples, N frames of a stimulus, M networks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from brainfm.data.anatomy import Head
from brainfm.data.epileptor import DISCHARGE, Clock, Network, integrate_lasting, play
from brainfm.data.interictal import band, coloured
from brainfm.errors import DataError
from brainfm.types import Event, Stimulus

MOMENT_A_M = 35e-9
"""Deviation of a parcel's dipole; some tens of nA m make about 10 uV on the scalp."""
Places = tuple[tuple[float, float, float], ...]
CLASSES: dict[str, Places] = {
    "face": ((0.042, -0.050, -0.020),),
    "house": ((0.028, -0.045, -0.010), (-0.028, -0.045, -0.010)),
    "hand": ((-0.038, -0.025, 0.055),),
    "tone": ((0.055, -0.020, 0.008), (-0.055, -0.020, 0.008)),
    "word": ((-0.050, 0.020, 0.015), (-0.055, -0.040, 0.010)),
    "foot": ((0.006, -0.030, 0.065), (-0.006, -0.030, 0.065)),
}
"""Where each class of events acts, MNI metres: round numbers near the places they are named
after (fusiform and parahippocampal gyrus, motor cortex, Heschl's gyrus, ...). Chosen."""
RHYTHMS: dict[str, tuple[Places, tuple[float, float], float]] = {
    "alpha": (((0.015, -0.090, 0.010), (-0.015, -0.090, 0.010)), (8.5, 11.5), 1.4),
    "beta": (((0.040, -0.020, 0.050), (-0.040, -0.020, 0.050)), (17.0, 23.0), 0.7),
    "theta": (((0.006, 0.040, 0.030), (-0.006, 0.040, 0.030)), (5.0, 7.0), 0.7),
}
"""Where rhythms live, between which frequencies each subject has its own, and their size."""
NETWORKS: dict[str, Places] = {
    "visual": ((0.020, -0.085, 0.005), (-0.020, -0.085, 0.005)),
    "motor": ((0.042, -0.020, 0.050), (-0.042, -0.020, 0.050)),
    "auditory": ((0.055, -0.020, 0.008), (-0.055, -0.020, 0.008)),
    "default": ((0.005, -0.055, 0.030), (-0.005, 0.050, 0.010), (0.045, -0.065, 0.035)),
    "control": ((0.042, 0.035, 0.025), (-0.042, 0.035, 0.025), (-0.045, -0.050, 0.045)),
    "limbic": ((0.040, 0.005, -0.030), (-0.040, 0.005, -0.030)),
}
"""Parcels of a network wax and wane together, over ten seconds to a minute."""
WIDTH_M = 0.018
"""Deviation of the Gaussian round a place."""
REACH_M, MIRRORED = 0.025, 0.4
"""How far neighbouring currents resemble each other, and how much mirror images do."""
SLOW = 0.25
"""Deviation of the logarithm of a current's size, over time."""
FLASH_S = 0.6
"""Within a trial a stimulus comes again and again."""
EVOKED_HZ, EVOKED_S = 6.0, 0.12
"""What a stimulus evokes: one damped wave, at its largest after about a tenth of a second."""
EVOKED, INDUCED = 1.2, 1.0
"""Sizes of the two, over the size of the background."""
INDUCED_HZ = (30.0, 60.0)
"""What it induces besides: a rhythm in no step with it."""
SOUND_HZ, SOUND_DELAY_S = 64.0, 0.1
"""Frames a second of the envelope of sound, and how late cortex follows it."""
ICTAL = 6.0
"""Size of a seizure where it is largest, over that of the background."""


@dataclass(frozen=True)
class Experiment:
    """What happens while the sensors listen."""

    classes: tuple[str, ...] = ("face", "house", "hand", "tone")
    """Of events, among `CLASSES`; none: rest."""
    trial_s: float = 3.0
    """Length of an event."""
    pause_s: tuple[float, float] = (3.0, 5.0)
    """Shortest and longest pause between two."""
    effect: float = 0.7
    """Size of what events evoke and induce. Chosen by looking at plain classifiers, so that four
    classes are neither at chance nor all right in most heads; single heads differ."""
    rhythms: float = 1.0
    """Multiplies the sizes of `RHYTHMS`."""
    sound: bool = False
    """Sound goes on all the time; its envelope is the recordings' stimulus."""
    seizure: bool = False
    """One in the middle of the recording, annotated "sz"."""

    def __post_init__(self) -> None:
        for name in self.classes:
            if name not in CLASSES:
                raise DataError(f"no class '{name}'; choose among {', '.join(CLASSES)}")
        if self.trial_s < FLASH_S or not 0 <= self.pause_s[0] <= self.pause_s[1]:
            raise DataError(
                f"events of {self.trial_s:g} s with pauses of {self.pause_s[0]:g} to "
                f"{self.pause_s[1]:g} s; events take {FLASH_S:g} s or more, pauses 0 or more"
            )


@dataclass(frozen=True, eq=False)
class Activity:
    """What a cortex did.

    Attributes
    ----------
    moment_PT : (P, T) float32, dipole of each parcel, A m
    sfreq : Hz
    events : seconds from the first sample
    sound : envelope of the sound heard, if any
    """

    moment_PT: NDArray[np.float32]
    sfreq: float
    events: list[Event] = field(default_factory=list)
    sound: Stimulus | None = None


def act(
    head: Head, seconds: float, seed: int, experiment: Experiment, sfreq: float = 256.0
) -> Activity:
    """One run of one head; the same arguments give the same samples.

    Raises
    ------
    DataError
        If a run is too short for a seizure or for two samples, or its rate too low.
    """
    if sfreq < 2 * INDUCED_HZ[1]:
        raise DataError(
            f"{sfreq:g} Hz cannot hold activity up to {INDUCED_HZ[1]:g} Hz; simulate at "
            f"{2 * INDUCED_HZ[1]:g} Hz or more"
        )
    n = round(seconds * sfreq)
    if n < 2 or (experiment.seizure and seconds < 30):
        raise DataError(
            f"{seconds:g} s are too few; simulate at least 30 s with a seizure, and two samples"
        )
    x_PT = _rest(head, n, seed, experiment.rhythms, sfreq)
    events = _trials(head, x_PT, seed, experiment, sfreq) if experiment.classes else []
    sound = _hear(head, x_PT, seed, experiment.effect, sfreq) if experiment.sound else None
    if experiment.seizure:
        events.append(_seize(head, x_PT, seed, sfreq))
    x_PT *= np.float32(MOMENT_A_M)
    return Activity(x_PT, sfreq, sorted(events), sound)


def pattern(head: Head, name: str, places: Places) -> NDArray[np.float64]:
    """How much each parcel takes part in a function of this head, (P,), at most about 1.

    Functions sit a little elsewhere, and are a little stronger or weaker, in every head.
    """
    rng = head.rng(f"place of {name}")
    vary = head.config.variation
    own = np.array(places) + vary * head.config.pattern_m * rng.normal(size=(len(places), 3))
    apart2 = ((head.cortex.parcel_m[:, None] - own[None]) ** 2).sum(-1)
    weight = np.exp(-(apart2 - apart2.min(0)) / (2 * WIDTH_M**2)).max(1)
    return np.asarray(weight * np.exp(0.2 * vary * rng.normal(size=len(weight))))


def _rest(head: Head, n: int, seed: int, rhythms: float, sfreq: float) -> NDArray[np.float32]:
    rng = head.rng("rest", seed)
    place = head.cortex.parcel_m
    apart2 = ((place[:, None] - place[None]) ** 2).sum(-1)
    across2 = ((place[:, None] - place[None] * (-1, 1, 1)) ** 2).sum(-1)
    alike = np.exp(-apart2 / (2 * REACH_M**2)) + MIRRORED * np.exp(-across2 / (2 * REACH_M**2))
    value, vector = np.linalg.eigh((alike + alike.T) / 2)
    mix = vector * np.sqrt(value.clip(0))
    mix /= np.linalg.norm(mix, axis=1, keepdims=True)
    x_PT = coloured(rng, len(place), n, sfreq, lambda hz: (1 + (hz / 1.0) ** 2) ** -0.3, mix)

    member_PM = np.stack([pattern(head, f"network {k}", v) for k, v in NETWORKS.items()], 1)
    member_PM /= np.linalg.norm(member_PM, axis=1, keepdims=True).clip(0.5)
    # A run shorter than such a wave sees a part of one.
    steps = max(int(n / sfreq * 4) + 2, 400)
    slow = coloured(rng, len(NETWORKS), steps, 4.0, band(0.015, 0.1))
    size = np.exp(SLOW * member_PM @ slow)
    for name, (places, hz, strength) in RHYTHMS.items():
        own = head.rng(f"frequency of {name}").uniform(*hz)
        course = coloured(rng, 1, n, sfreq, band(own - 1, own + 1))
        weight = rhythms * strength * pattern(head, name, places)
        x_PT += weight[:, None].astype(np.float32) * course
    at, knots = np.arange(n) / sfreq, np.arange(steps) / 4.0
    for row, own_size in zip(x_PT, size, strict=True):
        row *= np.interp(at, knots, own_size)
    return x_PT


def _trials(
    head: Head, x_PT: NDArray[np.float32], seed: int, experiment: Experiment, sfreq: float
) -> list[Event]:
    """Add what events evoke and induce, in place."""
    rng = head.rng("trials", seed)
    seconds, trial_s = x_PT.shape[1] / sfreq, experiment.trial_s
    onsets, at = [], float(rng.uniform(*experiment.pause_s))
    while at + trial_s <= seconds:
        onsets.append(at)
        at += trial_s + float(rng.uniform(*experiment.pause_s))
    classes = experiment.classes
    order = rng.permutation(np.arange(len(onsets)) % len(classes))
    t = np.arange(round(trial_s * sfreq)) / sfreq
    evoked = EVOKED * sum(_evoked(t - k * FLASH_S) for k in range(int(trial_s / FLASH_S)))
    rises = np.clip(np.minimum(t, trial_s - t) / 0.2, 0, 1)
    events = []
    for onset, k in zip(onsets, order, strict=True):
        first = round(onset * sfreq)
        induced = rises * coloured(rng, 1, len(t), sfreq, band(*INDUCED_HZ))[0]
        course = experiment.effect * np.exp(rng.normal(0, 0.2)) * (evoked + INDUCED * induced)
        weight = pattern(head, classes[k], CLASSES[classes[k]])
        part = x_PT[:, first : first + len(t)]
        part += np.outer(weight, course[: part.shape[1]]).astype(np.float32)
        events.append(Event(first / sfreq, trial_s, classes[k]))
    return events


def _evoked(t: NDArray[np.floating]) -> NDArray[np.float64]:
    since = t.clip(0)
    return np.asarray(
        np.sin(2 * np.pi * EVOKED_HZ * since) * since / EVOKED_S * np.exp(1 - since / EVOKED_S)
    )


def _hear(
    head: Head, x_PT: NDArray[np.float32], seed: int, effect: float, sfreq: float
) -> Stimulus:
    """Add what auditory cortex makes of an envelope, in place."""
    rng = head.rng("sound", seed)
    n = x_PT.shape[1]
    frames = int(np.ceil(n / sfreq * SOUND_HZ))
    loud = np.exp(0.7 * coloured(rng, 1, frames, SOUND_HZ, band(1.0, 7.0))[0])
    late = np.interp(np.arange(n) / sfreq - SOUND_DELAY_S, np.arange(frames) / SOUND_HZ, loud)
    weight = pattern(head, "sound", CLASSES["tone"])
    x_PT += np.outer(effect * weight, (late - late.mean()) / late.std()).astype(np.float32)
    return Stimulus(loud[:, None].astype(np.float32), SOUND_HZ)


def _seize(head: Head, x_PT: NDArray[np.float32], seed: int, sfreq: float) -> Event:
    """Add one seizure of an Epileptor network whose nodes are the parcels, in place.

    The focus, in a temporal lobe, is the head's own.
    """
    rng, own = head.rng("seizure", seed), head.rng("focus")
    place, seconds = head.cortex.parcel_m, x_PT.shape[1] / sfreq
    near = place - np.array([own.choice((-0.05, 0.05)), -0.02, -0.02]) - own.normal(0, 0.01, 3)
    focus = int(np.linalg.norm(near, axis=1).argmin())
    apart = np.linalg.norm(place[:, None] - place[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    step_m = float(apart.min(1).mean())
    weight = np.exp(-apart / step_m)
    weight /= weight.sum(1, keepdims=True)
    x0 = -2.08 - own.uniform(0, 0.25, len(place)) * np.minimum(apart[focus] / (2.5 * step_m), 1.5)
    x0[focus] = -1.6
    clock = Clock(float(np.clip(0.25 * seconds, 10, 60)), (7.0, 4.0, 2.0), 0.3, DISCHARGE, 0.8)
    network = Network(x0, weight, 2.0)
    (course,) = integrate_lasting(network, np.array([clock.units()]), rng)
    seizure = play(course, clock, sfreq)
    first = round((0.4 * seconds - seizure.onset_s) * sfreq)
    lead = max(-first, 0)
    field_PT = seizure.field_TN[lead : x_PT.shape[1] - first].T
    x_PT[:, first + lead : first + lead + field_PT.shape[1]] += np.float32(ICTAL) * field_PT
    length = seizure.offset_s - seizure.onset_s
    return Event(first / sfreq + seizure.onset_s, min(length, 0.6 * seconds), "sz")
