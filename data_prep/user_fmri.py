"""A user's own fMRI: which files are runs, one space of each, its events, and how it is read."""

from __future__ import annotations

import re
from dataclasses import replace
from math import isfinite
from pathlib import Path

import pandas as pd

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Recording
from data_prep.dataset import Job
from data_prep.readers.inheritance import events_table, raw_twin, sidecars
from data_prep.readers.surface_files import is_surface, partner

VOLUMES = (".nii", ".nii.gz")
ENTITIES = (
    r"(_echo-\d+)?(_part-mag)?(_hemi-[LR])?(_space-[^_]+)?(_den-[^_]+)?(_res-[^_]+)?(_desc-[^_]+)?"
    r"_bold\..*$"
)
"""What is said of a run behind its name, as BIDS orders it."""
NO_SIGNAL = re.compile(r"_part-(phase|real|imag)_")
"""Images that are a part of a complex one and say nothing of blood by themselves."""
SECOND_ECHO = 2
"""Of several echoes one is read: near 30 ms, where BOLD contrast at 3 T is best, lies the second of
three to five as a rule; an image that combines them comes before any."""
PREFERRED = ("MNI152", "fsLR", "fsaverage5", "fsaverage", "")
"""Beginnings of spaces, the first that there is is read; "": any other."""


def is_fmri(path: Path) -> bool:
    """Whether a file is read as fMRI, by its name."""
    return is_surface(path) or path.name.lower().endswith(VOLUMES)


def is_run(path: Path) -> bool:
    """Whether a file found in a folder is a run: `_bold` images, and one file of each pair."""
    if not re.search(r"[_.]bold\.", path.name) or NO_SIGNAL.search(path.name):
        return False
    if not is_surface(path):
        return True
    try:
        other = partner(path)
    except DataError:
        return True  # it is said when the file is read
    second = other is not None and ("hemi-R" in path.name or path.name.startswith("rh."))
    return not (second and other is not None and other.is_file())


def one_space(paths: list[Path], space: str | None = None) -> dict[Path, list[str]]:
    """Runs in one space and echo each, and the names of the files that were left out for it.

    fMRIPrep writes a run in several spaces, scanners in several echoes; as several recordings they
    would be several people's worth of the same data.

    Parameters
    ----------
    space : of all runs; None: the first of `PREFERRED`

    Raises
    ------
    DataError
        If a run that has several spaces does not have the one that was asked for.
    """
    runs: dict[Path, list[Path]] = {}
    for path in paths:
        runs.setdefault(path.with_name(_run_name(path)), []).append(path)
    out = {}
    for run, files in runs.items():
        said = {p: _space(p) for p in files}
        if space is not None and any(said.values()):
            kept = [p for p in files if said[p] == space]
            if not kept:
                there = ", ".join(sorted({s or "native" for s in said.values()}))
                raise DataError(f"{run}: has no space '{space}'; it has {there}")
        else:
            best = min(_rank(s) for s in said.values())
            kept = [p for p in files if _rank(said[p]) == best]
        first = min(kept, key=lambda p: (_echo_rank(p), p))
        out[first] = [p.name for p in files if p != first]
    return out


def _rank(space: str) -> int:
    if not space:
        return len(PREFERRED)
    return next(i for i, start in enumerate(PREFERRED) if space.startswith(start))


def _echo_rank(path: Path) -> int:
    """How far an image is from the echo that is read; one without echoes comes first."""
    match = re.search(r"_echo-(\d+)", path.name)
    return 0 if match is None else 1 + abs(int(match[1]) - SECOND_ECHO)


def _space(path: Path) -> str:
    match = re.search(r"_space-([^_]+)", path.name)
    return match[1] if match else ""


def _run_name(path: Path) -> str:
    """The name of a run, whatever was done to its image."""
    return re.sub(ENTITIES, "", path.name)


