"""Simulated patients who listen: speech through receptive fields at depth electrodes, and noise.

Each contact within reach of the auditory cortex answers to its own pitches, to its own phonetic
features and to beginnings, some 50 to 300 ms late: as an evoked potential, and as the power of its
high gamma. Background, shared noise, wandering gain and mains lie on top. The form is that of
spectro-temporal receptive fields (Mesgarani et al., Science 343, 2014; Hamilton et al., Current
Biology 28, 2018; both recalled); sizes and latencies are chosen. Nothing measured on these
recordings says anything about patients.

Shapes: C contacts, N frames at 100 Hz, K stimulus features, T samples, F mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.artefacts import add_line
from brainfm.data.interictal import Rows, band, coloured, curve
from brainfm.data.patient_montages import Implantation
from brainfm.data.sensors import synthetic_channels
from brainfm.data.speech_sounds import FRAMES_HZ, Speech
from brainfm.errors import DataError
from brainfm.signals.phonemes import FEATURES, PHONEME, SENTENCE, SILENCE
from brainfm.types import Channels, Kind, Recording, Stimulus

DATASET = "simulated_speech"
AREAS_M: dict[str, tuple[float, float, float]] = {
    "Heschl's gyrus": (0.046, -0.020, 0.006),
    "posterior superior temporal gyrus": (0.060, -0.024, 0.006),
    "anterior superior temporal gyrus": (0.056, -0.004, -0.006),
    "ventral sensorimotor cortex": (0.056, -0.006, 0.028),
}
"""MNI, right side; the left is its mirror. Recalled to within a centimetre: nothing rests on them
but which contacts answer, and to what."""
REACH_M = 0.012
"""A contact so far from the middle of an area answers 0.6 times as strongly as one in it."""
CONTACTS = (32, 49)
LAGS = 40
"""Frames: a receptive field sees the last 400 ms."""
MEL_GROUPS = 16
EVOKED = (0.2, 0.4)
"""Deviation of the evoked potential over the background's, at a contact that answers fully."""
HIGH_GAMMA_HZ = (70.0, 115.0)
HIGH_GAMMA = (2.0, 4.0)
"""Deviation of the high gamma that speech modulates, over what the background has in that band."""
GAIN = 0.25
"""Spread (log) of the wandering gain of each contact, a new value every 4 s."""
VOLTS = (40e-6, 120e-6)
LOWEST_HZ, KNEE_HZ = 0.3, 15.0
"""The background begins at the one and falls one power steeper above the other."""


@dataclass(frozen=True)
class Listener:
    """Everything that is drawn once per simulated patient.

    Attributes
    ----------
    channels : depth electrodes
    area : of each contact the nearest of `AREAS_M`
    answers_C : how strongly it answers, 0 to 1
    field_CLK : receptive field, seen from `LAGS` frames ago (last) to now (first)
    evoked_C, gamma_C : sizes of the two answers
    slope, shared, line_hz, volts : background, noise that all contacts share, mains, size
    """

    channels: Channels
    area: tuple[str, ...]
    answers_C: NDArray[np.floating]
    field_CLK: NDArray[np.floating]
    evoked_C: NDArray[np.floating]
    gamma_C: NDArray[np.floating]
    slope: float
    shared: float
    line_hz: float
    volts: float


def draw_listener(seed: int, number: int, contacts: Implantation | None = None) -> Listener:
    """Who patient `number` is: the same in all sessions.

    Parameters
    ----------
    contacts : a real implantation; None invents straight shafts beside the auditory cortex
    """
    rng = np.random.default_rng([seed, number, 51])
    channels = _montage(rng, contacts)
    areas = np.array(list(AREAS_M.values()))
    sides = np.concatenate([areas, areas * (-1, 1, 1)])
    apart = np.linalg.norm(channels.pos_m[:, None] - sides[None], axis=-1)
    nearest = apart.argmin(1) % len(areas)
    names = tuple(list(AREAS_M)[k] for k in nearest)
    n = len(channels)
    # Not every contact in the right place answers: most lie in white matter or a sulcus.
    close = np.exp(-(apart.min(1) ** 2) / (2 * REACH_M**2))
    answers = close * np.where(rng.uniform(size=n) < 0.7, rng.uniform(0.5, 1, n), 0.05)
    answers[close < 0.05] = 0
    fields = np.stack([_field(rng, name) for name in names])
    return Listener(
        channels,
        names,
        answers,
        fields,
        rng.uniform(*EVOKED, n) * rng.choice((-1, 1), n),
        rng.uniform(*HIGH_GAMMA, n),
        float(rng.uniform(0.9, 1.4)),
        float(rng.uniform(0.1, 0.3)),
        float(rng.choice((50.0, 60.0))),
        float(np.exp(rng.uniform(*np.log(VOLTS)))),
    )


