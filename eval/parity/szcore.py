"""SzCORE references: every case of such a file, scored again; all numbers exact.

The file is JSON: `cases`, each with two lists of [start, end) seconds and what `timescoring`
made of them, as events at 10 Hz and as samples at 1 Hz; null stands for NaN.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from eval.parity.reference import Recipes, Reference
from eval.seizure.events import Score, score_events, score_samples

FIELDS = {
    "tp": "tp",
    "fp": "fp",
    "refTrue": "ref_true",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "f1": "f1",
    "fpRate": "fp_per_day",
    "numSamples": "n_samples",
    "fs": "fs",
}
"""What the file calls a number, and what we do."""

LISTS = {"event_ref_after_merge_and_split": "ref", "event_hyp_after_merge_and_split": "hyp"}
TABLES = {"event": score_events, "sample": score_samples}
INPUTS = ("duration_s", "ref", "hyp")
WORDS = ("name", "about")


def read_cases(path: Path) -> Reference:
    """A JSON file as arrays: `in/CASE/...` to score, `out/CASE/...` to arrive at.

    Raises
    ------
    DataError
        If it is no JSON, or holds no list of cases in this form.
    """
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        arrays: dict[str, NDArray[Any]] = {}
        for case in cases:
            name = str(case["name"])
            if f"in/{name}/hyp" in arrays:
                raise DataError(f"{path}: case '{name}' appears twice; give each its own name")
            _add_case(arrays, name, case)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(
            f"{path}: not a readable SzCORE reference ({type(e).__name__}: {e}); it is JSON with "
            "'cases', each with name, duration_s, ref, hyp and results"
        ) from e
    return Reference(path, arrays)


def _add_case(arrays: dict[str, NDArray[Any]], name: str, case: dict[str, Any]) -> None:
    for key in INPUTS:
        spans = key != "duration_s"
        arrays[f"in/{name}/{key}"] = _spans(case[key]) if spans else np.float64(case[key])
    for key in (k for k in case if k not in (*INPUTS, *WORDS)):
        if key in TABLES:
            arrays[f"in/{name}/{key}"] = np.array(list(case[key]))
            values = [np.nan if v is None else v for v in case[key].values()]
            arrays[f"out/{name}/{key}"] = np.array(values, float)
        elif key in LISTS:
            arrays[f"out/{name}/{key}"] = _spans(case[key])
        else:
            # Without a recipe it shows up as "not computed", and the file does not pass.
            arrays[f"out/{name}/{key}"] = np.array(str(case[key]))


def matches(reference: Reference) -> bool:
    """True for cases with a list of seizures and a list of detections."""
    return any(k.startswith("in/") and k.endswith("/hyp") for k in reference.arrays)


def compute(reference: Reference) -> Recipes:
    """How the results of each case are scored again, when they are asked for."""
    recipes = Recipes()
    for name in reference.arrays:
        place, _, what = name.rpartition("/")
        case = place.removeprefix("out/")
        if not name.startswith("out/"):
            continue
        if what in TABLES:
            recipes.add(name, partial(_numbers, reference, case, what), tolerance=0)
        elif what in LISTS:
            recipes.add(name, partial(_list, reference, case, what), tolerance=0)
    return recipes


def _numbers(reference: Reference, case: str, table: str) -> NDArray[np.float64]:
    score = _scored(reference, case, table)
    names = reference[f"in/{case}/{table}"].tolist()
    return np.array([getattr(score, FIELDS[n]) for n in names], float)


def _list(reference: Reference, case: str, name: str) -> NDArray[np.float64]:
    return _spans(getattr(_scored(reference, case, "event"), LISTS[name]))


def _scored(reference: Reference, case: str, table: str) -> Score:
    ref, hyp = (reference[f"in/{case}/{side}"].tolist() for side in ("ref", "hyp"))
    return TABLES[table](ref, hyp, float(reference[f"in/{case}/duration_s"]))


def _spans(pairs: Any) -> NDArray[np.float64]:
    return np.array(pairs, float).reshape(-1, 2)
