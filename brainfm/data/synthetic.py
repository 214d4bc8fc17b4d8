"""Recordings with known sources, for tests and for runs without data. Always labelled simulated.

Oscillators with 1/f noise sit at fixed points inside the head and reach the sensors through a
smooth kernel, so that neighbours resemble each other as in real recordings. It is no forward
model: nothing measured on it says anything about brains.

Shapes: C channels, T samples, S sources.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.sensors import synthetic_channels
from brainfm.data.store import Store
from brainfm.data.synthetic_speech import with_speech
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording

AMPLITUDE = {
    Kind.EEG: 20e-6,
    Kind.MAG: 300e-15,
    Kind.GRAD: 5e-12,
    Kind.ECOG: 100e-6,
    Kind.SEEG: 100e-6,
    Kind.EMG: 100e-6,
    Kind.ECG: 500e-6,
}
"""Usual standard deviations, in V, T and T/m."""
SOURCE_HZ = (10.0, 6.0, 18.0, 27.0)
"""Alpha, theta, low and high beta: one oscillator each."""
CLASS_HZ = (8.0, 14.0, 22.0, 32.0, 40.0, 48.0, 56.0, 64.0)
"""Frequency of the extra source of each class."""
KERNEL_M = 0.05
"""Width of the spatial kernel: volume conduction smears over some centimetres."""


def source_gain(channels: Channels, at_S3: NDArray[np.floating]) -> NDArray[np.float64]:
    """How strongly each source reaches each sensor, (C, S).

    A Gaussian of the distance; for planar gradiometers its slope along the coil. Sensors
    without position see every source alike.
    """
    known = np.asarray(np.isfinite(channels.pos_m).all(1))
    away = at_S3[None] - np.where(known[:, None], channels.pos_m, 0)[:, None]
    # Sensors far from all sources (a helmet) would see nothing but the nearest.
    near = (away**2).sum(-1).min(1, keepdims=True) * known[:, None]
    gain = np.exp(-((away**2).sum(-1) - near) / (2 * KERNEL_M**2))
    slope = np.einsum("csk,ck->cs", away, channels.ori) / KERNEL_M
    gain = np.where((channels.kind == Kind.GRAD)[:, None], gain * slope, gain)
    return np.where(known[:, None], gain, 1.0)


def source_places(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Points at 7 cm from the centre of the head, upper half, (n, 3) metres."""
    v = np.random.default_rng([seed, 77]).normal(size=(n, 3))
    v[:, 2] = np.abs(v[:, 2])
    return 0.07 * v / np.linalg.norm(v, axis=1, keepdims=True)


