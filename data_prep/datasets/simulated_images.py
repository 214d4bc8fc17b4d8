"""Simulated viewers: fMRI of a few heads that see images, test images never shown in training."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from brainfm.data.anatomy import Head, HeadConfig
from brainfm.data.simulated_images import DATASET as NAME
from brainfm.data.simulated_images import Viewing, image_table, view
from brainfm.errors import DataError
from brainfm.signals.bold import prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Progress

TEST, VAL, REPEATS = 50, 25, 3
"""Images that everybody sees in the test run, so often, and in the val run, once."""
VERSION = 2
"""Raised when the simulator gives other samples for the same options."""


class SimulatedImages(DataSet):
    """Four runs a head: two of images of its own, one for validation, one for the test.

    Parameters
    ----------
    subjects : heads
    images : that a head sees in each training run
    seed : of the cohort and its images
    """

    name = NAME
    facts = Facts(
        title="SIMULATED viewers of images: fMRI of 6 heads, 1,800 training images, 50 test images",
        licence="made by brainfm; cortex: fsaverage, as nilearn ships it",
        citation="Glover, NeuroImage 9, 1999; fsaverage: Fischl et al., Hum Brain Mapp 8, 1999",
        origin="https://nilearn.github.io (the cortex; the rest is made)",
        kinds=("BOLD",),
        splits="by image, fixed: test and validation images are shown in no training run; the "
        "heads are the same",
        nominal=(
            "simulated: parcels answer to random vectors; no image was ever drawn, and numbers on "
            "it are no evidence on brains",
        ),
        line_freq=None,
    )

    def __init__(self, subjects: int = 6, images: int = 150, seed: int = 5) -> None:
        if subjects < 1 or images < 2:
            raise DataError(
                f"{NAME}: {subjects} subjects and {images} images a run; ask for 1 and 2 or more"
            )
        self.subjects, self.images, self.seed = subjects, images, seed

    def fetch(self, root: Path, say: Progress) -> None:
        if find_spec("nilearn") is None or find_spec("nibabel") is None:
            raise DataError(
                f"{NAME}: the cortex comes with nilearn, which is not installed: "
                "pip install 'brainfm-decoding[fmri]'"
            )
        path = self.table(root)
        if not path.exists():
            n = TEST + VAL + 2 * self.images * self.subjects
            image_table(n, seed=self.seed).write(path)
            say(f"vectors of {n} images: {path}")

    def table(self, root: Path) -> Path:
        """The file of the images' vectors."""
        return Path(root, "sources", self.name, "images.safetensors")

    def jobs(self, root: Path) -> list[Job]:
        if not self.table(root).exists():
            return []
        options = {"images": self.images, "seed": self.seed, "version": VERSION}
        return [
            Job(
                self.name,
                f"sub-sim{100 * self.seed + head:03d}_{run}",
                (str(self.table(root)),),
                {**options, "head": head, "run": run},
            )
            for head in range(1, self.subjects + 1)
            for run in ("train1", "train2", "val", "test")
        ]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o = job.options
        run, many, head = o["run"], o["images"], o["head"]
        rng = np.random.default_rng([o["seed"], head, len(run)])
        if run == "test":
            order = np.concatenate([rng.permutation(TEST) for _ in range(REPEATS)])
        elif run == "val":
            order = TEST + rng.permutation(VAL)
        else:
            first = TEST + VAL + many * (2 * (head - 1) + int(run[-1]) - 1)
            order = first + np.arange(many)
        table = image_table(int(order.max()) + 1, seed=o["seed"])
        viewer = Head(100 * o["seed"] + head, HeadConfig())
        made = view(viewer, table, order.tolist(), run, Viewing())
        made.split = run.rstrip("12")
        # Of one person, runs of other images: what must stay apart is the image.
        made.split_group = f"{NAME}/{made.subject}/{made.split}"
        made.name = job.name
        return prepare_bold(made, recipe)


IMAGES = SimulatedImages()
