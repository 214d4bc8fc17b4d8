"""One scalp recording of the University of Michigan with one temporal-lobe seizure, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.signals.szcore import SEIZURE
from brainfm.types import Event, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.scalp import MICROVOLT

CHANNELS = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "SP1", "SP2", "F7", "F8"),
    *("T3", "T4", "T5", "T6", "Fz", "Cz", "Pz"),
)
"""Of ch01.inp to ch21.inp, in order (the set's README); ch22 to ch31 are not named."""

FILES = tuple(f"ch{i + 1:02d}.inp" for i in range(len(CHANNELS)))

LEFT_OUT = ("SP1", "SP2", "Cz")
"""Corrupted, corrupted, and the reference (the set's README)."""

SFREQ = 100.0
LENGTH_S = 500.0
ONSET_S, END_S = 350.0, 450.0
"""Onset by the description of the recording; back to baseline "by about" 450 s."""


class MichiganSeizure(DataSet):
    """21 files of one number a line become one recording that is never trained on."""

    name = "umich_seizure"
    facts = Facts(
        title="Scalp EEG with one temporal-lobe seizure: 18 electrodes used, 500 s at 100 Hz",
        licence="none stated; acknowledge Dr Beth Malow, University of Michigan",
        citation="Ombao, Raz, von Sachs, Malow, JASA 96, 543-560 (2001)",
        origin="https://github.com/A-EL-YAAGOUBI/Dynamic-TDA",
        kinds=("EEG",),
        splits="test, always",
        nominal=(
            "the unit is not stated; taken as microvolt, which makes 9 to 32 uV within a second",
            f"the seizure is taken from {ONSET_S:g} to {END_S:g} s: the end is nominal",
            "SP1 and SP2 (corrupted) and Cz (the reference) are left out, as its README advises",
        ),
        line_freq=60.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; take ch01.inp to ch21.inp from the "
                f"folder 'Epileptic Seizure EEG Dataset' of {self.facts.origin} and put them under "
                f"{root / self.name} ({self.facts.licence})"
            )

    def jobs(self, root: Path) -> list[Job]:
        files = [root / self.name / n for n in FILES]
        there = tuple(str(f) for f in files if f.exists())
        return [Job(self.name, "seizure", there)] if there else []

    def load(self, job: Job, recipe: Recipe) -> Recording:
        folder = Path(job.files[0]).parent
        missing = [n for n in FILES if not (folder / n).exists()]
        if missing:
            raise DataError(f"{folder}: {missing[0]} is missing; fetch {FILES[0]} to {FILES[-1]}")
        kept = [(n, c) for n, c in zip(FILES, CHANNELS, strict=True) if c not in LEFT_OUT]
        signals = [read_numbers(folder / n) for n, _ in kept]
        n_samples = round(LENGTH_S * SFREQ)
        for (file, _), x in zip(kept, signals, strict=True):
            if len(x) != n_samples:
                raise DataError(
                    f"{folder / file}: has {len(x)} samples, not the {n_samples} of the "
                    "recording; fetch it again"
                )
        recording = recording_from_raw(
            _raw(np.stack(signals) * MICROVOLT, [c for _, c in kept]),
            recipe=recipe,
            dataset=self.name,
            subject="1",
            name=job.name,
            source=str(folder),
            line_freq=self.facts.line_freq,
            split="test",
        )
        recording.notes += self.facts.nominal
        recording.events = [Event(ONSET_S, END_S - ONSET_S, SEIZURE)]
        return recording


def read_numbers(path: Path) -> NDArray[np.float64]:
    """The numbers of a file with one a line.

    Raises
    ------
    DataError
        If a line is no number.
    """
    out = []
    for i, line in enumerate(path.read_text("latin-1").splitlines(), 1):
        try:
            out.append(float(line))
        except ValueError as e:
            if line.strip():
                raise DataError(
                    f"{path}: line {i} is {line[:40]!r}, not a number; fetch it again"
                ) from e
    return np.array(out)


def _raw(volts_CT: NDArray[np.float64], names: list[str]) -> Any:
    import mne

    info = mne.create_info(names, SFREQ, "eeg", verbose="ERROR")
    return mne.io.RawArray(volts_CT, info, verbose="ERROR")


DATASET = MichiganSeizure()
