"""Sentences on who wins at which rate, with paired intervals; where a rate has no meaning.

Shapes: R resamples (the first one is the recordings as they are), N recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from eval.codec.curves import RATES, Table, decibel
from eval.seizure.bootstrap import interval

Array = NDArray[np.float64]
Weights = Callable[[list[str]], Array]
Row = dict[str, Any]

TRANSFORMS = ("DCT", "MDCT", "wavelet", "PCA + DCT")
"""Classical coders with a rate to choose; the best of them at a rate is chosen on the test set."""
LOSSLESS = "int16 + LPC"
FAITHFUL_DB = -40.0
"""NMSE above which a lossless coder's step was too coarse to be called lossless."""
MARK = 0.05
"""A multi-rate model may have so much more NMSE than one trained for the rate."""


def reached(rate: float, rates_RS: Array, nmse_RS: Array, unused: bool = False) -> Array:
    """NMSE in dB at a rate in each resample, (R,), linear in log rate; NaN outside the curve.

    Parameters
    ----------
    unused : above the highest rate, what the highest gives: bits may be left unused
    """
    out = np.full(len(rates_RS), np.nan)
    for i, (rates, errors) in enumerate(zip(rates_RS, decibel(nmse_RS), strict=True)):
        order = np.argsort(rates)
        rates, errors = rates[order], errors[order]
        if 0 < rates[0] <= rate and (unused or rate <= rates[-1]):
            out[i] = np.interp(np.log(rate), np.log(rates), errors)
    return out


def tables_of(records: Sequence[Row], kind: str) -> dict[str, Table]:
    """Coder -> rates and errors of its recordings of a kind."""
    mine = [r for r in records if r["kind"] == kind]
    return {
        name: Table([r for r in mine if r["coder"] == name])
        for name in dict.fromkeys(r["coder"] for r in mine)
    }


def curves_on(table: Table, paths: Sequence[str], weights_of: Weights) -> tuple[Array, Array]:
    """Rates and NMSE (R, settings) of a coder on these recordings."""
    weights_RN = np.concatenate([np.ones((1, len(paths))), weights_of(list(paths))])
    return table.means(paths, weights_RN)


def duels(
    records: Sequence[Row], published: Sequence[str], weights_of: Weights
) -> list[dict[str, Any]]:
    """Each codec against the best transform coder and each published design, at `RATES`.

    Parameters
    ----------
    records : one a recording, coder and rate
    published : codecs that are what others published
    weights_of : recordings -> how often each is drawn, (R, N)

    Returns
    -------
    rows with kind, coder, rate, against ("transform" or a codec's name), other (who that was),
    mine_db, other_db, difference ({"mean", "low", "high"} in dB); None where a side has no such
    rate
    """
    out = []
    for kind in dict.fromkeys(r["kind"] for r in records):
        tables = tables_of(records, kind)
        for name in dict.fromkeys(
            r["coder"] for r in records if r["kind"] == kind and r["sort"] == "codec"
        ):
            paths = tables[name].paths
            able = {n: t for n, t in tables.items() if set(paths) <= set(t.paths)}
            curves = {n: curves_on(t, paths, weights_of) for n, t in able.items()}
            for rate in RATES:
                at = {n: reached(rate, *c, unused=n != name) for n, c in curves.items()}
                rivals = {"transform": [n for n in TRANSFORMS if n in at]}
                rivals |= {n: [n] for n in published if n in at and n != name}
                for against, names in rivals.items():
                    known = [n for n in names if np.isfinite(at[n][0])]
                    other = min(known, key=lambda n: at[n][0]) if known else None
                    out.append(_duel(kind, name, rate, against, other, at))
    return out


