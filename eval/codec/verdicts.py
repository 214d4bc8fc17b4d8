"""Sentences on who wins at which rate, with paired intervals; where a rate has no meaning.

Shapes: R resamples (the first one is the recordings as they are), N recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """One sentence a kind, codec and rival: at which rates it wins, and where it does not."""
    out = []
    for kind, name, against in dict.fromkeys((r["kind"], r["coder"], r["against"]) for r in rows):
        mine = [r for r in rows if (r["kind"], r["coder"], r["against"]) == (kind, name, against)]
        who = "the best transform coder" if against == "transform" else f"{against} (published)"
        met = [r for r in mine if r["difference"] is not None]
        wins = [r for r in met if r["difference"]["mean"] < 0]
        losses = [r for r in met if r["difference"]["mean"] >= 0]
        if not met:
            if against == "transform":
                out.append(f"{kind}: {name} has none of the rates that are compared.")
            continue
        parts = []
        if wins:
            parts.append(f"lower NMSE than {who} at {_listed(wins)} kbit/s a channel")
        if losses:
            parts.append(f"{'but ' if wins else ''}not lower than {who} at {_listed(losses)}")
        lacking = [r for r in mine if r["difference"] is None]
        if lacking:
            silent = "/".join(_k(r["rate"]) for r in lacking)
            one = "it has" if any(r["mine_db"] is None for r in lacking) else f"{who} has"
            parts.append(f"{one} no such rate as {silent}")
        out.append(f"{kind}: {name}: {'; '.join(parts)}.")
    return out


def _listed(rows: Sequence[dict[str, Any]]) -> str:
    """``.25 (-2.1 dB), 1 (-.4 dB [-.9, +.1], open)``."""
    said = []
    for r in rows:
        d = r["difference"]
        text = f"{d['mean']:+.1f} dB"
        if d["low"] is not None:
            text += f" [{d['low']:+.1f}, {d['high']:+.1f}]"
            if d["low"] <= 0 <= d["high"]:
                text += ", open"
        said.append(f"{_k(r['rate'])} ({text})")
    return ", ".join(said)


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
                f"{kind}: lossless coding at {finest['setting']} of the standard deviation takes "
                f"{rate / 1000:.2f} kbit/s a channel (NMSE "
                f"{float(decibel(finest['nmse']['mean'])):.0f} dB), so that "
                f"{'/'.join(_k(r) for r in idle)} kbit/s have no practical meaning here."
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
            f"{r['ratio']['mean']:.3f} of {r['fixed']} at {r['bits_per_s'] / 1000:.2f} kbit/s"
            for r in met
        )
        lacking = f"; at {len(mine) - len(met)} more rates {multi} has none" * (
            len(mine) > len(met)
        )
        verdict = "meets" if len(inside) == len(mine) else "misses"
        out.append(
            f"{kind}: {multi}, one model for all rates, has these shares of the NMSE of models "
            f"trained for one rate: {said or 'none'}{lacking}. Within {MARK:.0%} at {len(inside)} "
            f"of {len(mine)}: {verdict} the mark."
        )
    return out
