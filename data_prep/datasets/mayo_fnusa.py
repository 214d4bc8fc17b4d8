"""MAYO and FNUSA: single-channel intracranial clips of 3 s, labelled by what they show.

Layout: `<data root>/mayo_fnusa/DATASET_MAYO/segments.csv` and one `<segment_id>.mat` a clip with
`data` (1, 15000), likewise DATASET_FNUSA; seen in programs of others that read it, not in the data.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.filters import NO_HIGHPASS, resample_trial
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.scalp import MICROVOLT

FOLDERS = {"MAYO": "DATASET_MAYO", "FNUSA": "DATASET_FNUSA"}
COLUMNS = ("segment_id", "category_name", "patient_id")
SFREQ = 5000.0
N_SAMPLES = 15_000
"""3 s; clips of another length are left out with a note."""


class MayoFnusa(DataSet):
    """One recording a patient, his clips end to end; one interval and one event a clip."""

    name = "mayo_fnusa"
    facts = Facts(
        title="MAYO and FNUSA: intracranial clips of 3 s, artifact, pathology or physiology",
        licence="CC BY 4.0 (recalled; read the page)",
        citation="Nejedly et al., Scientific Data 7:179 2020, doi:10.1038/s41597-020-0532-5",
        origin="https://doi.org/10.1038/s41597-020-0532-5",
        kinds=("SEEG",),
        splits="by patient, by a hash; session names the institution, to test one on the other",
        nominal=(
            "labelled clips: they test the classification of clips, not the detection of seizures",
            "each clip is one channel of many; contacts have no position, and grids and strips are "
            "called SEEG like depth electrodes",
            "the unit is not stated; taken as microvolt",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get DATASET_MAYO and DATASET_FNUSA by "
                f"the article {self.facts.origin} ({self.facts.licence}) and put them under "
                f"{root / self.name}"
            )

    def jobs(self, root: Path) -> list[Job]:
        jobs = []
        for institution, folder in FOLDERS.items():
            table = root / self.name / folder / "segments.csv"
            if not table.exists():
                continue
            try:
                patients = sorted({r["patient_id"] for r in read_segments(table)})
            except DataError as e:
                # Told when it is prepared: one bad table must not hide the other.
                jobs.append(Job(self.name, institution, (str(table),), {"damaged": str(e)}))
                continue
            for who in patients:
                options = {"institution": institution, "patient": who}
                jobs.append(Job(self.name, f"{institution}_{who}", (str(table),), options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        table = Path(job.files[0])
        if "damaged" in job.options:
            raise DataError(job.options["damaged"])
        who, institution = job.options["patient"], job.options["institution"]
        clips: list[NDArray[np.float64]] = []
        labels: list[str] = []
        odd: Counter[str] = Counter()
        for row in read_segments(table):
            if row["patient_id"] != who:
                continue
            x_T = read_clip(table.parent / f"{row['segment_id']}.mat")
            if len(x_T) != N_SAMPLES:
                odd[f"{len(x_T)} samples"] += 1
            elif not np.isfinite(x_T).all():
                odd["NaN"] += 1
            else:
                x_T1 = (x_T - x_T.mean())[:, None] * MICROVOLT
                clips.append(resample_trial(x_T1, SFREQ, recipe.sfreq))
                labels.append(row["category_name"])
        if not clips:
            raise DataError(f"{table}: no clip of patient {who} can be used ({dict(odd)})")
        edges = np.concatenate([[0], np.cumsum([len(x) for x in clips])]) / recipe.sfreq
        spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        return Recording(
            signal=np.concatenate(clips).astype(np.float32),
            sfreq=recipe.sfreq,
            channels=_one_contact(),
            dataset=self.name,
            subject=f"{institution}_{who}",
            session=institution,
            name=job.name,
            events=[Event(a, b - a, label) for (a, b), label in zip(spans, labels, strict=True)],
            intervals_s=spans,
            source=str(table),
            notes=[
                f"{NO_HIGHPASS} (clips are too short for it); each clip loses its mean, no notch "
                "and no low-pass beyond anti-aliasing; quality is the label and is not judged",
                *self.facts.nominal,
                *(f"{n} clips are left out: {why}" for why, n in odd.items()),
            ],
        )


def read_segments(table: Path) -> list[dict[str, str]]:
    """Rows of `segments.csv`.

    Raises
    ------
    DataError
        If a column is missing, a label is empty, or a segment is listed twice.
    """
    try:
        with open(table, encoding="utf-8-sig", newline="") as f:
            reader = csv.DictReader(f)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            rows = [] if missing else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{table}: is no readable table ({e}); fetch it again") from e
    if missing:
        raise DataError(f"{table}: has no column {', '.join(missing)}; fetch it again")
    seen: set[str] = set()
    for i, row in enumerate(rows, 2):
        if not all((row[c] or "").strip() for c in COLUMNS) or row["segment_id"] in seen:
            raise DataError(
                f"{table}: line {i} lacks a segment, label or patient, or repeats "
                f"'{row['segment_id']}'; fetch it again"
            )
        seen.add(row["segment_id"])
    return rows


def read_clip(path: Path) -> NDArray[np.float64]:
    """The samples of one clip.

    Raises
    ------
    DataError
        If there is no such file, or `data` in it is not one channel.
    """
    from scipy.io import loadmat

    try:
        data = np.asarray(loadmat(path)["data"], np.float64)
    except Exception as e:
        # Damaged .mat files raise zlib, struct, value and key errors.
        raise DataError(
            f"{path}: cannot be read ({type(e).__name__}: {' '.join(str(e).split())[:120]}); fetch "
            "it again"
        ) from e
    if data.size != max(data.shape, default=0):
        raise DataError(f"{path}: data has shape {data.shape}, not one channel; fetch it again")
    return data.ravel()


def _one_contact() -> Channels:
    unknown = np.full((1, 3), np.nan, np.float32)
    return Channels(("contact",), np.array([Kind.SEEG]), unknown, np.zeros((1, 3)), ("V",))


DATASET = MayoFnusa()
