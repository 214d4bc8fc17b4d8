"""What the `neuroprobe` package (0.1.8, MIT) says of Brain Treebank: words, contacts, electrodes.

The package is read as data: tables as text, settings by their literal values; none of its code
runs. Times are samples of the neural recording at 2048 Hz.
"""

from __future__ import annotations

import ast
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.errors import DataError

SFREQ = 2048
MOVIES = {
    (1, 0): "fantastic-mr-fox",
    (1, 1): "the-martian",
    (1, 2): "thor-ragnarok",
    (2, 0): "venom",
    (2, 1): "spider-man-3-homecoming",
    (2, 2): "guardians-of-the-galaxy",
    (2, 3): "guardians-of-the-galaxy-2",
    (2, 4): "avengers-infinity-war",
    (2, 5): "black-panther",
    (2, 6): "aquaman",
    (3, 0): "cars-2",
    (3, 1): "lotr-1",
    (3, 2): "lotr-2",
    (4, 0): "shrek-the-third",
    (4, 1): "megamind",
    (4, 2): "incredibles",
    (5, 0): "fantastic-mr-fox",
    (6, 0): "megamind",
    (6, 1): "toy-story",
    (6, 4): "coraline",
    (7, 0): "cars-2",
    (7, 1): "megamind",
    (8, 0): "sesame-street-episode-3990",
    (9, 0): "ant-man",
    (10, 0): "cars-2",
    (10, 1): "spider-man-far-from-home",
}
"""Subject and trial to the movie (`config.py`). A movie that two people saw has the same words."""

WORD_COLUMNS = ("original_index", "est_idx", "est_end_idx", "start", "end", "full_word")


@dataclass(frozen=True, eq=False)
class Timeline:
    """Words of one trial in the order of the package, and the stretches without speech.

    Attributes
    ----------
    subject, trial : numbers
    words : one row a word: the columns of the package, and those of the movie's `features.csv`
        where it lies beside the neural data
    silence_N : first sample of each second without speech; they overlap by half
    has_features : whether `features.csv` was there
    pitch_N : "enhanced_pitch" of each word, NaN where the package has none
    """

    subject: int
    trial: int
    words: pd.DataFrame
    silence_N: NDArray[np.int64]
    has_features: bool
    pitch_N: NDArray[np.float64]

    @property
    def start_N(self) -> NDArray[np.int64]:
        """First sample of each word."""
        return self.words["est_idx"].to_numpy().astype(np.int64)


def members() -> dict[str, str]:
    """Files of the package that are read: path inside the wheel to file name."""
    package = "neuroprobe"
    names = {f"{package}/config.py": "config.py"}
    for s, t in MOVIES:
        for kind in ("words", "nonverbal"):
            file = f"subject{s}_trial{t}_{kind}_df.csv"
            names[f"{package}/braintreebank_features_time_alignment/{file}"] = file
    for s in {s for s, _ in MOVIES}:
        names[f"{package}/mni_coords/btbank{s}_mni_coords.csv"] = f"btbank{s}_mni_coords.csv"
    for movie in set(MOVIES.values()):
        file = f"{movie}_pitch_volume_features.json"
        names[f"{package}/pitch_volume_features/{file}"] = file
    return names


def read_timeline(folder: Path, subject: int, trial: int, features: Path | None) -> Timeline:
    """The words of a trial with everything known of them.

    Parameters
    ----------
    folder : with the files of `members`
    features : `transcripts/<movie>/features.csv` of Brain Treebank; None or missing leaves out the
        columns that only it has

    Raises
    ------
    DataError
        If the trial is none of the benchmark, or a file is missing, damaged or of another movie.
    """
    if (subject, trial) not in MOVIES:
        raise DataError(
            f"subject {subject} trial {trial} is none of Neuroprobe's; choose one of "
            f"{', '.join(f'{s}/{t}' for s, t in MOVIES)}"
        )
    path = folder / f"subject{subject}_trial{trial}_words_df.csv"
    words = _table(path, WORD_COLUMNS)
    for column in ("original_index", "est_idx", "est_end_idx", "start", "end"):
        words[column] = _numbers(path, words, column, finite=True)
    silence = folder / f"subject{subject}_trial{trial}_nonverbal_df.csv"
    starts = _numbers(silence, _table(silence, ("est_idx",)), "est_idx", finite=True)
    has_features = features is not None and features.exists()
    if has_features:
        assert features is not None
        words = _joined(path, words, features)
    return Timeline(
        subject,
        trial,
        words,
        starts.astype(np.int64),
        has_features,
        _pitch(folder / f"{MOVIES[subject, trial]}_pitch_volume_features.json", words),
    )


