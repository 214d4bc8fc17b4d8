"""Simulated patients with epilepsy: half under a scalp cap, half with depth electrodes.

Each has a montage, a background, bad habits (artefacts) and one kind of seizure of their own, all
drawn from broad ranges. Seizures are those of an Epileptor network (`epileptor.py`), laid into an
interictal background that a cheap noise model makes (`interictal.py`, `artefacts.py`): hours of
Epileptor would cost more and leave the ictal share to chance. Nothing measured on these
recordings says anything about patients.

Shapes: C channels, N nodes, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.artefacts import Places, add_artefacts, add_line, depth_places, scalp_places
from brainfm.data.epileptor import DISCHARGE, WAVE, Clock, Network, Seizure, integrate_lasting, play
from brainfm.data.interictal import (
    Rows,
    Style,
    background,
    band,
    coloured,
    draw_style,
    interictal_spikes,
    rhythmic_bursts,
    vigilance,
)
from brainfm.data.patient_montages import (
    Implantation,
    break_one,
    draw_cap,
    draw_shafts,
    middle_of_head,
    referenced,
)
from brainfm.data.synthetic import source_gain
from brainfm.errors import DataError
from brainfm.types import Channels, Event, Kind, Recording

DATASET = "simulated_seizures"
ICTAL_SHARE = (0.014, 0.045)
"""Drawn per patient; higher shares flatter every score."""
SEIZURE_S = (20.0, 120.0)
ICTAL = ((1.0, 4.0), (1.2, 6.0))
"""Deviation of a seizure over that of the background: on the scalp, and beside the focus. What is
smaller nobody would annotate. With these, line length and band power reach an event F1 of about
.5 to .7, as detectors do on real patients they were not trained on."""
BURST = "benign_rhythm"
"""Label of rhythmic bursts that are no seizures."""
MIN_MINUTES = 5.0
REST_S = 60.0
"""At least so long before, between and after seizures, where the recording is long enough."""
DEPTH_M = 0.004
"""A contact sees a source at this distance half as strongly as one it touches."""

Hz = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
PATTERNS: dict[str, tuple[Hz, float, float]] = {
    "fast": (((10, 26), (5, 12), (1.8, 4)), DISCHARGE, 0.5),
    "theta": (((4, 9), (3.5, 8), (1.5, 3.5)), DISCHARGE, 0.8),
    "build-up": (((1.8, 4), (4, 8), (1.3, 3)), DISCHARGE, 0.8),
    "spike-wave": (((3, 4.5), (2.5, 3.5), (1.8, 2.8)), WAVE, 5.0),
}
"""Ranges in Hz at onset, on the way and at the end; what a cycle is; weight of the waves. After
the patterns epileptologists name; the numbers are chosen."""
SPREADS = {"focal": (0.3, 0.9, 1.0), "regional": (1.5, 3.0, 1.1), "general": (4.0, 8.0, 1.5)}
"""Lowest and highest coupling, and its reach in distances between neighbouring nodes."""


@dataclass(frozen=True)
class Patient:
    """Everything that is drawn once per patient.

    Attributes
    ----------
    channels, places : montage, and who sees muscles and eyes
    node_m, gain_CN : the network's nodes and how strongly channels see them
    network, focus : who excites whom, and the node where seizures start
    pattern, spread : keys of `PATTERNS` and `SPREADS`
    ictal : deviation of the seizure over that of the background, on the quarter of the channels
        that see it best
    style, restless, line_hz : background, artefacts, mains
    volts : standard deviation of the background
    """

    channels: Channels
    places: Places
    node_m: NDArray[np.floating]
    gain_CN: NDArray[np.floating]
    network: Network
    focus: int
    pattern: str
    spread: str
    ictal: float
    style: Style
    restless: float
    line_hz: float
    volts: float

    @property
    def scalp(self) -> bool:
        return bool(self.channels.kind[0] == Kind.EEG)


def draw_patient(seed: int, number: int, contacts: Sequence[Implantation] | None = None) -> Patient:
    """Who patient `number` is; even numbers wear a cap, odd ones have depth electrodes."""
    rng = np.random.default_rng([seed, number, 1])
    if number % 2 == 0:
        channels = draw_cap(rng)
        middle_m = middle_of_head(channels.pos_m)
        away = channels.pos_m - middle_m
        places = scalp_places(away / np.linalg.norm(away, axis=1, keepdims=True))
        v = rng.normal(size=(36, 3))
        v[:, 2] = np.abs(v[:, 2]) - 0.3
        node_m = middle_m + 0.07 * v / np.linalg.norm(v, axis=1, keepdims=True)
        gain_CN = source_gain(channels, node_m)
        focus = int(rng.integers(len(node_m)))
        volts = 1e-6 * float(np.exp(rng.uniform(np.log(10), np.log(45))))
    else:
        channels, others_m = draw_shafts(rng, contacts)
        places = depth_places(rng, len(channels))
        near = rng.choice(len(channels), min(24, len(channels)), replace=False)
        far = rng.choice(len(others_m), min(12, len(others_m)), replace=False)
        node_m = np.concatenate([channels.pos_m[near], others_m[far]])
        node_m = node_m + rng.normal(0, 0.003, node_m.shape)
        apart = np.linalg.norm(channels.pos_m[:, None] - node_m[None], axis=-1)
        gain_CN = DEPTH_M**2 / (apart**2 + DEPTH_M**2)
        # A focus that no contact is near would be a seizure that nobody could annotate.
        focus = int(rng.integers(len(near)))
        volts = 1e-6 * float(np.exp(rng.uniform(np.log(30), np.log(150))))
    spread = str(rng.choice(list(SPREADS), p=(0.3, 0.35, 0.35)))
    return Patient(
        channels,
        places,
        node_m,
        gain_CN,
        _network(rng, node_m, focus, spread),
        focus,
        str(rng.choice(list(PATTERNS))),
        spread,
        float(np.exp(rng.uniform(*np.log(ICTAL[number % 2])))),
        draw_style(rng, number % 2 == 0),
        float(np.exp(rng.uniform(np.log(0.4), np.log(2.0)))),
        float(rng.choice((50.0, 60.0))),
        volts,
    )


def seizure_patient(
    seed: int,
    number: int,
    *,
    minutes: float = 30.0,
    sfreq: float = 256.0,
    contacts: Sequence[Implantation] | None = None,
) -> Recording:
    """One recording of one simulated patient; the same arguments give the same samples.

    Parameters
    ----------
    seed : of the whole cohort
    number : of the patient, from 1; see `draw_patient`
    minutes : at least `MIN_MINUTES`; below 25 seizures get shorter than `SEIZURE_S`, so that the
        ictal share stays between 1 and 5 %
    sfreq : Hz, at least 100
    contacts : real implantations to choose from; None invents straight shafts

    Returns
    -------
    Recording in volts. Its events are "sz", from the first node's first discharge to the last
    node's last, "artefact_muscle" and the like, and "benign_rhythm": detectors should stay silent
    at both

    Raises
    ------
    DataError
        If the recording is too short for its share of seizures, or the rate too low for muscles.
    """
    if minutes < MIN_MINUTES or sfreq < 100:
        raise DataError(
            f"simulated patient {number}: {minutes:g} minutes at {sfreq:g} Hz; ask for at least "
            f"{MIN_MINUTES:g} minutes, for its share of seizures, and 100 Hz"
        )
    patient = draw_patient(seed, number, contacts)
    rng = np.random.default_rng([seed, number, 2])
    n = round(minutes * 60 * sfreq)
    onsets, durations = _schedule(rng, n / sfreq)
    seizures = _seizures(rng, patient, durations, sfreq)

    sleep_T = vigilance(rng, n, sfreq)
    back_C = _back(patient, rng)
    x_CT = background(rng, patient.style, patient.channels.pos_m, back_C, sleep_T, sfreq)
    _after_seizures(rng, x_CT, onsets + durations, sfreq)
    rate_T = 0.5 + sleep_T
    for onset, duration in zip(onsets, durations, strict=True):
        before = int(max(onset - 60, 0) * sfreq)
        rate_T[before : int(onset * sfreq)] *= 4
        rate_T[int(onset * sfreq) : int((onset + duration) * sfreq)] = 0
    spikes_T, _ = interictal_spikes(rng, patient.style, rate_T, sfreq)
    x_CT += np.outer(patient.gain_CN[:, patient.focus], spikes_T).astype(np.float32)
    bursts_T, bursts = rhythmic_bursts(rng, patient.style, rate_T.clip(0, 1), sfreq)
    x_CT += np.outer(_field(patient, rng), bursts_T).astype(np.float32)
    for onset, seizure in zip(onsets, seizures, strict=True):
        _lay_in(rng, patient, x_CT, onset, seizure, sfreq)
    events = add_artefacts(
        rng,
        x_CT,
        sfreq,
        patient.places,
        scalp=patient.scalp,
        restless=patient.restless,
        awake_T=1 - sleep_T,
    )
    add_line(rng, x_CT, sfreq, patient.line_hz)
    x_CT, channels, how = referenced(rng, x_CT, patient.channels)
    broken = break_one(rng, x_CT, channels, sfreq)
    x_CT *= np.float32(patient.volts)
    events += [Event(a, d, BURST) for a, d in bursts]
    events += [Event(float(a), float(d), "sz") for a, d in zip(onsets, durations, strict=True)]
    focus_m = patient.node_m[patient.focus]
    nearest = channels.name[int(np.linalg.norm(channels.pos_m - focus_m, axis=1).argmin())]
    return Recording(
        np.ascontiguousarray(x_CT.T),
        sfreq,
        channels,
        dataset=DATASET,
        subject=f"sim{number:03d}",
        name=f"sub-sim{number:03d}",
        events=sorted(events),
        line_freq=patient.line_hz,
        notes=[
            "SIMULATED: Epileptor seizures in artificial background, no patient",
            f"simulated: {len(onsets)} seizures, {patient.pattern} onset nearest to {nearest}, "
            f"{patient.spread} spread, {patient.ictal:.1f} times the background",
            f"simulated: {'scalp' if patient.scalp else 'depth electrodes'}, {how}; {broken}",
        ],
    )


def _network(
    rng: np.random.Generator, node_m: NDArray[np.floating], focus: int, spread: str
) -> Network:
    """Excitability falls with distance from the focus; neighbours are coupled the strongest."""
    apart = np.linalg.norm(node_m[:, None] - node_m[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    step_m = float(apart.min(1).mean())
    low, high, reach = SPREADS[spread]
    weight = np.exp(-apart / (reach * step_m))
    weight /= weight.sum(1, keepdims=True)
    far = np.minimum(apart[focus] / (2.5 * step_m), 1.5)
    x0 = -2.08 - rng.uniform(0, 0.25, len(node_m)) * far
    x0[np.argsort(apart[focus])[: int(rng.integers(3))]] = -1.85
    x0[focus] = -1.6
    return Network(x0, weight, float(rng.uniform(low, high)))


def _schedule(rng: np.random.Generator, seconds: float) -> tuple[NDArray, NDArray]:
    """Onsets and durations of the seizures, in order, apart from each other."""
    total = rng.uniform(*ICTAL_SHARE) * seconds
    shortest, longest = min(SEIZURE_S[0], total), SEIZURE_S[1]
    fewest, most = int(np.ceil(total / longest)), int(total / shortest)
    many = int(np.clip(round(total / rng.uniform(25, 90)), max(fewest, 1), max(most, 1)))
    parts = rng.uniform(0.7, 1.3, many)
    durations = np.clip(total * parts / parts.sum(), shortest, longest)
    rest = min(REST_S, (seconds - durations.sum()) / (2 * many + 2))
    free = seconds - durations.sum() - (many + 1) * rest
    gaps = np.sort(rng.uniform(0, free, many))
    onsets = gaps + np.concatenate([[0], np.cumsum(durations)[:-1]]) + rest * np.arange(1, many + 1)
    return onsets, durations


def _seizures(
    rng: np.random.Generator, patient: Patient, durations: NDArray, sfreq: float
) -> list[Seizure]:
    """A patient's seizures resemble each other: the frequencies differ by some percent."""
    ranges, period, wave = PATTERNS[patient.pattern]
    usual = [float(np.exp(rng.uniform(*np.log(r)))) for r in ranges]
    # On the scalp, the fastest discharges do not get through the skull.
    usual[0] = min(usual[0], 14.0) if patient.scalp else usual[0]
    turn, wave = rng.uniform(0.15, 0.45), wave * float(np.exp(rng.normal(0, 0.3)))
    clocks = []
    for duration in durations:
        a, b, c = (hz * float(np.exp(rng.normal(0, 0.08))) for hz in usual)
        clocks.append(Clock(float(duration), (a, b, c), turn, period, wave))
    courses = integrate_lasting(patient.network, np.array([c.units() for c in clocks]), rng)
    return [play(course, clock, sfreq) for course, clock in zip(courses, clocks, strict=True)]


