"""Compare recomputed arrays with a reference: one row an array.

Shapes: any.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from brainfm.errors import ContractError, DataError
from eval.parity.reference import CHECKED, Recipes, Reference


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
    rows = []
    for name, want in reference.arrays.items():
        if not name.startswith(CHECKED):
            continue
        if name in recipes.given:
            rows.append(Row(name, 0.0, 0.0, True, "given", "an input of the other arrays"))
        elif name not in recipes.how:
            rows.append(Row(name, None, 0.0, False, "not computed", "no recipe for this array"))
        else:
            rows.append(_row(name, np.asarray(want), *recipes.how[name], strict))
    return rows


def _row(name: str, want: np.ndarray, compute: Any, tolerance: float, strict: bool) -> Row:
    try:
        have = compute()
    except (ContractError, DataError, ValueError, RuntimeError, KeyError, IndexError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        return Row(name, None, tolerance, False, "error", reason)
    have = np.asarray(have.detach().cpu().numpy() if hasattr(have, "detach") else have)
    if have.shape != want.shape:
        return Row(name, None, tolerance, False, "error", f"shape {have.shape}, not {want.shape}")
    if want.size == 0:
        return Row(name, 0.0, tolerance, True)
    if tolerance and not strict:
        tolerance *= max(1.0, float(np.nanmax(np.abs(want))) if want.size else 1.0)
    difference = np.abs(have.astype(np.float64) - want.astype(np.float64))
    # NaN must meet NaN: an undefined value is a value here.
    difference = np.where(np.isnan(have) & np.isnan(want), 0.0, difference)
    error = float(difference.max())
    return Row(name, error, tolerance, bool(error <= tolerance))
