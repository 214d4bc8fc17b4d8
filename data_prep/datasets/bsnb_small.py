"""One-electrode EEG, EMG and ECG of biosignalsnotebooks: small real signals for codecs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Event, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import BIOSIGNALSNOTEBOOKS, BSNB_FOLDER

FILES = {
    "EEG": (
        "eeg_sample_0cm_h",
        "eeg_sample_0cm_v",
        "eeg_sample_1cm_h",
        "eeg_sample_1cm_v",
        "eeg_sample_2cm_h",
        "eeg_sample_closed_open_eyes",
        "eeg_sample_o",
        "eeg_sample_p",
    ),
    "EMG": ("emg_1000_hz_16_bits_solo", "emg_bursts", "emg_fatigue"),
    "ECG": ("ecg_20_sec_1000_Hz", "ecg_4000_Hz", "ecg_5_min"),
}
"""Recordings at 1 kHz and more with one sensor of the kind. Left out: those at 10 to 200 Hz, the
8-bit one, and files in which the EEG sensor shares its device with a microphone."""

SPLIT = {"emg_fatigue": "train", "emg_bursts": "val", "emg_1000_hz_16_bits_solo": "test"} | {
    "ecg_5_min": "train",
    "ecg_20_sec_1000_Hz": "train",
    "ecg_4000_Hz": "val",
}
"""Side of a recording, for codecs alone: nobody says who was recorded, and two sides may hold one
person. Tested ECG is other people's (`datasets.mitdb`); EEG is all train, there is better."""

SPLITS_TOLD = {
    "EEG": "all train: nobody says who was recorded, so that they cannot be told apart",
    "EMG": "one recording each train, val and test; perhaps of one person, since nobody says who "
    "was recorded",
    "ECG": "two train, one val; perhaps of one person, since nobody says who was recorded. Test: "
    "mitdb_208 and mitdb_short",
}

VCC = 3.0
"""Volts of the converter (biosignalsnotebooks 0.6.14, conversion.py, as the next)."""

GAIN_V = {"EEG": 0.041990e6, "EMG": 1e3, "ECG": 1.019e3}
"""Amplification from volts at the skin to volts at the converter, per sensor."""

SWITCH_SHARE = 0.98
"""A channel that spends this share of its samples near two values is a switch, not a signal."""

RESTING = 0.002
"""Share of the converter's range; a channel that stays within is a switch nobody pressed."""


class SmallSignals(DataSet):
    """One kind of the package's signals; each file a recording of an unnamed person."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = f"bsnb_{kind.lower()}"
        self.facts = Facts(
            title=f"biosignalsnotebooks: {len(FILES[kind])} short recordings of one {kind} sensor",
            licence="package MIT",
            citation="biosignalsnotebooks, PLUX wireless biosignals",
            origin=BIOSIGNALSNOTEBOOKS,
            kinds=(kind,),
            splits=SPLITS_TOLD[kind],
            nominal=(
                "raw counts are turned into volts by the package's own transfer function",
                "bipolar sensor without a named place; no position",
            ),
            line_freq=50.0,
        )

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(BIOSIGNALSNOTEBOOKS, self._members(), root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(BIOSIGNALSNOTEBOOKS, list(self._members().values()), root):
            return []
        folder = source_folder(BIOSIGNALSNOTEBOOKS, root)
        return [Job(self.name, n, (str(folder / f"{n}.h5"),)) for n in FILES[self.kind]]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        path = Path(job.files[0])
        counts_CT, sfreq, bits = read_counts(path)
        signals = [x for x in counts_CT if not is_switch(x, bits)]
        switches = [x for x in counts_CT if is_switch(x, bits)]
        if not signals:
            raise DataError(f"{path}: holds switches only; leave it out")
        volts = np.stack([(x / 2.0**bits - 0.5) * VCC / GAIN_V[self.kind] for x in signals])
        recording = recording_from_raw(
            _raw(volts, sfreq, self.kind),
            recipe=recipe,
            dataset=self.name,
            name=job.name,
            source=str(path),
            line_freq=self.facts.line_freq,
            montage=None,
            split=SPLIT.get(job.name, "train"),
            split_group=f"{self.name}/{job.name}" if job.name in SPLIT else "",
        )
        recording.notes += self.facts.nominal
        for x in switches:
            events = presses(x, sfreq, bits)
            recording.events += events
            recording.notes.append(
                f"a second channel holds two levels only, a switch: {len(events)} presses became "
                "events, the channel is left out"
            )
        return recording

    def _members(self) -> dict[str, str]:
        return {f"{BSNB_FOLDER}/{n}.h5": f"{n}.h5" for n in FILES[self.kind]}


def read_counts(path: Path) -> tuple[list[NDArray[np.float64]], float, int]:
    """Converter counts of all channels of a PLUX file, rate in Hz, bits.

    Raises
    ------
    DataError
        If the file is none of theirs.
    """
    import h5py

    try:
        with h5py.File(path) as f:
            device = f[next(iter(f))]
            raw = device["raw"]
            counts = [
                np.asarray(raw[k], np.float64).ravel()
                for k in sorted(raw)
                if k.startswith("channel_")
            ]
            sfreq = float(np.ravel(device.attrs["sampling rate"])[0])
            bits = int(np.ravel(device.attrs["resolution"])[0])
    except (OSError, KeyError, StopIteration, ValueError) as e:
        raise DataError(f"{path}: not a PLUX recording ({e}); fetch it again") from e
    return counts, sfreq, bits


def is_switch(x_T: NDArray[np.float64], bits: int = 16) -> bool:
    """Whether a channel rests near one or two levels: a hand switch plugged into a port."""
    low, high = float(x_T.min()), float(x_T.max())
    if high - low < RESTING * 2**bits:
        return True
    near = 0.05 * (high - low)
    share = np.mean((x_T - low < near) | (high - x_T < near))
    return bool(share > SWITCH_SHARE and high - low > 0.25 * 2**bits)


def presses(x_T: NDArray[np.float64], sfreq: float, bits: int = 16) -> list[Event]:
    """Stretches in which a switch is at its upper level."""
    low, high = float(x_T.min()), float(x_T.max())
    if high - low < RESTING * 2**bits:
        return []
    up = np.concatenate([[False], x_T > (low + high) / 2, [False]])
    edges = np.flatnonzero(np.diff(up.astype(np.int8)))
    return [
        Event(float(a / sfreq), float((b - a) / sfreq), "switch")
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _raw(volts_CT: NDArray[np.float64], sfreq: float, kind: str) -> Any:
    import mne

    names = [kind if len(volts_CT) == 1 else f"{kind}{i + 1}" for i in range(len(volts_CT))]
    info = mne.create_info(names, sfreq, kind.lower(), verbose="ERROR")
    return mne.io.RawArray(volts_CT, info, verbose="ERROR")


EEG, EMG, ECG = (SmallSignals(k) for k in FILES)
