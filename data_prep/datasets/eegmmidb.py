"""EEG Motor Movement/Imagery (PhysioNet): 109 people, 64 electrodes, fists and feet."""

from __future__ import annotations

import re
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.continuous import load_continuous
from data_prep.dataset import DataSet, Facts, Job, Progress

MNE_LAYOUT = Path("MNE-eegbci-data", "files", "eegmmidb", "1.0.0")
"""Where `mne.datasets.eegbci` puts the files."""

PLAIN_LAYOUT = Path("eegmmidb")
"""Where a person would put them: `eegmmidb/S001/S001R03.edf`."""

FISTS = (3, 4, 7, 8, 11, 12)
"""Runs in which T1 is the left and T2 the right fist (3, 7, 11 executed, the others imagined)."""

BOTH = (5, 6, 9, 10, 13, 14)
"""Runs in which T1 is both fists and T2 both feet (5, 9, 13 executed, the others imagined)."""

RUNS = tuple(range(1, 15))


def labels_of_run(run: int) -> dict[str, str]:
    """What T0, T1 and T2 mean in a run."""
    rest = {1: "rest_eyes_open", 2: "rest_eyes_closed"}.get(run, "rest")
    if run in FISTS:
        return {"T0": rest, "T1": "left_fist", "T2": "right_fist"}
    if run in BOTH:
        return {"T0": rest, "T1": "both_fists", "T2": "both_feet"}
    return {"T0": rest}


class MotorMovementImagery(DataSet):
    """One recording a run; subjects keep to one side of the split."""

    name = "eegmmidb"
    subjects: tuple[int, ...] = (1,)
    """Those that `fetch` brings (each 35 MB); whatever lies under the data root is prepared."""
    facts = Facts(
        title="EEG Motor Movement/Imagery: 109 subjects, 64 channels, 14 runs of 1 to 2 minutes",
        licence="ODC-BY 1.0",
        citation="Schalk et al., IEEE TBME 51(6) 2004; Goldberger et al., Circulation 101(23) 2000",
        origin="https://physionet.org/content/eegmmidb/1.0.0/",
        kinds=("EEG",),
        splits="by subject, by a hash",
        nominal=("S088, S092, S100 and S104 have other rates or timings; left as they are",),
        line_freq=60.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        have = {p.name for p in self._files(root)}
        wanted = [
            (s, r) for s in self.subjects for r in RUNS if f"S{s:03d}R{r:02d}.edf" not in have
        ]
        if have and {s for s, _ in wanted} <= {int(n[1:4]) for n in have}:
            # A pre-filled root is taken as it is, whichever runs it holds.
            return
        from mne.datasets import eegbci

        say(f"downloading {len(wanted)} runs of eegmmidb from PhysioNet")
        try:
            for subject, run in wanted:
                eegbci.load_data(subject, run, path=root, update_path=False, verbose="ERROR")
        except Exception as e:
            # pooch and requests raise a dozen kinds; all mean that the file did not come.
            raise DataError(
                f"eegmmidb: PhysioNet cannot be reached ({type(e).__name__}); connect to the "
                f"internet, or put the files under {root / PLAIN_LAYOUT}/S001/S001R03.edf"
            ) from e

    def jobs(self, root: Path) -> list[Job]:
        return [Job(self.name, p.stem, (str(p),)) for p in self._files(root)]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        match = re.fullmatch(r"(S\d{3})R(\d{2})", job.name)
        if match is None:
            raise DataError(f"{job.files[0]}: not named like S001R03.edf; rename it")
        subject, run = match[1], int(match[2])
        return load_continuous(
            job.files[0],
            recipe,
            dataset=self.name,
            subject=subject,
            session=f"R{run:02d}",
            name=job.name,
            line_freq=self.facts.line_freq,
            labels=labels_of_run(run),
        )

    def _files(self, root: Path) -> list[Path]:
        found: dict[str, Path] = {}
        for folder in (root / MNE_LAYOUT, root / PLAIN_LAYOUT):
            for path in sorted(folder.glob("S[0-9][0-9][0-9]/S[0-9][0-9][0-9]R[0-9][0-9].edf")):
                found.setdefault(path.name, path)
        return [found[n] for n in sorted(found)]


DATASET = MotorMovementImagery()
