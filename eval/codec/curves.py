"""Curves of rate and error: coders at equal rates, and where a codec beats the transform coder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.codec.transform import TransformCoder
from eval.seizure.bootstrap import interval

Array = NDArray[np.float64]

REFERENCE = TransformCoder.name
"""What codecs are compared with at their own rate."""
RATES = (250.0, 500.0, 1000.0, 2000.0, 4000.0)
"""Bits/s/channel at which all coders are compared, by interpolation between their own rates."""


def curve(rows: Sequence[dict], kind: str, coder: str) -> tuple[Array, Array]:
    """Rates in bits/s/channel, ascending, and NMSE in dB of a coder."""
    mine = [r for r in rows if (r["kind"], r["coder"]) == (kind, coder)]
    rate = np.array([r["bits_per_s"]["mean"] for r in mine])
    order = np.argsort(rate)
    return rate[order], decibel([r["nmse"]["mean"] for r in mine])[order]


def decibel(nmse: ArrayLike) -> Array:
    """NMSE in dB; nothing is below -300."""
    return np.asarray(10 * np.log10(np.maximum(nmse, 1e-30)))


def nmse_db_at(rate: float, curve_of: tuple[Array, Array]) -> float | None:
    """NMSE in dB at a rate, linear in log rate; None outside a curve of two points or more."""
    rates, db = curve_of
    if len(rates) < 2 or not rates[0] <= rate <= rates[-1] or rates[0] <= 0:
        return None
    return float(np.interp(np.log(rate), np.log(rates), db))


def add_comparison(
    rows: Sequence[dict], records: Sequence[dict], weights_of: Callable[[list[str]], Array]
) -> None:
    """Give every row "against": its NMSE less that of the DCT at its own rate, dB.

    Both are means over the recordings that the coder could code, and intervals are of the same
    resamples, so that the difference is a paired one.

    Parameters
    ----------
    rows : one a kind, coder and rate
    records : one a recording, coder and rate
    weights_of : recordings -> how often each is drawn, (R, N)
    """
    for kind in dict.fromkeys(r["kind"] for r in records):
        tables = {
            coder: Table([r for r in records if (r["kind"], r["coder"]) == (kind, coder)])
            for coder in dict.fromkeys(r["coder"] for r in records if r["kind"] == kind)
        }
        for row in (r for r in rows if r["kind"] == kind):
            row["against"] = None
        for coder, table in tables.items():
            if coder != REFERENCE:
                weights_RN = weights_of(table.paths)
                for name, value in differences(table, tables[REFERENCE], weights_RN).items():
                    key = (kind, coder, name)
                    row = next(r for r in rows if (r["kind"], r["coder"], r["setting"]) == key)
                    row["against"] = value


class Table:
    """Rates and errors of a coder, by setting and recording."""

    def __init__(self, records: Sequence[dict]) -> None:
        self.paths = list(dict.fromkeys(r["path"] for r in records))
        self.settings = list(dict.fromkeys(r["setting"] for r in records))
        self.values = {(r["setting"], r["path"]): (r["bits_per_s"], r["nmse"]) for r in records}

    def means(self, paths: Sequence[str], weights_RN: Array) -> tuple[Array, Array]:
        """Rate and NMSE of each resample of these recordings, (R, settings) each."""
        v_SN2 = np.array([[self.values[name, p] for p in paths] for name in self.settings])
        mean = np.einsum("rn,snk->krs", weights_RN, v_SN2) / weights_RN.sum(1)[:, None]
        return mean[0], mean[1]


def differences(mine: Table, other: Table, weights_RN: Array) -> dict[str, dict[str, Any]]:
    """Setting -> NMSE of `mine` less that of `other` at the same rate, dB, and its interval.

    Settings whose rate lies outside the other's curve are missing.
    """
    weights_RN = np.concatenate([np.ones((1, len(mine.paths))), weights_RN])
    rate, nmse = mine.means(mine.paths, weights_RN)
    rates, errors = (np.sort(v, 1) for v in other.means(mine.paths, weights_RN))
    curves = list(zip(rates, decibel(errors)[:, ::-1], strict=True))  # more bits, less error
    out = {}
    for s, name in enumerate(mine.settings):
        at = [nmse_db_at(rate[i, s], curve_of) for i, curve_of in enumerate(curves)]
        away = decibel(nmse[:, s]) - np.array([np.nan if a is None else a for a in at])
        if np.isfinite(away[0]):
            low, high = interval(away[1:])
            out[name] = {"mean": float(away[0]), "low": low, "high": high}
    return out


def at_rates(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """NMSE in dB at `RATES`, one row a kind and coder."""
    keys = dict.fromkeys((r["kind"], r["coder"], r["sort"]) for r in rows)
    return [
        {
            "kind": kind,
            "coder": coder,
            "sort": sort,
            "recordings": next(
                r["recordings"] for r in rows if (r["kind"], r["coder"]) == (kind, coder)
            ),
            "nmse_db": [nmse_db_at(rate, curve(rows, kind, coder)) for rate in RATES],
        }
        for kind, coder, sort in keys
        if sort != "control"
    ]


def difference_text(value: dict[str, Any] | None) -> str:
    """``-1.2 [-1.9, -0.4]``; "" for None."""
    if value is None:
        return ""
    text = f"{value['mean']:+.1f}"
    if value["low"] is not None:
        text += f" [{value['low']:+.1f}, {value['high']:+.1f}]"
    return text
