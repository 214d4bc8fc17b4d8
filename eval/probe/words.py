"""What a probe's figures mean, in sentences that do not flatter."""

from __future__ import annotations

from typing import Any

from eval.probe.run import METRIC, best_row
from eval.tables import share

LEAK_ABOVE = {"aeon_eyes": 0.65}
"""Balanced accuracy above which a set that simple decoders leave at chance is suspect."""


def verdict(result: dict[str, Any]) -> list[str]:
    """Sentences on pretraining, baselines, the alignment and what may be wrong."""
    sentences = [_pretraining(result, d) for d in _about(result, "pretraining")]
    for d in _about(result, "baseline"):
        sentences.append(_against_baseline(result, d))
    for d in _about(result, "alignment"):
        sure = (
            "better than"
            if d["low"] > 0
            else "worse than"
            if d["high"] < 0
            else "not surely unlike"
        )
        sentences.append(
            f"The best model route is {sure} a logistic regression on the aligned input without "
            f"any network ({_figures(result, d)})."
        )
    if result["seen_in_pretraining"]:
        sentences.append(
            "These recordings belong to a training split: their signal, never their labels, may "
            "have been part of pretraining."
        )
    limit = LEAK_ABOVE.get(result["dataset"])
    high = [r["route"] for r in result["rows"] if limit and r[METRIC]["mean"] > limit]
    if high:
        sentences.append(
            f"Simple decoders stay near chance on this set; {', '.join(high)} above {limit:g} is "
            "a leak until shown otherwise."
        )
    if result["simulated"]:
        sentences.append("The data are simulated: nothing here says anything about brains.")
    return sentences


def _about(result: dict[str, Any], about: str) -> list[dict[str, Any]]:
    return [d for d in result["differences"] if d["about"] == about]


def _pretraining(result: dict[str, Any], d: dict[str, Any]) -> str:
    if d["low"] > 0:
        says = "pretraining beats random init"
    elif d["high"] < 0:
        says = "pretraining is worse than random init"
    elif d["difference"] > 0:
        says = (
            "pretraining does not beat random init beyond doubt: the interval of the difference "
            "holds zero"
        )
    else:
        says = "pretraining does not beat random init"
    return f"{d['a'].capitalize()}: {says} ({_figures(result, d)})."


def _against_baseline(result: dict[str, Any], d: dict[str, Any]) -> str:
    if d["difference"] >= 0:
        sure = "" if d["low"] > 0 else ", though the interval of the difference holds zero"
        says = f"is no worse than the best baseline ({d['b']}){sure}"
    else:
        sure = "" if d["high"] < 0 else ", within the interval of the difference"
        says = f"is worse than the best baseline ({d['b']}){sure}"
    return f"The best model route ({d['a']}) {says} ({_figures(result, d)})."


def _figures(result: dict[str, Any], d: dict[str, Any]) -> str:
    by_name = {r["route"]: r[METRIC]["mean"] for r in result["rows"]}
    return (
        f"balanced accuracy {share(by_name[d['a']])} against {share(by_name[d['b']])}, "
        f"{_interval(d)}"
    )


def _interval(d: dict[str, Any]) -> str:
    return (
        f"difference {_signed(d['difference'])}, 95 % interval {_signed(d['low'])} to "
        f"{_signed(d['high'])}"
    )


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "\N{MINUS SIGN}") + share(abs(value))


def target_met(result: dict[str, Any]) -> bool | None:
    """Whether the best model route is no worse than the best baseline; None if one is missing."""
    model, baseline = (best_row(result["rows"], s) for s in ("model", "baseline"))
    if model is None or baseline is None:
        return None
    return bool(model[METRIC]["mean"] >= baseline[METRIC]["mean"])
