"""Algonauts 2023: responses of 8 people to natural scenes, vertices of visual cortex.

Layout (the challenge's development kit): `<data root>/algonauts2023/subj01` to `subj08`, each with
`training_split/training_fmri/{lh,rh}_training_fmri.npy` (images, vertices),
`training_split/training_images/train-0001_nsd-00013.png` (row, counted from 1, and image, counted
from 0), `roi_masks/{lh,rh}.all-vertices_fsaverage_space.npy` (163,842 marks), and the same under
`test_split` where its responses are there, which the challenge kept back.
With FreeSurfer's `fsaverage/surf/{lh,rh}.pial` beside the subjects, vertices have places.

Shapes: N images, C vertices.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.atlases.atlas import MILLIMETRE
from data_prep.atlases.surfaces import in_mni152
from data_prep.atlases.volumes import need_nibabel
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.trial_responses import read_array, response_recording, voxel_channels

IMAGE = re.compile(r"(?:train|test)-(?P<row>\d{4,})_nsd-(?P<image>\d{5})\.png")
PARTS = {"train": ("training_split", "training"), "test": ("test_split", "test")}
EVERY_S = 4.0
"""Seconds from trial to trial in NSD; these rows are means over up to three trials."""
HALF = 163_842
"""Vertices of one hemisphere of fsaverage."""


class Algonauts2023(DataSet):
    """One recording a person and part, one frame an image."""

    name = "algonauts2023"
    facts = Facts(
        title="Algonauts 2023: 8 people of NSD, up to 9,841 scenes each, ~39,500 visual vertices",
        licence="NSD's terms of use (sign them at naturalscenesdataset.org)",
        citation="Gifford et al., arXiv 2301.03198; Allen et al., Nat Neurosci 25, 2022",
        origin="https://algonautsproject.com/2023/challenge.html",
        kinds=("BOLD",),
        splits="the challenge's, by image and within people: its training images train, its test "
        "images (also of NSD) test",
        nominal=(
            "a frame is the mean response to an image, no time series: 4 s a frame is the spacing "
            "of NSD's trials, and only the order of rows",
            "standardised by the challenge's makers within scan sessions",
            "the people are NSD's: do not pretrain on nsd's runs of a person and call them new",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; ask for it at {self.facts.origin} "
                f"({self.facts.licence}) and put subj01 to subj08 under {root / self.name}"
            )

    def jobs(self, root: Path) -> list[Job]:
        home = root / self.name
        jobs = []
        for person in sorted(home.glob("subj0[1-8]")):
            for split, (folder, word) in PARTS.items():
                fmri = person / folder / f"{word}_fmri"
                files = [fmri / f"{h}_{word}_fmri.npy" for h in ("lh", "rh")]
                if not all(f.is_file() for f in files):
                    continue
                marks = [
                    person / "roi_masks" / f"{h}.all-vertices_fsaverage_space.npy"
                    for h in ("lh", "rh")
                ]
                options = {
                    "split": split,
                    "subject": person.name,
                    "images": str(person / folder / f"{word}_images"),
                    "marks": [str(m) for m in marks],
                    "surface": str(home / "fsaverage" / "surf"),
                }
                name = f"{person.name}_{split}"
                jobs.append(Job(self.name, name, tuple(str(f) for f in files), options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o = job.options
        sides = [read_array(Path(f)) for f in job.files]
        if any(x.ndim != 2 for x in sides) or len(sides[0]) != len(sides[1]):
            raise DataError(
                f"{job.files[0]}: left and right have shapes {sides[0].shape} and "
                f"{sides[1].shape}; both must be (images, vertices) of the same images"
            )
        vertices = [read_marks(Path(m), x.shape[1]) for m, x in zip(o["marks"], sides, strict=True)]
        notes = list(self.facts.nominal)
        pos_m = places(Path(o["surface"]), vertices)
        if pos_m is None:
            notes.append(
                "places unknown: FreeSurfer's fsaverage/surf/lh.pial and rh.pial are not beside "
                "the people"
            )
        names = [f"{s}{v:06d}" for s, part in zip("LR", vertices, strict=True) for v in part]
        return response_recording(
            np.concatenate(sides, 1),
            read_image_names(Path(o["images"]), len(sides[0])),
            voxel_channels(names, pos_m),
            EVERY_S,
            recipe,
            source=Path(job.files[0]),
            dataset=self.name,
            subject=o["subject"],
            name=job.name,
            split=o["split"],
            # Within people: the images are what the two parts do not share.
            split_group=f"{self.name}/{o['subject']}/{o['split']}",
            notes=notes,
        )


def read_marks(path: Path, count: int) -> NDArray[np.intp]:
    """Which vertices of fsaverage's hemisphere the columns are, (C,).

    Raises
    ------
    DataError
        If there are not as many as columns.
    """
    marks = np.asarray(read_array(path)).reshape(-1)
    index = np.flatnonzero(marks > 0)
    if len(marks) != HALF or len(index) != count:
        raise DataError(
            f"{path}: marks {len(index)} of {len(marks)} vertices, the responses have {count}, "
            f"fsaverage {HALF}; take the mask of this person"
        )
    return index


def read_image_names(folder: Path, count: int) -> list[str]:
    """Images in the order of rows, as `nsd00013`, (N,).

    Raises
    ------
    DataError
        If the folder lacks images of some rows.
    """
    of: dict[int, str] = {}
    for path in folder.glob("*.png") if folder.is_dir() else ():
        match = IMAGE.fullmatch(path.name)
        if match:
            of[int(match["row"])] = f"nsd{match['image']}"
    missing = [k for k in range(1, count + 1) if k not in of]
    if missing or len(of) != count:
        raise DataError(
            f"{folder}: has {len(of)} images named like train-0001_nsd-00013.png for {count} "
            f"responses{f', not number {missing[0]}' if missing else ''}; unpack all images"
        )
    return [of[k] for k in range(1, count + 1)]


def places(surface: Path, vertices: list[NDArray[np.intp]]) -> NDArray[np.float64] | None:
    """MNI152 metres of fsaverage's pial vertices, (C, 3); None where the surfaces are not there.

    Raises
    ------
    DataError
        If they are of another mesh.
    """
    paths = [surface / f"{h}.pial" for h in ("lh", "rh")]
    if not all(p.is_file() for p in paths):
        return None
    need_nibabel()
    from nibabel.freesurfer import read_geometry

    parts = []
    for path, index in zip(paths, vertices, strict=True):
        try:
            coords, _ = read_geometry(path)
        except (OSError, ValueError, IndexError) as e:
            raise DataError(f"{path}: no FreeSurfer surface ({e}); copy it again") from e
        if len(coords) != HALF:
            raise DataError(f"{path}: has {len(coords)} vertices, fsaverage {HALF}; take fsaverage")
        parts.append(np.asarray(coords, np.float64)[index] * MILLIMETRE)
    return in_mni152(np.concatenate(parts))


DATASET = Algonauts2023()
