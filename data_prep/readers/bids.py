"""BIDS roots through mne-bids: channel types, bad channels, events and line noise from sidecars."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from brainfm.errors import DataError
from brainfm.signals.files.raw import read_raw
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording

NAME = re.compile(
    r"^(?P<entities>sub-[A-Za-z0-9]+(?:_[a-z]+-[A-Za-z0-9]+)*)_(?P<suffix>eeg|meg|ieeg)"
    r"\.(?P<extension>edf|bdf|fif|vhdr|set|ds|con|sqd)$"
)
"""sub-01_ses-02_task-rest_run-1_eeg.edf"""


def is_bids_root(folder: Path) -> bool:
    """Whether `dataset_description.json` lies there and a subject's folder beside it."""
    return (folder / "dataset_description.json").is_file() and any(folder.glob("sub-*"))


def bids_identity(path: Path) -> dict[str, str] | None:
    """Entities of a BIDS file name, with "suffix", or None for any other name."""
    match = NAME.match(path.name)
    if match is None:
        return None
    entities = dict(part.split("-", 1) for part in match["entities"].split("_"))
    return {**entities, "suffix": match["suffix"]}


def load_bids(
    path: Path,
    root: Path,
    recipe: Recipe,
    *,
    montage: str | None,
    duplicates: str = "raise",
    line_freq: float | None = None,
    **identity: Any,
) -> Recording:
    """One recording of a BIDS root.

    The file is checked like any other first; then mne-bids reads it with its sidecars.

    Raises
    ------
    DataError
        If the file or a sidecar cannot be read.
    """
    import mne_bids

    _, notes = read_raw(path, duplicates=duplicates)
    entities = bids_identity(path)
    assert entities is not None
    known = {"sub": "subject", "ses": "session", "task": "task", "acq": "acquisition"}
    known |= {"run": "run", "proc": "processing", "rec": "recording", "split": "split"}
    known |= {"space": "space", "desc": "description"}
    bids_path = mne_bids.BIDSPath(
        root=root,
        datatype=path.parent.name if path.parent.name in ("eeg", "meg", "ieeg") else None,
        suffix=entities["suffix"],
        extension=path.suffix,
        **{known[k]: v for k, v in entities.items() if k in known},
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = mne_bids.read_raw_bids(bids_path, verbose="WARNING").load_data(verbose="WARNING")
        except Exception as e:
            # Sidecars of the wild raise anything; the sentence carries it.
            raise DataError(
                f"{path}: mne-bids cannot read it ({type(e).__name__}: "
                f"{' '.join(str(e).split())[:200]}); run the BIDS validator on {root.name}"
            ) from e
    for w in caught:
        text = " ".join(str(w.message).split())
        if "did not find" in text.lower() or "unable to" in text.lower():
            notes.append(f"BIDS: {text[:160]}")
    recording = recording_from_raw(
        raw,
        recipe=recipe,
        source=str(path),
        montage=montage,
        duplicates=duplicates,
        line_freq=line_freq,
        subject=entities["sub"],
        session=entities.get("ses", ""),
        **identity,
    )
    recording.notes += notes
    return recording