def lite_electrodes(folder: Path, subject: int) -> tuple[str, ...]:
    """The electrodes on which the benchmark is scored.

    Raises
    ------
    DataError
        If `config.py` of the package does not hold them.
    """
    path = folder / "config.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = [t.id for t in getattr(node, "targets", ()) if isinstance(t, ast.Name)]
            if isinstance(node, ast.Assign) and "NEUROPROBE_LITE_ELECTRODES" in names:
                return tuple(str(e) for e in ast.literal_eval(node.value)[f"btbank{subject}"])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path}: no settings of neuroprobe 0.1.8 ({e}); fetch it again") from e
    raise DataError(f"{path}: lists no electrodes of the benchmark; fetch it again")


def contact_positions(folder: Path, subject: int) -> dict[str, tuple[float, float, float]]:
    """Name of a contact to its place in MNI152 space, in metres.

    Raises
    ------
    DataError
        If the table is missing or damaged.
    """
    path = folder / f"btbank{subject}_mni_coords.csv"
    axes = ("mni152_x", "mni152_y", "mni152_z")
    table = _table(path, ("electrode_label", *axes))
    pos_N3 = np.stack([_numbers(path, table, a, finite=True) for a in axes], 1) / 1000
    names = [clean(str(n)) for n in table["electrode_label"]]
    return {n: (float(x), float(y), float(z)) for n, (x, y, z) in zip(names, pos_N3, strict=True)}


def clean(label: str) -> str:
    """A contact's name without the marks that the labels carry."""
    return label.replace("*", "").replace("#", "").strip()


def numbers(timeline: Timeline, column: str) -> NDArray[np.float64]:
    """A column of the words as numbers, NaN where it is empty.

    Raises
    ------
    DataError
        If only `features.csv` has it and that was not there, or it is no number.
    """
    path = Path("transcripts", MOVIES[timeline.subject, timeline.trial], "features.csv")
    if column not in timeline.words:
        raise DataError(
            f"'{column}' of subject {timeline.subject} trial {timeline.trial}: is not known; put "
            f"Brain Treebank's {path} beside the neural data"
        )
    return _numbers(path, timeline.words, column)


def _joined(path: Path, words: pd.DataFrame, features: Path) -> pd.DataFrame:
    """The words with what `features.csv` says of them, by the row that the package names."""
    table = _table(features, ("idx_in_sentence", "sentence"))
    first = table.columns[0]
    rows = dict(zip(_numbers(features, table, first, finite=True), range(len(table)), strict=True))
    at = [rows.get(i, -1) for i in words["original_index"]]
    missing = [i for i, row in zip(words["original_index"], at, strict=True) if row < 0]
    if missing:
        raise DataError(
            f"{features}: has no row {missing[0]:.0f}, which {path.name} names; it is the table of "
            "another movie or release"
        )
    more = table.iloc[at].reset_index(drop=True)
    fresh = [c for c in table.columns[1:] if c not in words.columns]
    return pd.concat([words, more[fresh]], axis=1)


def _pitch(path: Path, words: pd.DataFrame) -> NDArray[np.float64]:
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # Words are found by their onset in the movie, to five decimals, as in the package.
        known = {f"{float(k):.5f}": float(v["enhanced_pitch"]) for k, v in said.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(
            f"{path}: no pitch features ({type(e).__name__}: {e}); fetch it again"
        ) from e
    return np.array([known.get(f"{start:.5f}", np.nan) for start in words["start"]], np.float64)


def _table(path: Path, needs: tuple[str, ...]) -> pd.DataFrame:
    """A table as text: "None" and "null" are words."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, csv.Error) as e:
        what = "missing" if isinstance(e, FileNotFoundError) else f"no readable table ({e})"
        raise DataError(f"{path}: {what}; fetch it again") from e
    missing = [c for c in needs if c not in table.columns]
    if missing or table.empty:
        what = f"has no column {', '.join(missing)}" if missing else "has no row"
        raise DataError(f"{path}: {what}; fetch it again")
    return table


def _numbers(
    path: Path, table: pd.DataFrame, column: str, finite: bool = False
) -> NDArray[np.float64]:
    text = table[column].replace({"": "nan", "True": "1", "False": "0"})
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    strange = np.isnan(values) & (text.astype(str).str.lower() != "nan").to_numpy()
    bad = ~np.isfinite(values) if finite else strange
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{path}: {column} in line {row + 2} is '{table[column].iloc[row]}', no number; fetch "
            "it again"
        )
    return values
