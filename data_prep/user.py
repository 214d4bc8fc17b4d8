"""Any user's file, folder or BIDS root as a data set, without writing a module for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.files.raw import SUFFIXES, family_of
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.continuous import load_continuous
from data_prep.dataset import Job
from data_prep.readers.arrays import ARRAY_SUFFIXES, load_array
from data_prep.readers.bids import bids_identity, is_bids_root, load_bids
from data_prep.readers.surface_files import ENDINGS
from data_prep.user_fmri import VOLUMES, companions, is_fmri, is_run, load_image, one_space

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
    space : of fMRI, which of the spaces that a run was written in is read; None: MNI152 first
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
    space: str | None = None


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
    if options.drop < 0:
        raise DataError(f"--drop is {options.drop}; it counts first frames to leave out")
    if options.mask and not Path(options.mask).is_file():
        raise DataError(f"{options.mask}: missing; check --mask")
    root = source if source.is_dir() and not source.name.endswith(".ds") else source.parent
    name = dataset or re.sub(r"[^A-Za-z0-9_-]+", "_", root.resolve().name) or "user"
    bids = is_bids_root(root)
    files = [source] if root != source else _recordings_below(source)
    if not files:
        raise DataError(
            f"{source}: holds no recording; known extensions: "
            f"{', '.join((*SUFFIXES, *ARRAY_SUFFIXES))}, and fMRI named "
            f"*_bold{', *_bold'.join((*VOLUMES, *ENDINGS))} (a file of another name can be given "
            "as --source itself)"
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
    spaces = one_space([p for p in files if is_fmri(p)], options.space)
    files = [p for p in files if not is_fmri(p) or p in spaces]
    return [
        Job(
            name,
            path.relative_to(root).as_posix(),
            _with_companions(path),
            {**base, "fmri": fmri, "left_out": spaces[path]} if path in spaces else base,
        )
        for path in files
    ]


def load_user_job(job: Job, recipe: Recipe) -> Recording:
    """Read the recording of a job that `user_jobs` made."""
    o, path = job.options, Path(job.files[0])
    root = Path(o["source_root"])
    montage = None if o["montage"] in (None, "none") else o["montage"]
    relative = path.relative_to(root).as_posix()
    if is_fmri(path):
        return load_image(path, job, recipe, subject_of(relative, o["subject"]))
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
        if is_fmri(path):
            if is_run(path):
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
    if is_fmri(path):
        others = companions(path)
    return (str(path), *(str(p) for p in others if p.is_file()))
