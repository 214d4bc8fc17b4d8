"""One person of the Leipzig study (LEMON) at rest, on fsaverage5, as brainspace carries the run.

Shapes: T frames, V vertices (left then right), P parcels, K regressors.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.bold import prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, Recording
from data_prep.atlases import Atlas, atlas_files, fetch_atlas, load_atlas, parcel_means
from data_prep.atlases.atlas import VERTICES
from data_prep.atlases.volumes import need_nibabel
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import BRAINSPACE
from data_prep.readers.tr import timing

SURFACE = "fsaverage5"
MESH_ATLAS = "desikan_killiany_fsaverage5"
"""Its mesh is the run's; also the parcels by default."""
VERTEX = "vertices"
"""Instead of an atlas: every vertex that was recorded is a channel."""
FOLDER = "brainspace/datasets/preprocessing"
RUN = "sub-010188_ses-02_task-rest_acq-AP_run-01"
FILES = (f"{RUN}.fsa5.lh.mgz", f"{RUN}.fsa5.rh.mgz", f"{RUN}_confounds.txt")
TR_S = 1.4
"""Seconds, of the LEMON protocol (recalled); the header's 1.000 s is what converters write."""


class LemonRun(DataSet):
    """The run, parcellated.

    Parameters
    ----------
    atlas : name of any atlas, or "vertices"; one of another mesh or of a volume is brought to
        fsaverage5 by place
    tr_s : seconds from frame to frame
    """

    name = "lemon_fsa5"
    facts = Facts(
        title="LEMON at rest: 1 person, fsaverage5, 68 Desikan-Killiany parcels, 652 frames",
        licence="package BSD-3-Clause; LEMON's own terms were not read",
        citation="Vos de Wael et al., Commun Biol 3, 2020 (brainspace); Babayan et al., Sci Data 6,"
        " 2019 (LEMON)",
        origin=BRAINSPACE,
        kinds=("BOLD",),
        splits="one person: train",
        nominal=(
            "TR 1.4 s is the LEMON protocol's (recalled); the header says 1.000 s, and is not "
            "believed",
            "29 unnamed nuisance columns of the package are regressed out",
            "which volumes were left out at the start is not stated: time counts from the first "
            "frame",
            "surface places are the pial vertices of fsaverage5, brought from MNI305 to MNI152",
        ),
    )

    def __init__(self, atlas: str = MESH_ATLAS, tr_s: float = TR_S) -> None:
        self.atlas, self.tr_s = atlas, tr_s

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(BRAINSPACE, {f"{FOLDER}/{f}": f for f in FILES}, root, say)
        for name in self._atlases():
            fetch_atlas(name, root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(BRAINSPACE, list(FILES), root):
            return []
        folder = source_folder(BRAINSPACE, root)
        files = [str(folder / f) for f in FILES]
        for name in self._atlases():
            more = atlas_files(name, root)
            if more is None:
                return []
            files += more
        options = {"root": str(root), "atlas": self.atlas, "tr_s": self.tr_s}
        return [Job(self.name, RUN, tuple(files), options)]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        left, right, table = (Path(f) for f in job.files[:3])
        root = Path(job.options["root"])
        tr_s = timing(str(left), tr_s=float(job.options["tr_s"])).tr_s
        frames_TV = np.concatenate([read_hemisphere(left), read_hemisphere(right)], 1)
        confounds_TK = read_confounds(table, len(frames_TV))
        mesh = load_atlas(MESH_ATLAS, root)
        notes = [*self.facts.nominal]
        if job.options["atlas"] == VERTEX:
            index = np.flatnonzero(np.ptp(frames_TV, axis=0) > 0)
            frames, channels = frames_TV[:, index], vertex_channels(mesh, index)
            notes.append(f"{frames_TV.shape[1] - len(index)} vertices that never change left out")
        else:
            atlas = load_atlas(job.options["atlas"], root)
            if atlas.space != SURFACE:
                assert mesh.vertex_m is not None
                atlas = atlas.on_surface(mesh.vertex_m, SURFACE)
            # A mean over vertices and a regression commute; parcels are 300 times fewer.
            frames, index = parcel_means(frames_TV, atlas.labels, atlas.ids)
            channels = atlas.channels(index)
            notes += atlas.notes
            if len(index) < len(atlas):
                notes.append(f"{len(atlas) - len(index)} parcels without a vertex that changes")
        recording = Recording(
            signal=without(frames, confounds_TK).astype(np.float32),
            sfreq=1 / tr_s,
            channels=channels,
            dataset=self.name,
            subject="010188",
            session="02",
            name=job.name,
            source=str(left),
            split="train",
            split_group="lemon/010188",
            notes=notes,
        )
        return prepare_bold(recording, recipe)

    def _atlases(self) -> list[str]:
        return [MESH_ATLAS, *({self.atlas} - {MESH_ATLAS, VERTEX})]


def read_hemisphere(path: Path) -> NDArray[np.float32]:
    """Frames of one hemisphere of fsaverage5, (T, 10242), of an .mgz file.

    Raises
    ------
    DataError
        If the file is damaged or of another mesh.
    """
    nibabel = need_nibabel()
    try:
        img = nibabel.load(path)
        values = np.asarray(img.dataobj, np.float32)
    except Exception as e:
        # nibabel lets zlib's, numpy's and its own errors through.
        raise DataError(f"{path}: no .mgz file ({e}); fetch it again") from e
    half = VERTICES[SURFACE] // 2
    if values.ndim != 4 or values.shape[:3] != (half, 1, 1):
        raise DataError(
            f"{path}: has shape {values.shape}, expected ({half}, 1, 1, frames) of {SURFACE}; "
            "fetch it again"
        )
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds values that are not finite; fetch it again")
    return values.reshape(half, -1).T


def read_confounds(path: Path, n_frames: int) -> NDArray[np.float64]:
    """Nuisance columns, (T, K).

    Raises
    ------
    DataError
        If they are not of these frames, or not numbers.
    """
    try:
        table_TK = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: no table of numbers ({e}); fetch it again") from e
    if len(table_TK) != n_frames or not np.isfinite(table_TK).all():
        raise DataError(
            f"{path}: has {len(table_TK)} rows for {n_frames} frames, or values that are not "
            "finite; take the table of this run"
        )
    return table_TK


def without(frames: NDArray[np.floating], confounds_TK: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of frames (T, C) when the columns and a constant are regressed out of them."""
    design = np.concatenate([np.ones((len(confounds_TK), 1)), confounds_TK], 1)
    # Columns differ in size by five powers of ten, and one of them is the constant itself.
    size = np.linalg.norm(design, axis=0)
    base, values, _ = np.linalg.svd(design / np.where(size > 0, size, 1), full_matrices=False)
    base = base[:, values > 1e-8 * values[0]]
    out: NDArray[np.float64] = frames - base @ (base.T @ np.asarray(frames, np.float64))
    return out


def vertex_channels(mesh: Atlas, index: NDArray[np.intp]) -> Channels:
    """Vertices as channels, called by hemisphere and number."""
    assert mesh.vertex_m is not None
    half = len(mesh.vertex_m) // 2
    names = tuple(f"{'L' if v < half else 'R'}{v % half:05d}" for v in index)
    n = len(index)
    kinds, ori = np.full(n, Kind.BOLD), np.zeros((n, 3))
    return Channels(names, kinds, mesh.vertex_m[index], ori, ("au",) * n, "mni", "none")


DATASET = LemonRun()