def _duel(
    kind: str, name: str, rate: float, against: str, other: str | None, at: dict[str, Array]
) -> dict[str, Any]:
    mine, theirs = at[name], at[other] if other else None
    row: dict[str, Any] = {
        "kind": kind,
        "coder": name,
        "rate": rate,
        "against": against,
        "other": other,
        "mine_db": float(mine[0]) if np.isfinite(mine[0]) else None,
        "other_db": None if theirs is None else float(theirs[0]),
        "difference": None,
    }
    if theirs is not None and row["mine_db"] is not None:
        away = mine - theirs
        low, high = interval(away[1:])
        row["difference"] = {"mean": float(away[0]), "low": low, "high": high}
    return row


def duel_sentences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence a kind and codec: below whom it is at which rates, and where it is not."""
    out = []
    for kind, name in dict.fromkeys((r["kind"], r["coder"]) for r in rows):
        mine = [r for r in rows if (r["kind"], r["coder"]) == (kind, name)]
        if all(r["mine_db"] is None for r in mine):
            continue
        parts = []
        for against in dict.fromkeys(r["against"] for r in mine):
            who = "the best transform coder" if against == "transform" else f"{against} (published)"
            duel = [r for r in mine if r["against"] == against]
            runs = groupby(duel, lambda r: _outcome(r["difference"]))
            parts += [_said(list(run), how, who) for how, run in runs if how]
        lone = {r["rate"]: r["mine_db"] is None for r in mine}
        gaps = [_range([r for r, _ in g]) for no, g in groupby(lone.items(), itemgetter(1)) if no]
        if gaps:
            parts.append(f"without a rate of {', '.join(gaps)}")
        out.append(f"{kind}: {name} is {'; '.join(parts)}.")
    return out


def _outcome(difference: dict[str, Any] | None) -> str:
    """Empty where either side has no such rate."""
    if difference is None:
        return ""
    if difference["low"] is not None and difference["low"] <= 0 <= difference["high"]:
        return "level with"
    return "below" if difference["mean"] < 0 else "not below"


def _said(run: Sequence[dict[str, Any]], how: str, who: str) -> str:
    """``below the best transform coder at .25 to 4 kbit/s (-1.3 to -2.5 dB)``."""
    text = _span([r["difference"]["mean"] for r in run])
    if how == "level with":
        text += ", intervals hold 0"
    return f"{how} {who} at {_range([r['rate'] for r in run])} kbit/s ({text})"


def _span(values: Sequence[float]) -> str:
    """``-1.3 to -2.5 dB``, the smaller one first."""
    said = [f"{v:+.1f}" for v in sorted(values, key=abs)]
    return f"{said[0]} dB" if said[0] == said[-1] else f"{said[0]} to {said[-1]} dB"


def _range(rates: Sequence[float]) -> str:
    low, high = min(rates), max(rates)
    return _k(low) if low == high else f"{_k(low)} to {_k(high)}"


def lone_sentences(
    rows: Sequence[Row], duels: Sequence[dict[str, Any]], told: Sequence[str] = ()
) -> list[str]:
    """One sentence a kind on codecs that have none of the compared rates.

    Parameters
    ----------
    told : codecs that another sentence is about
    """
    out = []
    for kind in dict.fromkeys(r["kind"] for r in duels):
        met = {r["coder"] for r in duels if r["kind"] == kind and r["mine_db"] is not None}
        met |= set(told)
        alone = [r for r in duels if r["kind"] == kind and r["coder"] not in met]
        names = list(dict.fromkeys(r["coder"] for r in alone))
        if not names:
            continue
        mine = [r for r in rows if r["kind"] == kind and r["coder"] in names]
        away = [r["against"]["mean"] for r in mine if r["against"] is not None]
        text = f"{kind}: {', '.join(names)} have none of the compared rates"
        if len(names) == 1:
            text = text.replace(" have ", " has ")
        if away:
            text += f"; at their own, against the DCT: {_span(away)}"
        out.append(f"{text}.")
    return out


def _k(rate: float) -> str:
    return f"{rate / 1000:g}".replace("0.", ".", 1)


def lossless_sentences(rows: Sequence[Row]) -> list[str]:
    """Kinds whose finest lossless rate is below a rate of the comparison."""
    out = []
    for kind in dict.fromkeys(r["kind"] for r in rows):
        mine = [r for r in rows if (r["kind"], r["coder"]) == (kind, LOSSLESS)]
        if not mine:
            continue
        finest = min(mine, key=lambda r: r["order"])
        rate = finest["bits_per_s"]["mean"]
        idle = [r for r in RATES if r >= rate]
        if idle and decibel(finest["nmse"]["mean"]) <= FAITHFUL_DB:
            out.append(
                f"{kind}: lossless coding ({finest['setting']} of the deviation, NMSE "
                f"{float(decibel(finest['nmse']['mean'])):.0f} dB) takes {rate / 1000:.2f} kbit/s: "
                f"{_range(idle)} kbit/s have no practical meaning."
            )
    return out


def rate_ratios(
    records: Sequence[Row], multi: str, fixed: Sequence[str], weights_of: Weights
) -> list[dict[str, Any]]:
    """NMSE of a multi-rate codec over that of codecs trained for one rate, at their rates.

    A codec of several rates counts as trained for its highest one.

    Returns
    -------
    rows with kind, multi, fixed, setting, bits_per_s, ratio ({"mean", "low", "high"}, mean None
    where the multi-rate codec has no such rate)

    Raises
    ------
    DataError
        If a name is none of the compared codecs.
    """
    known = list(dict.fromkeys(r["coder"] for r in records if r["sort"] == "codec"))
    for name in (multi, *fixed):
        if name not in known:
            raise DataError(
                f"'{name}' is none of the compared codecs ({', '.join(known) or 'none'}); name "
                "it with --codec too"
            )
    out = []
    for kind in dict.fromkeys(r["kind"] for r in records):
        tables = tables_of(records, kind)
        for name in fixed:
            if name not in tables or multi not in tables:
                continue
            paths = [p for p in tables[name].paths if p in set(tables[multi].paths)]
            if not paths:
                continue
            rates, errors = curves_on(tables[name], paths, weights_of)
            top = int(np.argmax(rates[0]))
            curve = curves_on(tables[multi], paths, weights_of)
            mine_R = np.array(
                [
                    reached(rate, r[None], e[None])[0]
                    for rate, r, e in zip(rates[:, top], *curve, strict=True)
                ]
            )
            ratio_R = 10 ** ((mine_R - decibel(errors[:, top])) / 10)
            low, high = interval(ratio_R[1:])
            out.append(
                {
                    "kind": kind,
                    "multi": multi,
                    "fixed": name,
                    "setting": tables[name].settings[top],
                    "bits_per_s": float(rates[0, top]),
                    "ratio": {
                        "mean": float(ratio_R[0]) if np.isfinite(ratio_R[0]) else None,
                        "low": low,
                        "high": high,
                    },
                }
            )
    return out


def ratio_sentences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence a kind: how many ratios are within the mark."""
    out = []
    for kind, multi in dict.fromkeys((r["kind"], r["multi"]) for r in rows):
        mine = [r for r in rows if r["kind"] == kind]
        met = [r for r in mine if r["ratio"]["mean"] is not None]
        inside = [r for r in met if r["ratio"]["mean"] <= 1 + MARK]
        said = ", ".join(
            f"{r['ratio']['mean']:.3f} of {r['fixed']}'s at {r['bits_per_s'] / 1000:.2f} kbit/s"
            for r in met
        )
        lacking = f"; at {len(mine) - len(met)} more rates it has none" * (len(mine) > len(met))
        verdict = "meets" if len(inside) == len(mine) else "misses"
        out.append(
            f"{kind}: {multi}, one model for all rates, {verdict} the mark of {MARK:.0%} more NMSE "
            f"than models of one rate ({len(inside)} of {len(mine)}): {said or 'none'}{lacking}."
        )
    return out
