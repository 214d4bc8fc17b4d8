"""What a file of a BIDS data set inherits: sidecars and tables beside it and in the folders above.

BIDS 1.10, "The inheritance principle": a file applies to an image of the same suffix if all its
entities are the image's too. Sidecars add up key by key from the root of the data set down, the
nearest wins; of tables the nearest counts alone. What fMRIPrep wrote has its events in the raw
data set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainfm.errors import DataError

ROOT = "dataset_description.json"
MOST_ABOVE = 6
"""Folders between a data set's root and its deepest file, at most."""


def entities(name: str) -> tuple[dict[str, str], str] | None:
    """Entities and suffix of a BIDS name, such as ({"sub": "01"}, "bold"); None for other names."""
    *pairs, suffix = name.split(".")[0].split("_")
    if "-" in suffix or any("-" not in p for p in pairs):
        return None
    return dict(p.split("-", 1) for p in pairs), suffix


def root_of(path: Path) -> Path | None:
    """The data set that a file belongs to; None where no `dataset_description.json` says it."""
    above = list(path.absolute().parents)[:MOST_ABOVE]
    return next((folder for folder in above if (folder / ROOT).is_file()), None)


def raw_twin(path: Path) -> Path | None:
    """Where the raw data set has, or would have, a file of `derivatives/NAME`."""
    root = root_of(path)
    if root is None or root.parent.name != "derivatives":
        return None
    return root.parent.parent / path.absolute().relative_to(root)


def inherited(path: Path, ending: str, suffix: str | None = None) -> list[Path]:
    """Files that apply to an image, from the root of the data set to the nearest.

    Parameters
    ----------
    path : the image, which need not exist
    ending : of the files, such as ".json"
    suffix : of the files, such as "events"; None: the image's own
    """
    said = entities(path.name)
    if said is None:
        return []
    mine, own = said
    root = root_of(path)
    folder = path.absolute().parent
    folders = [folder] if root is None else [folder, *folder.parents][: _depth(folder, root) + 1]
    found = []
    for place in reversed(folders):
        here = []
        for other in sorted(place.glob(f"*{suffix or own}{ending}")):
            theirs = entities(other.name)
            if theirs is not None and theirs[1] == (suffix or own):
                if theirs[0].items() <= mine.items():
                    here.append((len(theirs[0]), other))
        found += [other for _, other in sorted(here)]
    return found


def _depth(folder: Path, root: Path) -> int:
    return len(folder.relative_to(root).parts)


def sidecars(path: Path) -> list[Path]:
    """Sidecars of an image, the nearest last: inherited ones, `x.json` of `x.dtseries.nii`, or
    `x.dtseries.json`.
    """
    names = (path.name.split(".")[0], path.name.removesuffix(".gz").rsplit(".", 1)[0])
    beside = [path.with_name(f"{n}.json") for n in dict.fromkeys(names)]
    # Surfaces say their hemisphere, their sidecar need not; so the name itself is tried too.
    above = [p for p in inherited(path, ".json") if p.name not in {b.name for b in beside}]
    return [*above, *(b for b in beside if b.is_file())]


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """What the sidecars of an image say together; empty where there is none.

    Raises
    ------
    DataError
        If one is no JSON object.
    """
    out: dict[str, Any] = {}
    for file in sidecars(Path(path)):
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError) as e:
            raise DataError(f"{file}: no readable JSON ({e}); mend the sidecar") from e
        if not isinstance(content, dict):
            raise DataError(f"{file}: holds no object with keys; mend the sidecar")
        out |= content
    return out


def events_table(run: Path) -> Path | None:
    """The table of events of a run: beside it, inherited, or in the raw data set behind it.

    Parameters
    ----------
    run : an image named without what was done to it, such as `sub-01_task-x_bold.nii.gz`
    """
    for place in (run, raw_twin(run)):
        if place is None:
            continue
        beside = place.with_name(place.name.split(".")[0].removesuffix("_bold") + "_events.tsv")
        if beside.is_file():
            return beside
        found = inherited(place, ".tsv", "events")
        if found:
            return found[-1]
    return None
