"""Tables and figures of a comparison: from `evaluate`, and from the JSON it left behind."""

import json

import numpy as np
import pytest
from seizure_patients import a_comparison, people, prediction

from brainfm.detect.alarms import AlarmRule
from eval.report import Report, json_text
from eval.seizure.evaluate import evaluate
from eval.seizure.figures import (
    colours,
    drawn_models,
    patient_bars,
    reliability_plot,
    shown_recordings,
    threshold_curves,
    timeline,
)
from eval.seizure.pages import (
    add_tables,
    brief_rows,
    describe,
    difference_rows,
    event_rows,
    latency_text,
    markdown,
    point_rows,
    rate_text,
    subject_rows,
    threshold_rows,
    way_rows,
    window_rows,
    with_best,
)
from eval.tables import cell

N = 6


@pytest.fixture(scope="module")
def result():
    return evaluate(*a_comparison(N), n_resamples=50)


@pytest.fixture(scope="module")
def seizure_free():
    """Nobody has a seizure: most ratios have no denominator."""
    return evaluate({"m": [prediction(f"t{i}", ()) for i in range(3)]}, n_resamples=20)


def again(result):
    """As report.json gives it back."""
    return json.loads(json_text(result))


def test_tables_hold_every_model_and_state_their_denominators(result):
    text = markdown(result)
    for word in ("twin (2 seeds)", "SzCORE-compatible", "FP/h interictal", "zero tolerance"):
        assert word in text
    assert "divide by all hours" in text and "**Simulated data" not in text
    assert "6 recordings of 6 patients, 1.0 h, 6 seizures" in describe(result)
    assert "3 other patients" in describe(result) and "smoothed over the last 10 s" in text
    rows = event_rows(result, "best F1")
    assert rows[0]["seizures found"] == "6/6"


def test_the_highest_value_is_set_off_whichever_model_has_it():
    test, val = a_comparison(N)
    backwards = dict(reversed(test.items())), dict(reversed(val.items()))
    made = evaluate(*backwards, n_resamples=20)
    assert made["reference"] == "twin"
    twin, good = window_rows(made)
    assert good["_best"] == ["AUROC", "AUROC pooled", "AUPRC", "AUPRC pooled"]
    assert twin["_best"] == [] and "_class" not in {**twin, **good}
    twin, good = event_rows(made, "0.5")
    assert good["_best"] == ["F1"] and twin["_best"] == []
    assert f"| **{cell(good['F1'])}** |" in markdown(made)


def test_best_is_said_among_models_at_one_point_and_ties_are_both():
    rows = [{"at": "a", "F1": 0.5}, {"at": "a", "F1": {"mean": 0.5}}, {"at": "b", "F1": 0.9}]
    rows += [{"at": "c", "F1": np.nan}, {"at": "c", "F1": None}]
    marked = with_best(rows, ["F1", "AUROC"], among="at")
    assert [r["_best"] for r in marked] == [["F1"], ["F1"], [], [], []]
    brief = brief_rows(evaluate(*a_comparison(2), n_resamples=0))
    assert [r["at"] for r in brief if "AUROC" in r["_best"]] == ["0.5", "best F1", "1 FP/day"]


def test_every_table_has_its_rows(result):
    assert len(brief_rows(result)) == len(way_rows(result)) == len(threshold_rows(result)) == 6
    assert [r["model"] for r in window_rows(result)] == ["good", "twin (2 seeds)"]
    assert len(subject_rows(result, "0.5", ["good"])) == N
    both = subject_rows(result, "0.5", ["twin", "good"])
    assert [r["model"] for r in both[:2]] == ["twin", "good"] and both[0]["patient"] == "t0"
    # Two chosen points of three runs; four metrics at three points and two that have none.
    assert len(point_rows(result)) == 6 and len(difference_rows(result)) == 4 * 3 + 2
    assert {r["at"] for r in difference_rows(result) if "AUROC" in r["metric"]} == {""}