def load_image(path: Path, job: Job, recipe: Recipe, subject: str) -> Recording:
    """A run of fMRI that a user names: voxels or vertices, or parcels of an atlas."""
    from brainfm.signals.bold import prepare_bold
    from data_prep.readers.fmriprep import cleaned, is_preprocessed
    from data_prep.readers.nifti import read_nifti
    from data_prep.readers.surface import read_surface

    o = job.options["fmri"]
    atlas = None
    if o["atlas"]:
        from data_prep.atlases import load_atlas

        atlas = load_atlas(o["atlas"])
    space = _space(path)
    common = {
        "dataset": job.dataset,
        "subject": subject,
        "name": job.name,
        "tr_s": o["tr_s"],
        "atlas": atlas,
        "drop": o["drop"],
        "events": read_events(path),
        "slices_corrected": is_preprocessed(path),
    }
    if is_surface(path):
        if o["mask"]:
            raise DataError(f"{path}: has vertices, and --mask is of voxels; leave it out")
        recording = read_surface(path, **common)
    else:
        if atlas is not None and space and not space.startswith("MNI"):
            raise DataError(
                f"{path}: lies in the space {space}, the atlas {atlas.name} in MNI space; use the "
                "image in MNI space, or no atlas"
            )
        frame = "mni" if atlas is not None or space.startswith("MNI") else "unknown"
        recording = read_nifti(path, mask=o["mask"], frame=frame, **common)
        if atlas is not None and not space:
            recording.notes.append(
                "nobody says that the image lies in MNI space; parcels are where its affine puts "
                "them"
            )
    recording = _with_events_inside(recording, path)
    if o["denoise"]:
        recording = cleaned(recording, path, o["denoise"], o["drop"])
    if not common["events"] and raw_twin(path) is not None:
        recording.notes.append("no table of events, neither here nor in the raw data set")
    if job.options.get("left_out"):
        recording.notes.append(
            f"other files of this run left out: {', '.join(job.options['left_out'])}; --space "
            "chooses"
        )
    return prepare_bold(recording, recipe)


def read_events(path: Path) -> list[Event]:
    """Events of an image's BIDS table; none where there is no table.

    Raises
    ------
    DataError
        If it lacks onset or duration, or they are no numbers.
    """
    beside = events_table(_run(path))
    if beside is None:
        return []
    try:
        table = pd.read_csv(beside, sep="\t")
        names = table["trial_type"] if "trial_type" in table else ["event"] * len(table)
        times = (table[k].astype(float) for k in ("onset", "duration"))
        rows = zip(*times, names, strict=True)
        # "n/a": an event that nobody named, or whose time nobody knows.
        return [
            Event(a, max(b, 0.0), "event" if pd.isna(c) else str(c))
            for a, b, c in rows
            if isfinite(a) and isfinite(b)
        ]
    except (KeyError, ValueError) as e:
        raise DataError(
            f"{beside}: needs columns onset and duration in seconds, with tabs between ({e}); mend "
            "it"
        ) from e


def _with_events_inside(recording: Recording, path: Path) -> Recording:
    """A run without events that begin after its last frame.

    Raises
    ------
    DataError
        If most of them do.
    """
    end_s = len(recording.signal) / recording.sfreq
    inside = [e for e in recording.events if e.onset_s < end_s]
    late = len(recording.events) - len(inside)
    if not late:
        return recording
    last_s = max(e.onset_s for e in recording.events)
    said = f"{late} of {len(recording.events)} events begin after the last frame ({end_s:g} s)"
    if late > len(inside):
        raise DataError(
            f"{events_table(_run(path))}: {said}, the last at {last_s:g} s; give seconds, or the "
            "table of this run"
        )
    return replace(recording, events=inside, notes=[*recording.notes, f"{said} and are left out"])


def companions(path: Path) -> list[Path]:
    """Files that a run is read with, so that a change of any is seen."""
    other = partner(path) if is_surface(path) else None
    beside = (*sidecars(path), events_table(_run(path)), other)
    return [p for p in beside if p is not None and p.is_file()]


def _run(path: Path) -> Path:
    """The image as the scanner would have named it."""
    return path.with_name(f"{_run_name(path)}_bold.nii.gz")
