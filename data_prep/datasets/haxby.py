"""Haxby 2001: one person looks at faces, houses and six kinds of things, twelve runs of fMRI.

The slice that PyMVPA ships for its examples: posterior half of one axial slice at its own
resolution, 1452 frames with a label each.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.bold import prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import PYMVPA
from data_prep.readers.nifti import read_nifti

IMAGE, LABELS = "bold.nii.gz", "attributes_literal.txt"
MEMBERS = {f"pymvpa2-2.6.5/mvpa2/data/{name}": name for name in (IMAGE, LABELS)}
TR_S = 2.5
"""Haxby et al. 2001; the header says the same."""
RUNS = 12
REST = "rest"


class Haxby(DataSet):
    """Twelve runs of one person."""

    name = "haxby"
    facts = Facts(
        title="Haxby 2001, one slice of subject 1: eight categories in blocks, 12 runs (fMRI)",
        licence="package MIT; data CC BY-SA 3.0 (recalled; the package does not say)",
        citation="Haxby et al., Science 293(5539), 2001",
        origin=PYMVPA,
        kinds=("BOLD",),
        splits="one person, so all runs are train; decoding leaves one run out (eval.fmri)",
        nominal=(
            "places are those of the scanner, not MNI; half of a single slice",
            "runs were detrended by nobody: slow drifts are in the package's data",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(PYMVPA, MEMBERS, root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(PYMVPA, list(MEMBERS.values()), root):
            return []
        folder = source_folder(PYMVPA, root)
        files = (str(folder / IMAGE), str(folder / LABELS))
        return [
            Job(self.name, f"sub-01_run-{run + 1:02d}", files, {"run": run}) for run in range(RUNS)
        ]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        image, labels = job.files
        names, chunks = read_labels(labels)
        mine = [i for i, chunk in enumerate(chunks) if chunk == job.options["run"]]
        whole = read_nifti(
            image,
            dataset=self.name,
            subject="01",
            name=job.name,
            tr_s=TR_S,
            frame="unknown",
            n_frames=len(names),
        )
        first, last = mine[0], mine[-1] + 1
        whole.signal = whole.signal[first:last]
        whole.intervals_s = [(0.0, whole.duration_s)]
        whole.events = blocks([names[i] for i in mine])
        whole.split = "train"
        return prepare_bold(whole, recipe)


def read_labels(path: str | Path) -> tuple[list[str], list[int]]:
    """Label and run of every frame.

    Raises
    ------
    DataError
        If a line is not a label and a number, or runs are not one after the other.
    """
    try:
        rows = [line.split() for line in Path(path).read_text().splitlines() if line.strip()]
        names, chunks = [r[0] for r in rows], [int(r[1]) for r in rows]
    except (OSError, ValueError, IndexError) as e:
        raise DataError(f"{path}: lines are not 'label run' ({e}); fetch it again") from e
    if chunks != sorted(chunks) or set(chunks) != set(range(RUNS)):
        raise DataError(f"{path}: its runs are not 0 to {RUNS - 1} in order; fetch it again")
    return names, chunks


def blocks(names: list[str]) -> list[Event]:
    """Stretches of one category; rest is no event."""
    events, at = [], 0
    for name, frames in groupby(names):
        n = len(list(frames))
        if name != REST:
            events.append(Event(at * TR_S, n * TR_S, name))
        at += n
    return events


HAXBY = Haxby()
