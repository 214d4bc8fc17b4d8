"""Sentences and tables of a scored comparison: what is won, what is lost, and that it is said."""

import copy

import pytest

from eval.report import Report
from eval.speech.answers import CHANCE, DECODER, LINEAR, NO_BRAIN, WRONG_BRAIN
from eval.speech.pages import (
    add_section,
    describe,
    difference_rows,
    leading,
    markdown,
    patient_rows,
    score_rows,
    verdicts,
)

SYSTEMS = {
    "ours": (DECODER, 0.6),
    "nothing": (NO_BRAIN, 0.1),
    "shuffled": (WRONG_BRAIN, 0.9),
    "weak line": (LINEAR, 0.3),
    "line": (LINEAR, 0.5),
    "chance": (CHANCE, 0.05),
}


def difference(name, value, spread=0.02, metric="top-10", lower=False):
    return {
        "a": "ours", "b": name, "sort": SYSTEMS[name][0], "metric": metric, "lower": lower,
        "difference": value, "low": value - spread, "high": value + spread, "p": 0.01,
    }  # fmt: skip


def result(lower=False, line=0.5, simulated=True):
    """A comparison with one metric; `line` is what the best linear model reaches."""
    at = {name: value for name, (_, value) in SYSTEMS.items()} | {"line": line}
    metric = "WER" if lower else "top-10"
    rows = [
        {
            "system": name,
            "sort": sort,
            "seeds": 1,
            "scores": {metric: {"mean": at[name], "sd": None, "low": at[name] - 0.02,
                                "high": at[name] + 0.02, "runs": [at[name]]}},
            "patients": {metric: {"set/p1": at[name] + 0.1, "set/p2": at[name] - 0.1}},
        }
        for name, (sort, _) in SYSTEMS.items()
    ]  # fmt: skip
    return {
        "main": "ours", "head": "align", "title": "Segments", "rows": rows,
        "metrics": [{"name": metric, "pooled": False, "lower": lower}],
        "differences": [
            difference(n, at["ours"] - at[n], metric=metric, lower=lower)
            for n in ("nothing", "shuffled", "weak line", "line")
        ],
        "over": "sentences", "resamples": 10,
        "n": {"windows": 40, "sentences": 9, "patients": 2, "train_windows": 100,
              "val_windows": 5},
        "windows": {"unit": "segment"}, "simulated": simulated, "details": {},
        "notes": ["Pool: 40 stretches."], "facts": {},
    }  # fmt: skip


def test_the_strongest_rival_of_a_sort_is_the_one_that_is_named():
    linear, blind = verdicts(result())
    assert "ours beats the best linear model (line), .600 against .500" in linear
    assert "weak line" not in linear and linear.endswith("difference +.100 [+.080, +.120] *.")
    assert "ours beats what needs no brain (nothing)" in blind


@pytest.mark.parametrize(
    ("line", "says"),
    [(0.59, "is not surely unlike"), (0.61, "is not surely unlike"), (0.8, "is worse than")],
)
def test_what_is_lost_is_said_to_be_lost(line, says):
    first = verdicts(result(line=line))[0]
    assert f"ours {says} the best linear model (line)" in first and " *" not in first


def test_less_is_better_where_errors_are_counted():
    # Ours has .600 errors; the rival to fear is the one with the fewest.
    assert "ours is worse than the best linear model (line)" in verdicts(result(True, 0.2))[0]
    assert "ours is worse than the best linear model (weak line)" in verdicts(result(True, 0.7))[0]
    won = result(lower=True, line=0.7)
    won["differences"] = [d for d in won["differences"] if d["b"] != "weak line"]
    linear = verdicts(won)[0]
    assert "ours beats the best linear model (line), .600 against .700" in linear
    assert linear.endswith(
        "difference \N{MINUS SIGN}.100 [\N{MINUS SIGN}.120, \N{MINUS SIGN}.080] *."
    )


def test_without_an_interval_nothing_is_called_beaten():
    r = result()
    for d in r["differences"]:
        d["low"] = d["high"] = None
    first = verdicts(r)[0]
    assert "ours is ahead of the best linear model" in first and "*" not in first


def test_the_wrong_brain_can_never_be_the_best_of_a_column():
    rows = {r["system"]: r for r in score_rows(result())}
    assert rows["ours"]["_best"] == ["top-10"] and rows["shuffled"]["_best"] == []
    assert rows["ours"]["_class"] == "" and rows["line"]["_class"] == "control"
    best = {r["system"] for r in score_rows(result(lower=True)) if r["_best"]}
    assert best == {"chance"}, "the fewest errors"


def test_differences_have_a_row_each_and_a_star_only_where_zero_is_left_out():
    rows = {r["less"]: r["top-10"] for r in difference_rows(result(line=0.59))}
    assert set(rows) == {"nothing", "shuffled", "weak line", "line"}
    assert rows["line"] == "+.010 [\N{MINUS SIGN}.010, +.030]"
    assert rows["weak line"].endswith("*")
    assert rows["shuffled"].startswith("\N{MINUS SIGN}.300") and "*" not in rows["shuffled"]


def test_patients_are_named_without_their_data_set():
    rows = patient_rows(result())
    assert [r["patient"] for r in rows] == ["p1", "p2"]
    assert rows[0]["ours"] == pytest.approx(0.7) and rows[1]["line"] == pytest.approx(0.4)


def test_words_lead_where_words_are_decoded():
    r = result()
    r["metrics"] = [{"name": n} for n in ("PER greedy", "WER, lexicon", "CER")]
    assert leading(r) == "WER, lexicon"
    assert leading(result()) == "top-10"


@pytest.mark.parametrize("simulated", [True, False])
def test_only_what_is_simulated_is_called_so(simulated):
    r = result(simulated=simulated)
    report = Report("speech", "t", {})
    add_section(report, r, {})
    page, text = report.html(), markdown([r])
    assert ("SIMULATED DATA: nobody was recorded." in describe(r)) is simulated
    assert ("Segments (simulated)" in text) is simulated
    assert page.count("Simulated data, not a recording") == (3 if simulated else 0)


def test_the_file_holds_what_the_page_holds():
    r = result()
    text = markdown([r, copy.deepcopy(r)])
    assert text.count("### Segments") == 2 and text.count("Pool: 40 stretches.") == 2
    for line in (*verdicts(r), describe(r)):
        assert line in text
    for system in SYSTEMS:
        assert f"| {system} |" in text
    assert "40 segments of 9 sentences and 2 patients" in text
