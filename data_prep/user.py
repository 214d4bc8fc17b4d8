"""Any user's file, folder or BIDS root as a data set, without writing a module for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from brainfm.errors import DataError
from brainfm.signals.files.raw import SUFFIXES, family_of
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Recording
from data_prep.continuous import load_continuous
from data_prep.dataset import Job
from data_prep.readers.arrays import ARRAY_SUFFIXES, load_array
from data_prep.readers.bids import bids_identity, is_bids_root, load_bids

NIFTI = (".nii", ".nii.gz")
MAX_FILES = 1_000_000


@dataclass(frozen=True)
class UserOptions:
    """What a user says about files whose headers do not.

    Attributes
    ----------
    line_freq : Hz
    unit : of EDF signals and arrays that state none
    montage : for scalp channels without positions; "none" leaves them unknown
    duplicates : "raise" or "first"
    subject : regular expression whose first group, found in the path below the root, names the
        subject; default "sub-X", else the first folder, else the file's own name
    tr_s, atlas, mask, drop, denoise : of fMRI: seconds from frame to frame where no sidecar says
        it, name of an atlas (`data_prep.atlases`), an image of the brain's voxels, first frames to
        leave out, and a strategy of fMRIPrep's confounds
    """

    line_freq: float | None = None
    unit: str | None = None
    montage: str = "standard_1005"
    duplicates: str = "raise"
    subject: str | None = None
    tr_s: float | None = None
    atlas: str | None = None
    mask: str | None = None
    drop: int = 0
    denoise: str | None = None


def user_jobs(source: Path, options: UserOptions, dataset: str | None = None) -> list[Job]:
    """One job for each recording at or below `source`.

    Raises
    ------
    DataError
        If nothing readable lies there.
    """
    source = source.expanduser()
    if not source.exists():
        raise DataError(f"{source}: missing; check --source")
    root = source if source.is_dir() and not source.name.endswith(".ds") else source.parent
    name = dataset or re.sub(r"[^A-Za-z0-9_-]+", "_", root.resolve().name) or "user"
    bids = is_bids_root(root)
    files = [source] if root != source else _recordings_below(source)
    if not files:
        raise DataError(
            f"{source}: holds no recording; known extensions: "
            f"{', '.join((*SUFFIXES, *ARRAY_SUFFIXES))}, and *_bold{', *_bold'.join(NIFTI)}"
        )
    base = {
        "source_root": str(root),
        "bids": bids,
        "line_freq": options.line_freq,
        "unit": options.unit,
        "montage": options.montage,
        "duplicates": options.duplicates,
        "subject": options.subject,
    }
    fmri = {k: getattr(options, k) for k in ("tr_s", "atlas", "mask", "drop", "denoise")}
    return [
        Job(
            name,
            path.relative_to(root).as_posix(),
            _with_companions(path),
            {**base, "fmri": fmri} if path.name.lower().endswith(NIFTI) else base,
        )
        for path in files
    ]


def load_user_job(job: Job, recipe: Recipe) -> Recording:
    """Read the recording of a job that `user_jobs` made."""
    o, path = job.options, Path(job.files[0])
    root = Path(o["source_root"])
    montage = None if o["montage"] in (None, "none") else o["montage"]
    relative = path.relative_to(root).as_posix()
    if path.name.lower().endswith(NIFTI):
        return load_image(path, job, recipe)
    common = {"dataset": job.dataset, "name": job.name, "line_freq": o["line_freq"]}
    if o["bids"] and bids_identity(path) is not None:
        return load_bids(path, root, recipe, montage=montage, duplicates=o["duplicates"], **common)
    subject = subject_of(relative, o["subject"])
    common |= {"montage": montage, "subject": subject}
    if path.name.lower().endswith(ARRAY_SUFFIXES):
        recording = load_array(path, recipe, unit=o["unit"], **common)
    else:
        recording = load_continuous(
            path, recipe, unit=o["unit"], duplicates=o["duplicates"], **common
        )
    if not o["subject"] and "/" not in relative and "sub-" not in relative:
        recording.notes.append(
            "nobody says who was recorded: the file is taken for a person of its own, and splits "
            "keep files apart, not people; name people by --subject"
        )
    return recording


def load_image(path: Path, job: Job, recipe: Recipe) -> Recording:
    """A run of fMRI that a user names: voxels, or parcels of an atlas."""
    from brainfm.signals.bold import prepare_bold
    from data_prep.readers.fmriprep import cleaned, is_preprocessed
    from data_prep.readers.nifti import read_nifti

    o = job.options["fmri"]
    relative = path.relative_to(job.options["source_root"]).as_posix()
    atlas = None
    if o["atlas"]:
        from data_prep.atlases import load_atlas

        atlas = load_atlas(o["atlas"])
    recording = read_nifti(
        path,
        dataset=job.dataset,
        subject=subject_of(relative, job.options["subject"]),
        name=job.name,
        tr_s=o["tr_s"],
        atlas=atlas,
        mask=o["mask"],
        frame="mni" if atlas is not None or "space-MNI" in path.name else "unknown",
        drop=o["drop"],
        events=read_events(path),
        slices_corrected=is_preprocessed(path),
    )
    if o["denoise"]:
        recording = cleaned(recording, path, o["denoise"], o["drop"])
    return prepare_bold(recording, recipe)


def read_events(path: Path) -> list[Event]:
    """Events of the BIDS table beside an image; none where there is no table.

    Raises
    ------
    DataError
        If it lacks onset or duration, or they are no numbers.
    """
    beside = _table(path, "events.tsv")
    if not beside.exists():
        return []
    table = pd.read_csv(beside, sep="\t")
    try:
        names = table["trial_type"] if "trial_type" in table else ["event"] * len(table)
        times = (table[k].astype(float) for k in ("onset", "duration"))
        rows = zip(*times, names, strict=True)
        return [Event(a, max(b, 0.0), str(c)) for a, b, c in rows if a == a and b == b]
    except (KeyError, ValueError) as e:
        raise DataError(f"{beside}: needs numbers in onset and duration ({e}); mend it") from e


def _table(image: Path, ending: str) -> Path:
    """The BIDS table of an image's run, whatever was done to the image."""
    run = re.sub(r"(_space-[^_]+)?(_res-[^_]+)?(_desc-[^_]+)?_bold\.nii(\.gz)?$", "", image.name)
    return image.with_name(f"{run}_{ending}")


