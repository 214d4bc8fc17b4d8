"""SWEC iEEG: days of intracranial recordings of Bern, one HDF5 file a patient, cut into hours.

Layout: `<data root>/swec/IDxx/IDxx_total.h5` with `data/ieeg` (channels, samples), `data/seizures`
(onsets, offsets in s), attribute `sampling_rate`; as the program of MVPFormer reads it (IBM, commit
9f5357b). `data/ieeg` is a virtual view of the files IDxx_part_N.h5. Two faults of the release that
an audit by others describes (not seen by us) are taken care of: views that name another patient's
parts, and folders that repeat another folder's recording under a second ID.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
from data_prep.scalp import MICROVOLT

PART_S = 3600
"""Length of a part. An hour of 64 channels at 512 Hz is 0.9 GB in double precision."""

MARGIN_S = 60
"""A cut stays this far from seizures, if a part does not become twice as long by it."""


@dataclass(frozen=True)
class Patient:
    """What the total file of a patient says, without reading samples.

    Attributes
    ----------
    n_channels, n_samples, sfreq : of `data/ieeg`
    channels_first : whether its rows are channels
    seizures : (onset, offset) in s, None where the file has no such table
    parts : files that hold the samples, in order; the total file itself if it is no view
    """

    n_channels: int
    n_samples: int
    sfreq: float
    channels_first: bool
    seizures: tuple[tuple[float, float], ...] | None
    parts: tuple[Path, ...]


class Swec(DataSet):
    """One recording an hour or so; a patient keeps to one side of the split."""

    name = "swec"
    facts = Facts(
        title="SWEC iEEG: 68 folders of intracranial EEG, 9328 hours, 704 seizures",
        licence="CDLA-Permissive-2.0",
        citation="Carzaniga et al., arXiv 2506.20354; Burrello et al., 2019 (recalled)",
        origin="https://huggingface.co/datasets/NeuroTec/SWEC_iEEG_Dataset",
        kinds=("SEEG",),
        splits="by patient, by a hash; MVPFormer's split is another one",
        nominal=(
            "contacts have no names and no positions; strips, grids and depth electrodes alike are "
            "called SEEG",
            "the unit is not stated; taken as microvolt",
            "median reference and 0.5 to 120 Hz, as the page of the older SWEC-ETHZ set says",
        ),
        line_freq=50.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self._folders(root):
            raise DataError(
                f"{self.name}: brainfm does not download 4.6 TB; get patients from "
                f"{self.facts.origin} ({self.facts.licence}) and put them under "
                f"{root / self.name}/ID01/ID01_total.h5 (hours in .mat files are swec_ethz)"
            )

    def jobs(self, root: Path) -> list[Job]:
        jobs: list[Job] = []
        first: dict[Any, str] = {}
        repeats: dict[str, list[str]] = {}
        patients: dict[str, Patient] = {}
        for total in self._folders(root):
            who = total.parent.name
            try:
                p = patients[who] = read_patient(total)
            except DataError as e:
                # Told when it is prepared: one bad file must not hide all others.
                jobs.append(Job(self.name, who, (str(total),), {"damaged": str(e)}))
                continue
            # Only seizures tell two recordings of the same length from one that came twice.
            mark = (p.n_channels, p.n_samples, p.sfreq, p.seizures) if p.seizures else who
            repeats.setdefault(first.setdefault(mark, who), []).append(who)
        for who, everyone in repeats.items():
            jobs += self._cut(root, who, patients[who], everyone[1:])
        return sorted(jobs, key=lambda j: j.name)

    def load(self, job: Job, recipe: Recipe) -> Recording:
        total = Path(job.files[0])
        if "damaged" in job.options:
            raise DataError(job.options["damaged"])
        p = read_patient(total)
        start, stop = job.options["start"], job.options["stop"]
        x_CT = read_samples(total, p, start, stop)
        x_CT *= MICROVOLT
        recording = recording_from_raw(
            contacts_raw(x_CT, p.sfreq),
            recipe=recipe,
            dataset=self.name,
            subject=total.parent.name,
            session=f"{start / p.sfreq / 3600:.2f}h",
            name=job.name,
            source=str(total),
            line_freq=self.facts.line_freq,
            montage=None,
        )
        recording.notes += self.facts.nominal
        if job.options["repeats"]:
            others = ", ".join(job.options["repeats"])
            recording.notes.append(f"{others} repeat this patient's recording and are left out")
        if p.seizures is None:
            recording.notes.append("the file has no data/seizures: not annotated")
            return recording
        try:
            recording.events, notes = _events(p, start, stop, recording.duration_s)
        except DataError as e:
            raise DataError(f"{total}: {e}") from e
        recording.notes += notes
        return recording

    def _folders(self, root: Path) -> list[Path]:
        return sorted((root / self.name).glob("ID[0-9]*/ID[0-9]*_total.h5"))

    def _cut(self, root: Path, who: str, p: Patient, repeats: list[str]) -> list[Job]:
        total = root / self.name / who / f"{who}_total.h5"
        files = dict.fromkeys(str(f) for f in (total, *p.parts) if f.exists())
        edges = cut_points(p.n_samples / p.sfreq, p.seizures or ())
        jobs = []
        for k, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            start, stop = round(a * p.sfreq), min(round(b * p.sfreq), p.n_samples)
            options = {"start": start, "stop": stop, "repeats": repeats}
            jobs.append(Job(self.name, f"{who}_{k:04d}", tuple(files), options))
        return jobs


def cut_points(duration_s: float, seizures: tuple[tuple[float, float], ...]) -> list[float]:
    """Where a recording is cut: every `PART_S` or later, outside seizures.

    A part never becomes twice as long; then a seizure is cut after all.
    """
    wide = [(a - MARGIN_S, b + MARGIN_S) for a, b in sorted(seizures) if math.isfinite(a + b)]
    edges = [0.0]
    while duration_s - edges[-1] > PART_S:
        at = edges[-1] + PART_S
        for a, b in wide:
            at = math.ceil(b) if a < at < b else at
        edges.append(float(min(at, edges[-1] + 2 * PART_S)))
    # A last part of seconds would be too short for the filters.
    if len(edges) > 1 and duration_s - edges[-1] < MARGIN_S:
        edges.pop()
    return [*edges, duration_s]


def read_patient(total: Path) -> Patient:
    """Everything of a total file but the samples.

    Raises
    ------
    DataError
        If it is no such file.
    """
    import h5py

    try:
        with h5py.File(total) as f:
            ieeg = f["data/ieeg"]
            shape = tuple(int(n) for n in ieeg.shape)
            at = ieeg if "sampling_rate" in ieeg.attrs else f
            sfreq = float(np.ravel(at.attrs["sampling_rate"])[0])
            said = int(np.ravel(f.attrs["channels"])[0]) if "channels" in f.attrs else shape[0]
            seizures = _spans(f["data/seizures"][()]) if "data/seizures" in f else None
            parts = _parts(total, f) if ieeg.is_virtual else (total,)
    except (OSError, KeyError, ValueError, IndexError, TypeError) as e:
        raise DataError(
            f"{total}: no recording of SWEC ({type(e).__name__}: "
            f"{' '.join(str(e).split())[:160]}); fetch it again"
        ) from e
    if len(shape) != 2 or said not in shape or not 1 <= sfreq <= 1e5:
        raise DataError(
            f"{total}: data/ieeg has shape {shape} for {said} channels at {sfreq:g} Hz; fetch it "
            "again"
        )
    first = shape[0] == said
    return Patient(said, shape[1] if first else shape[0], sfreq, first, seizures, parts)


def read_samples(total: Path, p: Patient, start: int, stop: int) -> NDArray[np.float64]:
    """Samples `start` to `stop` of all channels, (C, T), read from the parts that hold them.

    Raises
    ------
    DataError
        If a part is missing, has other channels, or is compressed by a filter that HDF5 lacks.
    """
    import h5py

    _load_filters()
    out = np.empty((p.n_channels, stop - start))
    at = 0
    for part in p.parts:
        if not part.exists():
            raise DataError(f"{part}: missing, {total.name} is made of it; fetch it")
        try:
            with h5py.File(part) as f:
                ieeg = f["data/ieeg"]
                n = ieeg.shape[1 if p.channels_first else 0]
                if ieeg.shape[0 if p.channels_first else 1] != p.n_channels:
                    raise DataError(f"{part}: has shape {ieeg.shape}, not {p.n_channels} channels")
                _require_filters(part, ieeg)
                a, b = max(start, at), min(stop, at + n)
                if a < b:
                    span = slice(a - at, b - at)
                    x = ieeg[:, span] if p.channels_first else ieeg[span].T
                    out[:, a - start : b - start] = x
        except (OSError, KeyError) as e:
            raise DataError(
                f"{part}: cannot be read ({' '.join(str(e).split())[:160]}); fetch it again"
            ) from e
        at += n
    if at != p.n_samples:
        raise DataError(f"{total}: announces {p.n_samples} samples, its parts hold {at}; fetch it")
    return out


def _events(p: Patient, start: int, stop: int, duration_s: float) -> tuple[list[Event], list[str]]:
    begin, end = start / p.sfreq, stop / p.sfreq
    every = [Event(a, b - a, SEIZURE) for a, b in p.seizures or ()]
    whole, notes = seizures_of(every, p.n_samples / p.sfreq)
    inside = [e for e in whole if e.onset_s < end and e.onset_s + e.duration_s > begin]
    here, more = seizures_of([e._replace(onset_s=e.onset_s - begin) for e in inside], duration_s)
    return here or [Event(0.0, duration_s, BACKGROUND)], (notes if start == 0 else []) + more


def _spans(table: Any) -> tuple[tuple[float, float], ...]:
    on, off = (np.ravel(table[k]).astype(float).tolist() for k in ("onsets", "offsets"))
    return tuple(sorted(zip(on, off, strict=True)))


def _parts(total: Path, f: Any) -> tuple[Path, ...]:
    """The list in the file rules; the view itself may name another patient's files."""
    who = total.parent.name
    if "info/files" in f:
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in f["info/files"][()]]
    else:
        found = total.parent.glob(f"{who}_part_*.h5")
        names = sorted((p.name for p in found), key=lambda n: int(n.split("_part_")[1][:-3]))
    strange = [n for n in names if not n.startswith(f"{who}_") or Path(n).name != n]
    if strange or not names:
        raise ValueError(f"made of {', '.join(strange[:2]) or 'no parts'}, not of {who}_part_N.h5")
    return tuple(total.parent / n for n in names)


def _load_filters() -> None:
    """The release is compressed with lz4hc, which h5py alone does not read."""
    from importlib.util import find_spec

    if find_spec("hdf5plugin"):
        import hdf5plugin  # noqa: F401


def _require_filters(part: Path, ieeg: Any) -> None:
    from h5py import h5z

    made_by = ieeg.id.get_create_plist()
    for i in range(made_by.get_nfilters()):
        number = made_by.get_filter(i)[0]
        if not h5z.filter_avail(number):
            raise DataError(
                f"{part}: is compressed by HDF5 filter {number}, which h5py lacks; run pip install "
                "hdf5plugin"
            )


def contacts_raw(volts_CT: NDArray[np.float64], sfreq: float) -> Any:
    """An MNE raw object of contacts that have numbers for names."""
    import mne

    names = [f"contact{i + 1:03d}" for i in range(len(volts_CT))]
    return mne.io.RawArray(
        volts_CT, mne.create_info(names, sfreq, "seeg", verbose="ERROR"), verbose="ERROR"
    )


DATASET = Swec()
