"""The whole comparison as a function of arrays: rows, seeds, differences, honest sentences."""

import numpy as np
import pytest
from seizure_patients import a_comparison, people, prediction

from brainfm.detect.alarms import AlarmRule
from brainfm.errors import DataError
from eval.report import json_text
from eval.seizure.evaluate import evaluate, latency_summary, models_of
from eval.seizure.points import POINTS

N = 6


@pytest.fixture(scope="module")
def result():
    return evaluate(*a_comparison(N), n_resamples=200)


def row(result, model, point="0.5"):
    return next(r for r in result["rows"] if (r["model"], r["point"]) == (model, point))


def test_every_model_has_every_operating_point(result):
    assert [(r["model"], r["point"]) for r in result["rows"]] == [
        (m, p) for m in ("good", "twin") for p in POINTS
    ]
    assert result["models"] == {"good": 1, "twin": 2} and result["reference"] == "good"


def test_an_easy_detector_is_seen_to_be_right(result):
    best = row(result, "good", "best F1")
    assert best["macro"]["f1"]["mean"] == 1 and best["macro"]["f1"]["low"] == 1
    assert best["counts"]["tp"] == N and best["latency"]["detected"] == N
    assert row(result, "good")["macro"]["auroc"]["mean"] > 0.99


def test_seeds_are_averaged_and_their_spread_shown(result):
    value = row(result, "twin")["macro"]["auroc"]
    assert len(value["runs"]) == 2 and value["mean"] == pytest.approx(np.mean(value["runs"]))
    assert value["sd"] > 0 and value["low"] < value["mean"] < value["high"]
    assert row(result, "good")["macro"]["auroc"]["sd"] is None
    assert models_of(["a#1", "b", "a#2"]) == {"a": ["a#1", "a#2"], "b": ["b"]}


def test_differences_are_those_of_the_rows_and_have_intervals(result):
    d = next(d for d in result["differences"] if d["metric"] == "auroc")
    gap = [row(result, m)["macro"]["auroc"]["mean"] for m in ("good", "twin")]
    assert d["difference"] == pytest.approx(gap[0] - gap[1])
    assert 0 < d["low"] < d["difference"] < d["high"] and d["p"] < 0.05


def test_the_same_call_gives_the_same_numbers():
    a, b = (evaluate({"m": people()}, n_resamples=50) for _ in range(2))
    assert json_text(a) == json_text(b)


def test_patients_are_listed_with_their_counts(result):
    rows = [r for r in result["subjects"] if r["model"] == "good" and r["point"] == "best F1"]
    assert [r["subject"] for r in rows] == [f"t{i}" for i in range(N)]
    assert all(r["ref"] == 1 and r["tp"] == 1 and r["latency_s"] >= 0 for r in rows)


def test_thresholds_come_from_validation_patients_and_say_so(result):
    points = result["points"]["twin#1"]
    assert "3 validation patients" in points["best F1"]["how"]
    assert "less than a day" in points["1 FP/day"]["how"]
    with pytest.raises(DataError, match="must come from other people"):
        evaluate({"m": people()}, {"m": people()})


def test_no_seizure_at_all_is_said_in_a_sentence():
    free = [prediction(f"t{i}", ()) for i in range(3)]
    r = evaluate({"m": free}, n_resamples=20)
    assert any("No tested recording holds a seizure" in s for s in r["sentences"])
    assert np.isnan(row(r, "m")["macro"]["sensitivity"]["mean"])
    assert row(r, "m")["pooled"]["fp_per_hour"]["mean"] == 0


def test_seizure_free_patients_simulations_and_lone_patients_are_said():
    some = [*people(n=2, simulated=True), prediction("free", (), simulated=True)]
    said = " ".join(evaluate({"m": some}, n_resamples=20)["sentences"])
    assert "1 of 3 patients have no seizure" in said and "simulated" in said
    assert "fewer than 5 patients" in said and "no validation patients" in said
    alone = evaluate({"m": people(n=1)}, n_resamples=20)
    assert any("One patient cannot be resampled" in s for s in alone["sentences"])
    assert row(alone, "m")["macro"]["f1"]["low"] is None


def test_a_detector_without_any_signal_is_no_detector_of_nothing():
    blind = [prediction(f"t{i}", proba=np.nan) for i in range(2)]
    r = row(evaluate({"m": blind}, n_resamples=20), "m")
    assert r["pooled"]["no_signal"]["mean"] == 1 and r["macro"]["sensitivity"]["mean"] == 0
    assert np.isnan(r["pooled"]["auroc"]["mean"]) and np.isnan(r["macro"]["kappa"]["mean"])


def test_nothing_to_score_or_to_compare_with_is_refused():
    with pytest.raises(DataError, match="no model to score"):
        evaluate({})
    with pytest.raises(DataError, match="judged no recording"):
        evaluate({"m": []})
    with pytest.raises(DataError, match="no model 'x'"):
        evaluate({"m": people(n=2)}, reference="x", n_resamples=20)


def test_latency_is_summed_up_over_detected_seizures():
    s = latency_summary(np.array([4.0, np.nan, 8.0, 6.0]))
    assert (s["median"], s["detected"], s["of"]) == (6.0, 3, 4)
    none = latency_summary(np.array([np.nan]))
    assert np.isnan(none["median"]) and (none["detected"], none["of"]) == (0, 1)


def test_the_order_of_recordings_changes_nothing():
    forth, back = people(), people()[::-1]
    a, b = (evaluate({"m": p}, n_resamples=50) for p in (forth, back))
    assert json_text(a["rows"]) == json_text(b["rows"])


def test_a_quiet_seizure_free_patient_only_lowers_false_alarm_rates():
    noisy = [prediction(f"t{i}", proba=lambda t, y: np.where(t > 400, 0.9, y)) for i in range(3)]
    quiet = prediction("free", (), proba=0.0, duration=1800.0)
    a, b = (evaluate({"m": p}, n_resamples=20) for p in (noisy, [*noisy, quiet]))
    a, b = row(a, "m"), row(b, "m")
    for way in ("macro", "pooled"):
        for metric in ("sensitivity", "precision", "f1", "sample_f1"):
            assert a[way][metric]["mean"] == b[way][metric]["mean"], (way, metric)
    assert b["pooled"]["fp_per_day"]["mean"] == a["pooled"]["fp_per_day"]["mean"] / 2 > 0


def test_the_rule_of_alarms_is_obeyed():
    patients = {"m": [prediction("t", ((100, 130),))]}
    short = row(evaluate(patients, rule=AlarmRule(smooth_s=0.0), n_resamples=20), "m")
    long = row(evaluate(patients, rule=AlarmRule(smooth_s=0.0, min_s=60.0), n_resamples=20), "m")
    assert short["macro"]["sensitivity"]["mean"] == 1
    assert long["macro"]["sensitivity"]["mean"] == 0


def test_a_run_without_validation_patients_says_so_beside_one_that_has_them():
    test, val = a_comparison()
    val["twin#2"] = []
    r = evaluate(test, val, n_resamples=20)
    assert "no validation patients" in r["points"]["twin#2"]["best F1"]["how"]
    assert not row(r, "twin", "best F1")["chosen"] and row(r, "good", "best F1")["chosen"]


def test_intervals_are_narrower_with_more_patients():
    def width(n):
        half = [prediction(f"t{i}", proba=None if i % 2 else 0.0) for i in range(n)]
        f1 = row(evaluate({"m": half}, n_resamples=300), "m")["macro"]["f1"]
        assert f1["mean"] == 0.5
        return f1["high"] - f1["low"]

    assert width(40) < 0.6 * width(10)
