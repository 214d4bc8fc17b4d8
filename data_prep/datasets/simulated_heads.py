"""Simulated heads: one brain seen at once by EEG, MEG, depth electrodes and fMRI."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from brainfm.data.activity import Experiment
from brainfm.data.anatomy import Head, HeadConfig
from brainfm.data.haemodynamics import Scanner
from brainfm.data.simulated_heads import DATASET as NAME
from brainfm.data.simulated_heads import Devices, prepared, simulate
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Progress

KINDS = ("EEG", "MEG", "SEEG", "BOLD")
LAST = {"val": 1 / 12, "test": 1 / 4}
"""Shares of subjects, the last ones, that are no training subjects; at least one each."""
VERSION = 1
"""Raised when the simulator gives other samples for the same options."""


class SimulatedHeads(DataSet):
    """A few heads, four kinds of recording each, all of one run.

    Parameters
    ----------
    subjects : at least 4
    minutes : of each run
    seed : of the cohort; another one gives other heads
    tr_s : seconds from frame to frame of fMRI
    experiment : what happens: classes of events, sounds, a seizure
    """

    name = NAME
    facts = Facts(
        title="SIMULATED brains in four kinds of recording at once: 24 heads, 4 minutes each",
        licence="made by brainfm; cortex: fsaverage, as nilearn ships it; helmets and coils: MNE "
        "(BSD-3)",
        citation="Zhang, Phys Med Biol 40, 1995; Sarvas, Phys Med Biol 32, 1987; Glover, "
        "NeuroImage 9, 1999; fsaverage: Fischl et al., Hum Brain Mapp 8, 1999",
        origin="https://nilearn.github.io (the cortex; the rest is made)",
        kinds=KINDS,
        splits="by subject, fixed: the last quarter is test, a twelfth before it is val",
        nominal=(
            "simulated: currents on fsaverage's cortex, in spheres; no brain, no scanner; numbers "
            "on it are no evidence on either",
            "simulated: kinds that no laboratory can record at once share a clock",
        ),
        line_freq=50.0,
    )

    def __init__(
        self,
        subjects: int = 24,
        minutes: float = 4.0,
        seed: int = 3,
        tr_s: float = 1.0,
        experiment: Experiment | None = None,
    ) -> None:
        if subjects < 4:
            raise DataError(
                f"{NAME}: {subjects} subjects cannot fill all splits; ask for 4 or more"
            )
        self.subjects, self.minutes, self.seed, self.tr_s = subjects, minutes, seed, tr_s
        self.experiment = experiment or Experiment()

    def fetch(self, root: Path, say: Progress) -> None:
        if find_spec("nilearn") is None or find_spec("nibabel") is None:
            raise DataError(
                f"{NAME}: the cortex comes with nilearn, which is not installed: "
                "pip install 'brainfm-decoding[fmri]'"
            )
        path, text = self.cohort(root), json.dumps(self.draw(), indent=1)
        if not path.exists() or path.read_text() != text:
            say(f"{self.subjects} heads drawn: {path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def cohort(self, root: Path) -> Path:
        """The file that says which heads there are and what happens to each."""
        return Path(root, "sources", self.name, "cohort.json")

    def draw(self) -> list[dict[str, Any]]:
        """What `cohort` holds, one entry a head: the options of its jobs."""
        heads = []
        val, test = (max(1, round(share * self.subjects)) for share in LAST.values())
        for number in range(1, self.subjects + 1):
            left = self.subjects - number
            split = "test" if left < test else "val" if left < test + val else "train"
            options: dict[str, Any] = {"head": 100 * self.seed + number, "split": split}
            options |= {"minutes": self.minutes, "tr_s": self.tr_s, "version": VERSION}
            heads.append({**options, "experiment": asdict(self.experiment)})
        return heads

    def jobs(self, root: Path) -> list[Job]:
        if not self.cohort(root).exists():
            return []
        jobs = []
        for options in json.loads(self.cohort(root).read_text()):
            for kind in KINDS:
                name = f"sub-sim{options['head']:03d}_{kind.lower()}"
                jobs.append(Job(self.name, name, (), {**options, "kind": kind}))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        given = job.options
        (made,) = simulate(
            [Head(given["head"], HeadConfig())],
            60 * given["minutes"],
            [given["kind"]],
            experiment=Experiment(**given["experiment"]),
            devices=Devices(scanner=Scanner(tr_s=given["tr_s"])),
        )
        made.split, made.name = given["split"], job.name
        return prepared(made, recipe)


HEADS = SimulatedHeads()