def listen(
    seed: int,
    number: int,
    speech: Speech,
    *,
    session: str,
    sfreq: float = 256.0,
    contacts: Implantation | None = None,
    dataset: str = DATASET,
) -> Recording:
    """What the contacts of patient `number` record while `speech` is heard.

    The same arguments give the same samples.

    Parameters
    ----------
    seed, number, contacts : see `draw_listener`
    session : name of the session; another one gives other noise
    sfreq : Hz, at least twice the upper edge of `HIGH_GAMMA_HZ`

    Returns
    -------
    Recording in volts with the events of the speech and its mel bands as stimulus "mel"

    Raises
    ------
    DataError
        If the rate is too low for high gamma, or there is less than a second of speech.
    """
    if sfreq < 2 * HIGH_GAMMA_HZ[1] or speech.seconds < 1:
        raise DataError(
            f"simulated listener {number}: {speech.seconds:g} s at {sfreq:g} Hz; ask for a second "
            f"or more, at {2 * HIGH_GAMMA_HZ[1]:g} Hz or more"
        )
    who = draw_listener(seed, number, contacts)
    rng = np.random.default_rng([seed, number, 52, *session.encode()])
    n = int(speech.seconds * sfreq)
    answer_CT = _upsampled(answers_to(who, speech), n, sfreq)
    answer_CT *= np.stack([curve(rng, n, sfreq, 4.0, GAIN) for _ in answer_CT])
    x_CT = _background(rng, who, n, sfreq)
    size_C = who.gamma_C * _deviation(x_CT, HIGH_GAMMA_HZ, sfreq)
    gamma_CT = coloured(rng, len(x_CT), n, sfreq, band(*HIGH_GAMMA_HZ))
    # Power rises with the answer and saturates; without an answer there is nothing to see.
    power_CT = 0.5 * (1 + np.tanh(answer_CT - 0.5))
    x_CT += (who.evoked_C[:, None] * np.tanh(answer_CT / 2) * 2).astype(np.float32)
    x_CT += ((size_C * (who.answers_C > 0))[:, None] * power_CT * gamma_CT).astype(np.float32)
    add_line(rng, x_CT, sfreq, who.line_hz)
    x_CT *= np.float32(who.volts)
    many = int((who.answers_C > 0.3).sum())
    return Recording(
        np.ascontiguousarray(x_CT.T),
        sfreq,
        who.channels,
        dataset=dataset,
        subject=f"sim{number:02d}",
        session=session,
        name=f"sub-sim{number:02d}_ses-{session}",
        events=list(speech.events),
        line_freq=who.line_hz,
        notes=[
            f"SIMULATED: {speech.source}, heard by no patient",
            f"simulated: {many} of {len(who.channels)} contacts answer well; evoked deviation "
            f"{EVOKED[0]:g} to {EVOKED[1]:g} of the background's, high gamma {HIGH_GAMMA[0]:g} to "
            f"{HIGH_GAMMA[1]:g} of the background's in that band, times how well they answer",
        ],
        stimulus={"mel": Stimulus(speech.mel_NF, FRAMES_HZ)},
    )


def stimulus_features(speech: Speech) -> NDArray[np.float64]:
    """What receptive fields look at, (N, K): groups of mel bands, rises of loudness, phonetic
    features, beginnings of sentences.
    """
    n = len(speech.mel_NF)
    groups = np.array_split(speech.mel_NF.astype(np.float64), MEL_GROUPS, axis=1)
    mel_NG = np.stack([g.mean(1) for g in groups], 1)
    rise_N = np.clip(np.diff(speech.mel_NF.mean(1), prepend=speech.mel_NF[0].mean()), 0, None)
    phonetic = np.zeros((n, len(FEATURES)))
    begins = np.zeros(n)
    for e in speech.events:
        first = round(e.onset_s * FRAMES_HZ)
        if e.label.startswith(SENTENCE):
            begins[first : first + 5] = 1
        symbol = e.label.removeprefix(PHONEME)
        if symbol in (e.label, SILENCE):
            continue
        last = max(first + 1, round((e.onset_s + e.duration_s) * FRAMES_HZ))
        for k, members in enumerate(FEATURES.values()):
            phonetic[first:last, k] = symbol in members
    both = np.column_stack([mel_NG, rise_N, phonetic, begins])
    return np.asarray((both - both.mean(0)) / both.std(0).clip(1e-6))


def answers_to(who: Listener, speech: Speech) -> NDArray[np.float64]:
    """Answers of the contacts without noise, (C, N); deviation `answers_C` over the session."""
    from scipy.signal import fftconvolve

    features_NK = stimulus_features(speech)
    out = np.zeros((len(who.channels), len(features_NK)))
    for c in np.flatnonzero(who.answers_C):
        both = fftconvolve(features_NK, who.field_CLK[c], axes=0)[: len(features_NK)].sum(1)
        out[c] = who.answers_C[c] * (both - both.mean()) / max(both.std(), 1e-9)
    return out