def _lay_in(
    rng: np.random.Generator,
    patient: Patient,
    x_CT: Rows,
    onset_s: float,
    seizure: Seizure,
    sfreq: float,
) -> None:
    """Add a seizure at its size, in place; on the scalp muscles often join."""
    n, length = x_CT.shape[1], len(seizure.field_TN)
    grows = {"fast": 0.25, "build-up": 0.35}.get(patient.pattern, 0.6)
    share = (np.arange(length) / sfreq - seizure.onset_s) / (seizure.offset_s - seizure.onset_s)
    size_T = np.interp(share, (0, rng.uniform(0.1, 0.4), 1), (grows, 1, rng.uniform(1.0, 2.2)))
    ictal_CT = patient.gain_CN @ (seizure.field_TN * size_T[:, None]).T
    during = (share >= 0) & (share < 1)
    loudest = np.sort(ictal_CT[:, during].std(1))[-max(2, len(x_CT) // 4) :].mean()
    ictal_CT *= patient.ictal * np.exp(rng.normal(0, 0.1)) / loudest
    if patient.scalp and rng.uniform() < 0.5:
        muscle = coloured(rng, len(x_CT), length, sfreq, band(14, min(100.0, 0.45 * sfreq)))
        size = np.interp(share, (0.1, 0.6, 1, 1.02), (0, 1, 1, 0)) * rng.uniform(0.2, 1.5)
        ictal_CT += patient.places.temples_C[:, None] * size * muscle
    at = round((onset_s - seizure.onset_s) * sfreq)
    first, last = max(at, 0), min(at + length, n)
    x_CT[:, first:last] += ictal_CT[:, first - at : last - at].astype(np.float32)


def _after_seizures(rng: np.random.Generator, x_CT: Rows, offsets: NDArray, sfreq: float) -> None:
    """Postictal suppression and slowing that fade within a minute or two, in place."""
    t = np.arange(x_CT.shape[1]) / sfreq
    for offset in offsets:
        fade = np.where(t >= offset, np.exp(-np.maximum(t - offset, 0) / rng.uniform(10, 50)), 0)
        near = (t >= offset) & (t < offset + 200)
        fade = fade[near].astype(np.float32)
        slow = coloured(rng, 3, len(fade), sfreq, band(0.5, 2.5)) * fade * rng.uniform(0, 1.5)
        x_CT[:, near] *= 1 - rng.uniform(0, 0.5) * fade
        x_CT[:, near] += rng.uniform(0.2, 1, (len(x_CT), 3)).astype(np.float32) @ slow


def _field(patient: Patient, rng: np.random.Generator) -> NDArray[np.floating]:
    """How the channels see one more source, strongest 1: any node, the focus or another."""
    gain_C = patient.gain_CN[:, rng.integers(patient.gain_CN.shape[1])]
    return np.asarray(gain_C / np.abs(gain_C).max())


def _back(patient: Patient, rng: np.random.Generator) -> NDArray[np.floating]:
    """Who sees the alpha rhythm: the back of the head, or the surroundings of one contact."""
    pos = patient.channels.pos_m
    centre = pos[rng.integers(len(pos))] if not patient.scalp else pos[pos[:, 1].argmin()]
    return np.asarray(np.exp(-(((pos - centre) ** 2).sum(1)) / (2 * 0.05**2)))
