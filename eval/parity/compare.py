"""Compare recomputed arrays with a reference: one row an array.

Shapes: any.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from brainfm.errors import ContractError, DataError
from eval.parity.reference import CHECKED, Recipe, Recipes, Reference


@dataclass(frozen=True)
class Row:
    """One array: how far off, how far allowed, and what became of it.

    `status` is "computed", "given" (an input), "not computed" or "error"; `note` says why.
    """

    name: str
    max_abs_error: float | None
    tolerance: float
    passed: bool
    status: str = "computed"
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(reference: Reference, recipes: Recipes, strict: bool) -> list[Row]:
    """A row for every checked array of the file.

    Parameters
    ----------
    strict : absolute tolerances only; otherwise they grow with the largest value above 1
    """
    rows: dict[str, Row] = {}
    names = [n for n in reference.arrays if n.startswith(CHECKED)]
    # Terms before the sums that they may excuse.
    names.sort(key=lambda n: n in recipes.how and recipes.how[n].excuse is not None)
    for name in names:
        if name in recipes.given:
            rows[name] = Row(name, 0.0, 0.0, True, "given", "an input of the other arrays")
        elif name not in recipes.how:
            rows[name] = Row(name, None, 0.0, False, "not computed", "no recipe for this array")
        else:
            recipe = recipes.how[name]
            rows[name] = _row(name, np.asarray(reference.arrays[name]), recipe, strict)
            if recipe.excuse is not None:
                term, factor = recipe.excuse
                rows[name] = _excuse(rows[name], rows.get(term), factor)
    return [rows[n] for n in reference.arrays if n in rows]


def _excuse(row: Row, term: Row | None, factor: float) -> Row:
    """Allow a sum the error of a term that passed with more than the sum's own tolerance."""
    if term is None or not term.passed or term.max_abs_error is None or row.max_abs_error is None:
        return row
    if row.passed or term.max_abs_error <= row.tolerance:
        return row
    limit = row.tolerance + factor * term.max_abs_error
    note = f"with what {term.name} is off"
    return replace(row, tolerance=limit, passed=row.max_abs_error <= limit, note=note)


def _row(name: str, want: np.ndarray, recipe: Recipe, strict: bool) -> Row:
    tolerance = recipe.tolerance
    try:
        have = recipe.compute()
    except (ContractError, DataError, ValueError, RuntimeError, KeyError, IndexError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        return Row(name, None, tolerance, False, "error", reason)
    have = np.asarray(have.detach().cpu().numpy() if hasattr(have, "detach") else have)
    if have.shape != want.shape:
        return Row(name, None, tolerance, False, "error", f"shape {have.shape}, not {want.shape}")
    if want.dtype.kind not in "biufc":
        return Row(name, None, tolerance, False, "error", f"holds {want.dtype}, not numbers")
    if want.size == 0:
        return Row(name, 0.0, tolerance, True)
    if tolerance and not strict:
        tolerance *= max(1.0, float(np.nanmax(np.abs(want))))
    difference = np.abs(have.astype(np.complex128) - want.astype(np.complex128))
    # NaN must meet NaN: an undefined value is a value here.
    difference = np.where(np.isnan(have) & np.isnan(want), 0.0, difference)
    error = float(difference.max())
    return Row(name, error, tolerance, bool(error <= tolerance))