def _field(rng: np.random.Generator, area: str) -> NDArray[np.float64]:
    """Receptive field (L, K): what is near Heschl's gyrus hears pitch, what is beside it hears
    features of phonemes, and later.
    """
    pitch, phonetic, late = {
        "Heschl's gyrus": (1.0, 0.5, 0.05),
        "posterior superior temporal gyrus": (0.6, 1.0, 0.09),
        "anterior superior temporal gyrus": (0.5, 0.9, 0.11),
        "ventral sensorimotor cortex": (0.2, 0.8, 0.14),
    }[area]
    at = np.arange(MEL_GROUPS)
    best, width = rng.uniform(0, MEL_GROUPS), rng.uniform(1.0, 3.0)
    bump = np.exp(-((at - best) ** 2) / (2 * width**2)) * pitch
    flank = np.exp(-((at - best - rng.choice((-1, 1)) * 3 * width) ** 2) / (2 * width**2))
    liked = rng.normal(0, 1, len(FEATURES)) * (rng.uniform(size=len(FEATURES)) < 0.4) * phonetic
    begins = rng.exponential(0.3) * (area == "posterior superior temporal gyrus")
    early_L = _kernel(late * rng.uniform(0.7, 1.3))
    late_L = _kernel(min(late * rng.uniform(1.4, 2.2), 0.28))
    rise = rng.exponential(0.4)
    zeros = np.zeros
    early_K = np.concatenate([bump - 0.4 * pitch * flank, [rise], zeros(len(FEATURES)), [begins]])
    late_K = np.concatenate([zeros(MEL_GROUPS), [0.0], liked, [0.0]])
    return np.asarray(np.outer(early_L, early_K) + np.outer(late_L, late_K))


def _kernel(peak_s: float) -> NDArray[np.float64]:
    """A rise to `peak_s` and a slower fall with a small undershoot, (L,), unit sum of squares."""
    t = np.arange(LAGS) / FRAMES_HZ
    shape = (t / peak_s) ** 3 * np.exp(3 * (1 - t / peak_s))
    shape -= 0.3 * (t / (2 * peak_s)) ** 3 * np.exp(3 * (1 - t / (2 * peak_s)))
    return np.asarray(shape / np.linalg.norm(shape))


def _montage(rng: np.random.Generator, contacts: Implantation | None) -> Channels:
    """Whole shafts, those nearest to the auditory cortex first, then others."""
    if contacts is None:
        made = synthetic_channels("SEEG", 48)
        contacts = Implantation(made.name, made.pos_m * np.array([0.9, 0.5, 0.4]))
    areas = np.array(list(AREAS_M.values()))
    sides = np.concatenate([areas, areas * (-1, 1, 1)])
    apart = np.linalg.norm(contacts.pos_m[:, None] - sides[None], axis=-1).min(1)
    shafts: dict[str, list[int]] = {}
    for i, name in enumerate(contacts.name):
        shafts.setdefault(name.rstrip("0123456789"), []).append(i)
    order = sorted(shafts.values(), key=lambda s: np.sort(apart[s])[:4].mean())
    rest = order[3:]
    order = order[:3] + [rest[i] for i in rng.permutation(len(rest))]
    wanted = min(int(rng.integers(*CONTACTS)), len(contacts.name))
    chosen = sorted([i for shaft in order for i in shaft][:wanted])
    n = len(chosen)
    return Channels(
        tuple(contacts.name[i] for i in chosen),
        np.full(n, Kind.SEEG, np.int8),
        contacts.pos_m[chosen],
        np.zeros((n, 3), np.float32),
        ("V",) * n,
        "mni",
    )


def _background(rng: np.random.Generator, who: Listener, n: int, sfreq: float) -> Rows:
    """1/f noise of deviation 1; neighbours resemble each other, and all share some of it."""
    pos = who.channels.pos_m
    apart = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    near = np.exp(-(apart**2) / (2 * 0.006**2))
    near = near / np.linalg.norm(near, axis=1, keepdims=True) * np.sqrt(1 - who.shared)
    mix = np.column_stack([near, np.full(len(near), np.sqrt(who.shared))])

    def spectrum(hz: NDArray[np.float32]) -> NDArray[np.float32]:
        power = (hz >= LOWEST_HZ) / (hz**who.slope * (1 + hz / KNEE_HZ))
        return np.sqrt(power).astype(np.float32)

    return coloured(
        rng,
        len(mix.T),
        n,
        sfreq,
        spectrum,
        mix,
    )


def _deviation(x_CT: Rows, hz: tuple[float, float], sfreq: float) -> NDArray[np.floating]:
    from scipy.signal import butter, sosfiltfilt

    sos = butter(4, [hz[0], min(hz[1], 0.49 * sfreq)], "bandpass", fs=sfreq, output="sos")
    return np.asarray(sosfiltfilt(sos, x_CT[:, : int(30 * sfreq)], axis=1).std(1))


def _upsampled(x_CN: NDArray[np.floating], n: int, sfreq: float) -> NDArray[np.float64]:
    """From frames to samples, band-limited."""
    from fractions import Fraction

    from scipy.signal import resample_poly

    ratio = Fraction(sfreq / FRAMES_HZ).limit_denominator(1000)
    out = resample_poly(x_CN, ratio.numerator, ratio.denominator, axis=1)
    return np.pad(out, ((0, 0), (0, max(0, n - out.shape[1]))), mode="edge")[:, :n]