def test_simulated_patients_are_called_so_in_every_caption():
    r = evaluate({"m": people(simulated=True)}, n_resamples=20)
    assert markdown(r).count("**Simulated data, not recordings.**") == 1
    report = Report("x", "x")
    add_tables(report, r)
    page = report.html()
    assert page.count("Simulated data, not a recording") == page.count("<table") - 1  # thresholds


@pytest.mark.parametrize("what", ["result", "seizure_free"])
def test_a_report_can_be_made_again_from_its_json(what, request):
    made = request.getfixturevalue(what)
    read = again(made)
    assert markdown(read) == markdown(made)
    assert "nan" not in markdown(made).lower().replace("nan dropped", "")
    for figure in (threshold_curves, reliability_plot):
        assert figure(read).axes
    assert drawn_models(read) == drawn_models(made)
    assert patient_bars(read, "0.5", drawn_models(read)).axes


def test_undefined_values_read_as_such(seizure_free):
    row = event_rows(seizure_free, "0.5")[0]
    assert row["latency, s"] == "n/a" and row["seizures found"] == "0/0"
    assert "| n/a |" in markdown(seizure_free)


def test_an_operating_point_that_is_none_is_marked():
    loud = {"m": [prediction("t", proba=1.0)]}
    val = {"m": [prediction("v", proba=1.0, duration=6000.0)]}
    r = evaluate(loud, val, n_resamples=20)
    assert event_rows(r, "1 FP/day")[0]["threshold"] == ".999*"
    assert event_rows(r, "0.5")[0]["threshold"] == ".500"
    assert "no threshold keeps to at most 0 false alarms" in markdown(r)


@pytest.mark.parametrize(
    ("mean", "low", "high", "says"),
    [
        (18.04, 0.0, 240.4, "18 [0, 240]"),
        (0.0, 0.0, 0.0, "0 [0, 0]"),
        (-288.0, None, None, "-288"),
        (None, None, None, "n/a"),
        (np.nan, None, None, "n/a"),
    ],
)
def test_rates_have_no_more_digits_than_they_deserve(mean, low, high, says):
    assert rate_text({"mean": mean, "sd": None, "low": low, "high": high}) == says


def test_latency_reads_as_median_and_quartiles():
    seen = {"median": 12.0, "q25": 8.0, "q75": 20.55, "detected": 3, "of": 4}
    assert latency_text(seen) == "12 [8, 20.6]" and latency_text(seen, brief=True) == "12"
    assert latency_text({**seen, "detected": 0}) == "n/a"


def test_recordings_are_shown_of_different_patients_and_one_without_seizure():
    shown = [*people(), prediction("t0", name="t0-again.edf"), prediction("free", ())]
    assert shown_recordings(shown) == ["t0-again.edf", "t1.edf", "t2.edf", "free.edf"]
    assert shown_recordings(people(n=2)) == ["t0.edf", "t1.edf"]


def test_bars_are_drawn_for_each_patient_and_model(result):
    bars = patient_bars(result, "best F1", ["good", "twin"])
    assert [len(ax.patches) for ax in bars.axes] == [2 * N, 2 * N]
    assert bars.axes[1].get_ylim()[1] >= 1  # no false alarm at all is not a tall bar


def test_the_timeline_shades_seizures_and_marks_lost_signal(result):
    p = prediction(proba=lambda t, y: np.where(t > 580, np.nan, np.where(y, 0.9, 0.1)))
    drawn = timeline("a.edf", {"good": p}, {"good": 0.5}, AlarmRule(), colours(result))
    (ax,) = drawn.axes
    assert ax.get_title(loc="left") == "good" and drawn.get_suptitle() == "a.edf"
    assert len(ax.patches) == 1 + 10  # a seizure, and ten steps without signal
    assert any(list(line.get_ydata()) == [1.12, 1.12] for line in ax.lines)  # its alarm


def test_each_model_has_one_colour_everywhere(result):
    made = colours(result)
    assert len(set(made.values())) == 2
    lines = {x.get_label(): x.get_color() for x in threshold_curves(result).axes[0].lines}
    assert {m: lines[m] for m in made} == made