def subject_of(relative: str, pattern: str | None = None) -> str:
    """Who was recorded, by the path below the root.

    Raises
    ------
    DataError
        If a pattern was given and the path does not have it.
    """
    if pattern:
        match = re.search(pattern, relative)
        if match is None or not match.groups():
            raise DataError(
                f"{relative}: --subject {pattern!r} does not match it with a group; correct the "
                "pattern"
            )
        return match[1]
    match = re.search(r"sub-([A-Za-z0-9]+)", relative)
    if match:
        return match[1]
    parts = relative.split("/")
    # A file of its own is a subject of its own: never on two sides, and never joined by accident.
    return parts[0] if len(parts) > 1 else parts[0].split(".")[0]


def _recordings_below(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if any(p.startswith(".") or p == "derivatives" for p in inside):
            continue
        if any(p.endswith(".ds") for p in inside[:-1]):
            continue
        family = family_of(path)
        if path.name.lower().endswith(NIFTI):
            if "_bold." in path.name:
                found.append(path)
            continue
        is_array = path.name.lower().endswith(ARRAY_SUFFIXES)
        if path.is_dir() and not (family and family.name == "CTF"):
            continue
        if family is None and not is_array:
            continue
        # Continuations of a split FIF are read with their first part.
        if re.search(r"(-[1-9]\d*|_split-(0[2-9]|[1-9]\d))(_(meg|raw))?\.fif$", path.name):
            continue
        found.append(path)
        if len(found) > MAX_FILES:
            raise DataError(f"{folder}: more than {MAX_FILES} recordings; give a narrower --source")
    return found


def _with_companions(path: Path) -> tuple[str, ...]:
    """The file and those that hold its samples, so that a change of either is seen."""
    beside = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",)}.get(path.suffix.lower(), ())
    others = [path.with_suffix(s) for s in beside]
    if path.name.lower().endswith(NIFTI):
        stem = path.name.split(".nii")[0]
        others = [path.with_name(f"{stem}.json"), _table(path, "events.tsv")]
    return (str(path), *(str(p) for p in others if p.is_file()))