def synthetic_recording(
    kind: str = "EEG",
    seconds: float = 60.0,
    n_channels: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    *,
    trial_s: float = 2.0,
    effect: float = 2.0,
    sfreq: float = 256.0,
    subject: str = "01",
    session: str = "",
    name: str = "",
    dataset: str | None = None,
    split: str | None = None,
    seizure: bool = False,
) -> Recording:
    """One recording in SI units.

    Places and frequencies of the sources do not depend on `seed`, so classes mean the same in
    every subject; time courses and noise do.

    Parameters
    ----------
    kind, n_channels : see `synthetic_channels`
    seconds : length; with classes it is cut to whole trials
    classes : labels; then the recording is trials laid end to end (intervals and events), and
        a source at `CLASS_HZ[k]` sounds in trials of class k
    effect : amplitude of that source against the others
    seizure : a 3 Hz rhythm of five times the amplitude fills the fourth of five parts, and is
        annotated. For tests of the chain; patients are simulated by `seizure_patients`

    Returns
    -------
    Recording, dataset "simulated_eeg" (or meg, seeg, ...)
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{kind}/{subject}/{session}/{name}".encode())])
    channels = synthetic_channels(kind, n_channels)
    per_trial = round(trial_s * sfreq)
    n = round(seconds * sfreq)
    n -= n % per_trial if classes else 0
    if n <= 0:
        raise DataError(f"{seconds:g} s hold no trial of {trial_s:g} s; simulate more seconds")
    time = np.arange(n) / sfreq
    courses = [_oscillator(rng, hz, time) + pink_noise(rng, 1, n)[0] for hz in SOURCE_HZ]
    events: list[Event] = []
    if classes:
        order = rng.permutation(np.arange(n // per_trial) % len(classes))
        for k in range(len(classes)):
            on = np.repeat(order == k, per_trial)
            courses.append(effect * on * _oscillator(rng, CLASS_HZ[k % len(CLASS_HZ)], time))
        events = [Event(i * trial_s, trial_s, classes[k]) for i, k in enumerate(order)]
    if seizure:
        a, b = round(0.6 * n), round(0.8 * n)
        rhythm = np.zeros(n)
        rhythm[a:b] = 5 * effect * np.sin(2 * np.pi * 3 * time[a:b])
        courses.append(rhythm)
        events.append(Event(a / sfreq, (b - a) / sfreq, "sz"))
    gain_CS = source_gain(channels, source_places(len(courses)))
    signal_CT = gain_CS @ np.stack(courses)
    # Sensor noise, about a third of the signal.
    signal_CT += 0.3 * signal_CT.std() * pink_noise(rng, len(channels), n)
    for k in np.unique(channels.kind):
        rows = channels.kind == k
        signal_CT[rows] *= AMPLITUDE[Kind(k)] / signal_CT[rows].std()
    return Recording(
        np.ascontiguousarray(signal_CT.T, np.float32),
        sfreq,
        channels,
        dataset=dataset or f"simulated_{kind.lower()}",
        subject=subject,
        session=session,
        name=name,
        events=events,
        intervals_s=[(e.onset_s, e.onset_s + e.duration_s) for e in events if classes],
        split=split,
        line_freq=50.0,
        notes=["simulated: known oscillators and noise, no brain"],
    )


def _oscillator(rng: np.random.Generator, hz: float, time: NDArray[np.floating]) -> NDArray[Any]:
    """A sine whose amplitude waxes and wanes over seconds and whose phase drifts."""
    drift = np.cumsum(rng.normal(size=len(time))) * 0.02
    wax = 1 + 0.5 * np.sin(2 * np.pi * (0.2 * time + rng.uniform()))
    return np.asarray(wax * np.sin(2 * np.pi * hz * time + drift + rng.uniform(0, 6.28)))


def pink_noise(rng: np.random.Generator, n_rows: int, n_samples: int) -> NDArray[np.float64]:
    """Noise with power 1/f, unit variance, no mean, (n_rows, n_samples)."""
    spectrum = np.fft.rfft(rng.normal(size=(n_rows, n_samples)))
    spectrum *= np.arange(spectrum.shape[1]).clip(1) ** -0.5
    spectrum[:, 0] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return np.asarray(noise / noise.std(1, keepdims=True).clip(1e-12))


def synthetic_store(
    root: str | Path,
    seed: int = 0,
    *,
    n_subjects: int = 4,
    seconds: float = 20.0,
    recipe: Recipe | None = None,
    kinds: Sequence[str] = ("EEG", "MEG"),
    classes: Sequence[str] | None = None,
    seizures: bool = False,
    speech: bool = False,
    at_once: bool = False,
) -> Store:
    """Write a small finished store and open it; well under a second at the default size.

    Every data set has at least one subject in each of train, val and test (subject by subject:
    the last is test, the one before val); the first subject of each kind has fewer sensors, so
    there are two layouts a kind.

    Parameters
    ----------
    root : folder, made if missing
    n_subjects : at least 3
    recipe : what the store claims was done; its rate is simulated. Default: `Recipe()`
    kinds : one data set each, "simulated_eeg", "simulated_meg", ...
    classes : if given, recordings are trials with these labels
    seizures : every recording has one; see `synthetic_recording`
    speech : every recording has a transcript; see `synthetic_speech`
    at_once : all kinds are one data set, "simulated_at_once", and a subject's recordings share a
        clock (and nothing else; for shared sources see `simulated_heads`)
    """
    if n_subjects < 3:
        raise DataError(f"{n_subjects} subjects cannot fill train, val and test; ask for 3 or more")
    recipe = recipe or Recipe()
    for kind in kinds:
        many = {"EEG": 19, "MEG": 12, "SEEG": 16, "ECOG": 16}.get(kind, 6)
        for i in range(n_subjects):
            subject = f"{i + 1:02d}"
            recording = synthetic_recording(
                kind,
                seconds,
                many if i else max(2, many // 2),
                seed,
                classes,
                sfreq=recipe.sfreq,
                subject=subject,
                split={n_subjects - 1: "test", n_subjects - 2: "val"}.get(i, "train"),
                seizure=seizures,
                name=kind.lower() if at_once else "",
                dataset="simulated_at_once" if at_once else None,
            )
            if at_once:
                recording.clock = f"sub-{subject}"
            if speech:
                recording = with_speech(recording, seed)
            stem = "_".join(filter(None, (f"sub-{subject}", recording.name)))
            path = Path(root, recording.dataset, f"{stem}.safetensors")
            write_recording(recording, path, recipe=recipe)
    build_tables(root)
    return Store(root)
