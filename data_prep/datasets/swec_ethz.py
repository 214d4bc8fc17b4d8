"""SWEC-ETHZ long-term iEEG: the older release of Bern, one MATLAB file an hour.

Layout, as programs of others read it: `<data root>/swec_ethz/ID01/ID01_1h.mat` with `EEG`
(channels, samples), one file for each hour counted from 1, and `ID01_info.mat` with `fs` and with
`seizure_begin` and `seizure_end`, seconds since the start of the first hour. Files of MATLAB 5 and
7.3 (HDF5, where matrices lie transposed) are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.signals.szcore import BACKGROUND, SEIZURE, seizures_of
from brainfm.types import Event, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.datasets.swec import contacts_raw
from data_prep.scalp import MICROVOLT

NAME = re.compile(r"ID(\d+)_(\d+)h\.mat")
HOUR_S = 3600.0
MAX_CHANNELS = 1000
"""No patient has so many contacts."""


class SwecEthz(DataSet):
    """One recording an hour; a patient keeps to one side of the split."""

    name = "swec_ethz"
    facts = Facts(
        title="SWEC-ETHZ long-term iEEG: 18 patients, 2656 hours, 116 seizures",
        licence="free for research and education (its page)",
        citation="SWEC-ETHZ iEEG Database and Algorithms; and the paper that its page names",
        origin="https://ieeg-swez.ethz.ch",
        kinds=("SEEG",),
        splits="by patient, by a hash",
        nominal=(
            "contacts have no names and no positions; strips, grids and depth electrodes alike are "
            "called SEEG",
            "the unit is not stated; taken as microvolt",
            "median reference and 0.5 to 120 Hz (its page)",
            "SWEC holds recordings of the same hospital, perhaps of the same people under other "
            "IDs: do not train on one and test on the other",
        ),
        line_freq=50.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get patients from "
                f"{self.facts.origin} ({self.facts.licence}) and put them under "
                f"{root / self.name}/ID01/ID01_1h.mat and ID01_info.mat; the short-term set "
                "(SzN.mat) has no hours around its seizures and is not read"
            )

    def jobs(self, root: Path) -> list[Job]:
        jobs = []
        for hour in (root / self.name).glob("ID*/ID*_*h.mat"):
            if m := NAME.fullmatch(hour.name):
                files = [f for f in (hour, hour.with_name(f"ID{m[1]}_info.mat")) if f.exists()]
                name = f"ID{m[1]}_{int(m[2]):04d}h"
                jobs.append(Job(self.name, name, tuple(map(str, files))))
        return sorted(jobs, key=lambda j: j.name)

    def load(self, job: Job, recipe: Recipe) -> Recording:
        path = Path(job.files[0])
        m = NAME.fullmatch(path.name)
        assert m is not None
        info = path.with_name(f"ID{m[1]}_info.mat")
        if not info.exists():
            raise DataError(f"{info}: missing, it holds the rate and the seizures; fetch it")
        sfreq, spans = read_info(info)
        x_CT = read_hour(path) * MICROVOLT
        recording = recording_from_raw(
            contacts_raw(x_CT, sfreq),
            recipe=recipe,
            dataset=self.name,
            subject=f"ID{m[1]}",
            session=f"{int(m[2])}h",
            name=job.name,
            source=str(path),
            line_freq=self.facts.line_freq,
            montage=None,
        )
        recording.notes += self.facts.nominal
        # Hours lie HOUR_S apart, whatever a file's own length.
        start = (int(m[2]) - 1) * HOUR_S
        stop = start + x_CT.shape[1] / sfreq
        here = [Event(a - start, b - a, SEIZURE) for a, b in spans if b > start and a < stop]
        try:
            seizures, notes = seizures_of(here, recording.duration_s)
        except DataError as e:
            raise DataError(f"{info}: {e}") from e
        recording.events = seizures or [Event(0.0, recording.duration_s, BACKGROUND)]
        recording.notes += notes
        return recording


def read_info(path: Path) -> tuple[float, list[tuple[float, float]]]:
    """Rate in Hz and (begin, end) of seizures in s since the first hour began.

    Raises
    ------
    DataError
        If a value is missing, or begins and ends do not pair.
    """
    content = read_mat(path, ("fs", "seizure_begin", "seizure_end"))
    fs, begin, end = (np.ravel(x).astype(float).tolist() for x in content.values())
    if len(fs) != 1 or len(begin) != len(end):
        raise DataError(
            f"{path}: holds {len(fs)} rates, {len(begin)} begins and {len(end)} ends of seizures; "
            "fetch it again"
        )
    return fs[0], list(zip(begin, end, strict=True))


def read_hour(path: Path) -> NDArray[np.float64]:
    """The samples of an hour, (C, T).

    Raises
    ------
    DataError
        If `EEG` is no matrix of channels.
    """
    x = np.asarray(read_mat(path, ("EEG",))["EEG"])
    if x.ndim != 2 or min(x.shape) > MAX_CHANNELS or x.size == 0:
        raise DataError(f"{path}: EEG has shape {x.shape}, not channels by samples; fetch it again")
    # An hour has far more samples than any patient contacts.
    return np.array(x if x.shape[0] <= x.shape[1] else x.T, np.float64)


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Variables of a MATLAB file, in the order asked for, as MATLAB shows them.

    Raises
    ------
    DataError
        If the file cannot be read or lacks a variable.
    """
    import h5py
    from scipy.io import loadmat

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as f:
                return {n: f[n][()].T for n in names}
        content = loadmat(path, variable_names=names)
        return {n: content[n] for n in names}
    except Exception as e:
        # Damaged .mat files raise zlib, struct, value and key errors.
        raise DataError(
            f"{path}: cannot be read ({type(e).__name__}: {' '.join(str(e).split())[:120]}); fetch "
            "it again"
        ) from e


DATASET = SwecEthz()
