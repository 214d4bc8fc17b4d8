"""The Natural Scenes Dataset (NSD), 8 people at 7 T: its runs, and its responses to single images.

Layout (NSD's data manual), the bucket's folders under `<data root>/nsd`, 1.8 mm preparation:
`nsddata_timeseries/ppdata/subj01/func1pt8mm/timeseries/timeseries_session01_run01.nii.gz`,
`.../design/design_session01_run01.tsv` (one number a frame: 0, or the image that appears, from 1),
`nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session01.{hdf5,nii.gz}`,
`nsddata/ppdata/subj01/{behav/responses.tsv,func1pt8mm/roi/nsdgeneral.nii.gz,
transforms/MNI-to-func1pt8.nii.gz}`, `nsddata/experiments/nsd/nsd_expdesign.mat`.

Shapes: T frames, N trials, C voxels, P parcels.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.bold import prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.atlases import atlas_files, fetch_atlas, load_atlas, parcel_means
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.nsd_files import (
    TRIALS,
    read_betas,
    read_design,
    read_mask,
    read_mni,
    read_shared,
    read_trials,
)
from data_prep.trial_responses import read_image, response_recording, voxel_channels, voxels

TR_S = 4 / 3
"""Seconds: the 1.8 mm preparation is brought to 1.333 s, three frames to a trial of 4 s."""
TRIAL_S = 4.0
SPACE = "func1pt8mm"
BETAS = "betas_fithrf_GLMdenoise_RR"
HELD_OUT = {"subj06": "val", "subj08": "test"}
"""Ours; people who came to all 40 sessions (1, 2, 5, 7) train."""
RUN = re.compile(r"timeseries_(?P<run>session(?P<session>\d{2})_run\d{2})\.nii\.gz")
SESSION = re.compile(r"betas_session(?P<session>\d{2})\.(hdf5|nii\.gz)")
TERMS = "NSD's terms of use (sign them at naturalscenesdataset.org)"
CITATION = "Allen et al., Nat Neurosci 25, 2022"
ORIGIN = "https://naturalscenesdataset.org"
MNI_NOTE = (
    "places are those of MNI-to-func1pt8.nii.gz less (90, 126, 72) mm, an offset that others found "
    "by trial, to about 1 mm"
)


class NsdRuns(DataSet):
    """One recording a run, parcellated.

    Parameters
    ----------
    atlas : name of an atlas in MNI volume space
    """

    name = "nsd"
    facts = Facts(
        title="NSD runs: 8 people, up to 40 sessions of 12 to 14 runs of 5 minutes, 7 T, parcels",
        licence=TERMS,
        citation=CITATION,
        origin=ORIGIN,
        kinds=("BOLD",),
        splits="by person: subj06 val, subj08 test, all others train (ours; NSD publishes none)",
        nominal=(
            "TR 1.333 s is that of the 1.8 mm preparation, slice times corrected; frame 0 is at "
            "0 s, when the first volume began",
            MNI_NOTE,
            "images are shown for 3 s (recalled); events are `image:nsd00013`, counted from 0",
            "the thousand shared images are in these runs: pretraining sees responses that nsd_"
            "betas tests on, without their labels",
        ),
    )

    def __init__(self, atlas: str = "hcpex") -> None:
        self.atlas = atlas

    def fetch(self, root: Path, say: Progress) -> None:
        if not _runs(root / self.name):
            raise DataError(_absent(self.name, "nsddata_timeseries, nsddata", root / self.name))
        fetch_atlas(self.atlas, root, say)

    def jobs(self, root: Path) -> list[Job]:
        home = root / self.name
        atlas = atlas_files(self.atlas, root)
        jobs = []
        for path, session, run in _runs(home) if atlas else ():
            person = path.parts[-4]
            transform = home / "nsddata/ppdata" / person / "transforms/MNI-to-func1pt8.nii.gz"
            design = path.parents[1] / "design" / f"design_{run}.tsv"
            files = [str(path), str(transform), *(atlas or ())]
            files += [str(design)] if design.is_file() else []
            options = {"root": str(root), "atlas": self.atlas, "subject": person}
            options |= {"session": session, "design": str(design) if design.is_file() else ""}
            jobs.append(Job(self.name, f"{person}_{run}", tuple(files), options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o, path = job.options, Path(job.files[0])
        atlas = load_atlas(o["atlas"], Path(o["root"]))
        mni_m = read_mni(Path(job.files[1]))
        labels = atlas.at(mni_m.reshape(-1, 3)).reshape(mni_m.shape[:3])
        take = labels > 0
        if not take.any():
            raise DataError(
                f"{job.files[1]}: no voxel lies in a parcel of {atlas.name}; atlas and image are "
                "in different spaces"
            )
        img = read_image(path, 4)
        tr_s = float(img.header.get_zooms()[3])
        if tr_s not in (0.0, 1.0) and abs(tr_s - TR_S) > 0.01:
            raise DataError(
                f"{path}: its header says {tr_s:g} s a frame, the {SPACE} preparation has "
                f"{TR_S:.3f} s; it is of another preparation"
            )
        frames_TP, index = parcel_means(voxels(img, path, take), labels[take], atlas.ids)
        notes = [*self.facts.nominal, *atlas.notes]
        events = []
        if o["design"]:
            events = read_design(Path(o["design"]), len(frames_TP), TR_S)
        else:
            notes.append("no design file: at rest, or none was downloaded")
        return prepare_bold(
            Recording(
                signal=frames_TP.astype(np.float32),
                sfreq=1 / TR_S,
                channels=atlas.channels(index),
                dataset=self.name,
                subject=o["subject"],
                session=o["session"],
                name=job.name,
                events=events,
                source=str(path),
                split=HELD_OUT.get(o["subject"], "train"),
                split_group=f"nsd/{o['subject']}",
                notes=notes,
            ),
            recipe,
        )


class NsdBetas(DataSet):
    """One recording a session and part, one frame a trial, voxels of `nsdgeneral`."""

    name = "nsd_betas"
    facts = Facts(
        title="NSD responses to single images: 8 people, 750 trials a session, visual voxels",
        licence=TERMS,
        citation=CITATION,
        origin=ORIGIN,
        kinds=("BOLD",),
        splits="by image, within people, as decoders of NSD do: the 1,000 images that all people "
        "share test, all others train",
        nominal=(
            "a frame is the fitted response to a trial in percent signal change, no time series: "
            "4 s a frame is the spacing of trials",
            "responses are as released; z-scores are for evaluation to fit, on training trials",
            MNI_NOTE,
        ),
    )

    def home(self, root: Path) -> Path:
        """NSD's folders are shared with its runs."""
        return root / NsdRuns.name

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(_absent(self.name, "nsddata_betas, nsddata", self.home(root)))

    def jobs(self, root: Path) -> list[Job]:
        home = self.home(root)
        design = home / "nsddata/experiments/nsd/nsd_expdesign.mat"
        jobs = []
        betas = home.glob(f"nsddata_betas/ppdata/subj0[1-8]/{SPACE}/{BETAS}/betas_session*")
        found: dict[tuple[str, str], Path] = {}
        for path in sorted(betas):
            match = SESSION.fullmatch(path.name)
            if match:
                # Both formats hold the same numbers; hdf5 sorts first.
                found.setdefault((path.parts[-4], match["session"]), path)
        for (person, session), path in found.items():
            own = home / "nsddata/ppdata" / person
            transform = own / "transforms/MNI-to-func1pt8.nii.gz"
            files = [path, own / SPACE / "roi/nsdgeneral.nii.gz", own / "behav/responses.tsv"]
            files += [design, *([transform] if transform.is_file() else [])]
            for split in ("train", "test"):
                options = {"subject": person, "session": session, "split": split}
                name = f"{person}_session{session}_{split}"
                jobs.append(Job(self.name, name, tuple(str(f) for f in files), options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o = job.options
        path, mask, behaviour, design, *transform = (Path(f) for f in job.files)
        take = read_mask(mask)
        images = read_trials(behaviour, int(o["session"]))
        shared = np.isin(images, read_shared(design))
        rows = np.flatnonzero(shared if o["split"] == "test" else ~shared)
        notes, pos_m = list(self.facts.nominal), None
        if transform:
            pos_m = read_mni(transform[0])[take]
        else:
            notes[-1] = "places unknown: transforms/MNI-to-func1pt8.nii.gz is not there"
        names = [f"v{i:03d}_{j:03d}_{k:03d}" for i, j, k in np.argwhere(take)]
        return response_recording(
            read_betas(path, take)[rows],
            [f"nsd{images[r] - 1:05d}" for r in rows],
            voxel_channels(names, pos_m),
            TRIAL_S,
            recipe,
            source=path,
            dataset=self.name,
            subject=o["subject"],
            session=o["session"],
            name=job.name,
            split=o["split"],
            # Within people: the images are what the two parts do not share.
            split_group=f"{self.name}/{o['subject']}/{o['split']}",
            notes=[*notes, f"{len(rows)} of {TRIALS} trials: the {o['split']} images"],
        )


def _runs(home: Path) -> list[tuple[Path, str, str]]:
    """Path, session and "session01_run01" of each run that is there."""
    found = []
    for path in sorted(
        home.glob(f"nsddata_timeseries/ppdata/subj0[1-8]/{SPACE}/timeseries/timeseries_session*")
    ):
        match = RUN.fullmatch(path.name)
        if match:
            found.append((path, match["session"], match["run"]))
    return found


def _absent(name: str, folders: str, home: Path) -> str:
    return (
        f"{name}: brainfm does not download it; ask for it at {ORIGIN} ({TERMS}) and put the "
        f"folders {folders} under {home}"
    )


RUNS = NsdRuns()
RESPONSES = NsdBetas()
