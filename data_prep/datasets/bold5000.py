"""BOLD5000, release 2: responses of four people to 5,000 scenes, voxels of visual regions.

Layout: `<data root>/bold5000` with, at any depth, the release's regions
`CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_LHEarlyVis.npy` (trials, voxels; both hemispheres
of EarlyVis, LOC, OPA, PPA and RSC), the order of trials `CSI1_imgnames.txt`, and
`repeated_stimuli_113_list.txt` of the stimuli's archive. Numbers of trials and seconds are those of
the release's page; file names of regions and lists are those that published readers open.

Shapes: N trials, C voxels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.trial_responses import (
    read_array,
    read_lines,
    response_recording,
    voxel_channels,
)

PEOPLE = ("CSI1", "CSI2", "CSI3", "CSI4")
REGIONS = tuple(f"{h}{r}" for r in ("EarlyVis", "LOC", "OPA", "PPA", "RSC") for h in ("LH", "RH"))
KIND = "GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses"
"""The version its makers recommend: fitted response, denoised, ridge regression."""
REPEATED = "repeated_stimuli_113_list.txt"
EVERY_S = 10.0
"""Seconds from image to image: 1 s shown, 9 s of a cross."""


class Bold5000(DataSet):
    """One recording a person and part, one frame a trial."""

    name = "bold5000"
    facts = Facts(
        title="BOLD5000 release 2: 4 people, 5,254 (3,108) trials, ten visual regions",
        licence="CC0 (recalled; read the page)",
        citation="Chang et al., Scientific Data 6:49, 2019",
        origin="https://bold5000.github.io/download.html",
        kinds=("BOLD",),
        splits="by image, within people, as decoders of it do: the 113 repeated images test, all "
        "others train",
        nominal=(
            "a frame is the fitted response to a trial in percent signal change, no time series: "
            "10 s a frame is the spacing of trials",
            "responses are as released; the makers recommend z-scores within each session, which "
            "evaluation fits on training trials",
            "places of voxels are not in the files of regions",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get the regions' betas (.npy), "
                f"CSI1_imgnames.txt and {REPEATED} from {self.facts.origin} and put them under "
                f"{root / self.name}"
            )

    def jobs(self, root: Path) -> list[Job]:
        home = root / self.name
        repeated = _one(home, REPEATED)
        jobs = []
        for person in PEOPLE:
            regions = [_one(home, f"{person}_{KIND}_{r}.npy") for r in REGIONS]
            found = {r: str(p) for r, p in zip(REGIONS, regions, strict=True) if p}
            names = _one(home, f"{person}_imgnames.txt")
            if not found or names is None or repeated is None:
                continue
            for split in ("train", "test"):
                options = {"regions": list(found), "subject": person, "split": split}
                files = (*found.values(), str(names), str(repeated))
                jobs.append(Job(self.name, f"{person}_{split}", files, options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o = job.options
        *regions, listed, repeated = (Path(f) for f in job.files)
        parts = [read_array(p) for p in regions]
        images = [image_name(x) for x in read_lines(listed)]
        for path, part in zip(regions, parts, strict=True):
            if part.ndim != 2 or len(part) != len(images):
                raise DataError(
                    f"{path}: has shape {part.shape}, {listed.name} lists {len(images)} trials; "
                    "both must be of one release"
                )
        held_out = {image_name(x) for x in read_lines(repeated)}
        test = np.array([x in held_out for x in images])
        if not test.any() or test.all():
            raise DataError(
                f"{listed}: {int(test.sum())} of {len(test)} trials show one of the images of "
                f"{repeated.name}; the two lists spell names differently"
            )
        take = test if o["split"] == "test" else ~test
        columns = zip(o["regions"], parts, strict=True)
        names = [f"{r}_{k:05d}" for r, part in columns for k in range(part.shape[1])]
        notes = list(self.facts.nominal)
        missing = [r for r in REGIONS if r not in o["regions"]]
        if missing:
            notes.append(f"regions that are not there: {', '.join(missing)}")
        return response_recording(
            np.concatenate([part[take] for part in parts], 1),
            [x for x, t in zip(images, take, strict=True) if t],
            voxel_channels(names, None),
            EVERY_S,
            recipe,
            source=regions[0],
            dataset=self.name,
            subject=o["subject"],
            name=job.name,
            split=o["split"],
            # Within people: the images are what the two parts do not share.
            split_group=f"{self.name}/{o['subject']}/{o['split']}",
            notes=notes,
        )


def image_name(listed: str) -> str:
    """One spelling: lists may mark repeats by `rep_` (recalled) and COCO's files by its release."""
    name = Path(listed).name
    return name.removeprefix("rep_").replace("COCO_train2014_", "")


def _one(home: Path, name: str) -> Path | None:
    found = sorted(home.rglob(name)) if home.is_dir() else []
    return found[0] if found else None


DATASET = Bold5000()
