"""Predictions are checked on entry; counts, averages over patients and their intervals."""

import numpy as np
import pytest
from seizure_patients import STEP_S, prediction
from sklearn.metrics import cohen_kappa_score, f1_score

from brainfm.data.seizures import label_steps
from brainfm.detect.alarms import AlarmRule
from brainfm.errors import DataError
from brainfm.types import Event
from eval.seizure.bootstrap import difference, interval, summary, weights
from eval.seizure.counts import averages, by_subject, count, latency_table, values_of
from eval.seizure.predictions import Prediction, require_disjoint, require_same_windows

RAW = AlarmRule(smooth_s=0.0, min_s=0.0, merge_s=0.0)


def test_labels_follow_the_rule_of_training():
    p = prediction(seizures=((101, 103), (250, 250.5), (399, 402)))
    want = label_steps([Event(*s[:1], s[1] - s[0], "sz") for s in p.spans], 0.0, 300, STEP_S)
    assert np.array_equal(p.label_S, want == 1)


def test_alarms_start_anew_behind_a_gap():
    time = np.concatenate([np.arange(1, 51), np.arange(101, 151)]) * STEP_S
    proba = np.full(100, 0.9)
    p = Prediction("r", "a", 400.0, STEP_S, time, proba, [])
    assert p.alarms(AlarmRule()) == [(0.0, 100.0), (200.0, 300.0)]
    held = AlarmRule(min_s=5.0)
    assert p.delay_s(held) == 6.0 and p.delay_s(RAW) == 2.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seizures": None}, "nobody annotated"),
        ({"proba_S": np.full(10, 1.2)}, "lies outside 0 to 1"),
        ({"proba_S": np.full(10, -0.1)}, "lies outside 0 to 1"),
        ({"proba_S": np.full(10, np.inf)}, "lies outside 0 to 1"),
        ({"proba_S": np.full(9, 0.5)}, "9 probabilities for 10 steps"),
        ({"duration_s": 10.0}, "steps must lie in order inside"),
        ({"time_S": np.arange(10.0)}, "steps must lie in order inside"),
        ({"duration_s": np.nan}, "positive numbers"),
        ({"step_s": 0.0}, "positive numbers"),
    ],
)
def test_impossible_predictions_are_refused_by_name(change, says):
    fine = {"duration_s": 20.0, "step_s": 2.0, "time_S": np.arange(1, 11) * 2.0}
    fine |= {"proba_S": np.full(10, 0.5), "seizures": []}
    Prediction("x.edf", "a", **fine)
    with pytest.raises(DataError, match=says) as e:
        Prediction("x.edf", "a", **{**fine, **change})
    assert "x.edf" in str(e.value)


def test_a_tested_patient_chooses_no_threshold():
    require_disjoint([prediction("a")], [prediction("b")])
    with pytest.raises(DataError, match="patient 'a'"):
        require_disjoint([prediction("a")], [prediction("a", name="other.edf")])


def test_models_are_compared_on_the_same_windows_only():
    a, b = prediction("a"), prediction("b")
    require_same_windows({"x": [a, b], "y": [b, a]})
    for others, says in (
        ([a], "judged by only one"),
        ([a, b, prediction("c")], "judged by only one"),
        ([a, prediction("b", duration=500.0)], "did not judge the same"),
        ([a, prediction("b", seizures=())], "did not judge the same"),
        ([a, b, b], "twice"),
    ):
        with pytest.raises(DataError, match=says):
            require_same_windows({"x": [a, b], "y": others})


def test_counts_of_a_recording_with_known_alarms():
    def raised(t, y):
        return np.where((t > 110) & (t <= 150) | (t > 2000) & (t <= 2010), 0.8, 0.2)

    p = prediction(seizures=((100, 160), (400, 420)), duration=3600.0, proba=raised)
    c = count(p, RAW)
    assert (c["tp"], c["fp"], c["ref"], c["tp_strict"], c["seizures"]) == (1, 1, 2, 1, 2)
    assert (c["seconds"], c["interictal_s"], c["alarm_s"]) == (3600, 3520, 50)
    v = {k: float(x) for k, x in values_of(c).items()}
    assert v["fp_per_hour"] == 1 and v["fp_per_day"] == 24
    assert v["fp_per_interictal_hour"] == pytest.approx(3600 / 3520)
    assert v["warning"] == pytest.approx(50 / 3600) and v["no_signal"] == 0
    assert v["sample_sensitivity"] == pytest.approx(40 / 80)


def test_window_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    p = prediction(proba=lambda t, y: np.clip(rng.normal(0.4 + 0.3 * y, 0.2), 0, 1))
    v = values_of(count(p, RAW))
    said = p.proba_S >= 0.5
    assert v["kappa"] == pytest.approx(cohen_kappa_score(p.label_S, said))
    assert v["window_f1"] == pytest.approx(f1_score(p.label_S, said))


def test_steps_without_signal_are_counted_apart():
    p = prediction(proba=lambda t, y: np.where(t > 300, np.nan, np.where(y, 0.9, 0.1)))
    c = count(p, RAW)
    assert c["unseen"] == 150 and values_of(c)["no_signal"] == 0.5
    assert c["window_tp"] + c["window_tn"] + c["window_fp"] + c["window_fn"] == 150
    assert values_of(c)["kappa"] == 1  # what was seen was judged right


def patients():
    """Found; missed in silence; missed with a false alarm; seizure-free and quiet; and not."""

    def late(t, y):
        return np.where(t > 500, 0.9, 0.1)

    free = {"seizures": ()}
    return [
        prediction("a"),
        prediction("b", proba=0.0),
        prediction("c", proba=late),
        prediction("d", proba=0.0, **free),
        prediction("e", proba=late, **free),
    ]


def averaged(predictions, weight=None):
    counts = by_subject(predictions, RAW)
    weight = np.ones((1, len(counts))) if weight is None else np.asarray(weight, float)
    return averages(counts, weight)


def test_no_detection_is_precision_zero_in_macro_and_left_out_in_szcore():
    a = averaged(patients())
    macro, szcore, pooled = (
        {k: v[0] for k, v in a[w].items()} for w in ("macro", "szcore", "pooled")
    )
    assert macro["sensitivity"] == szcore["sensitivity"] == pytest.approx(1 / 3)
    assert macro["precision"] == pytest.approx(1 / 3)  # a 1, b 0, c 0
    assert szcore["precision"] == pytest.approx(1 / 3)  # a 1, c 0, e 0; b and d drop out
    assert macro["f1"] == pytest.approx(1 / 3)  # a 1, b 0, c 0
    assert szcore["f1"] == pytest.approx(1 / 4)  # and e 0
    assert pooled["sensitivity"] == pytest.approx(1 / 3)
    assert pooled["precision"] == pytest.approx(1 / 3)  # one hit, two false alarms
    two = averaged(patients()[:2])
    assert two["szcore"]["precision"][0] == 1 and two["macro"]["precision"][0] == 0.5


def test_seizure_free_patients_stay_in_the_denominator_of_false_alarms():
    a = averaged(patients())
    assert a["pooled"]["fp_per_hour"][0] == pytest.approx(2 / (5 * 600 / 3600))
    assert a["macro"]["fp_per_hour"][0] == pytest.approx(np.mean([0, 0, 6, 0, 6]))


def test_recordings_of_a_patient_are_added_up():
    counts = by_subject([prediction("a"), prediction("a", name="2.edf", seizures=())], RAW)
    assert list(counts.index) == ["a"] and counts.loc["a", "seconds"] == 1200


def test_a_resample_is_the_average_over_the_patients_drawn():
    drawn = averaged(patients(), [[2, 0, 0, 0, 1], [0, 0, 0, 1, 0]])
    again = averaged([*patients()[:1], prediction("a2"), patients()[4]])
    for way in drawn:
        for metric, value in drawn[way].items():
            assert value[0] == pytest.approx(again[way][metric][0], nan_ok=True), (way, metric)
    assert np.isnan(drawn["macro"]["f1"][1])  # nobody with a seizure was drawn


def test_latencies_of_missed_seizures_are_nan():
    table = latency_table(patients(), RAW)
    assert table["subject"].tolist() == ["a", "b", "c"]
    assert table["latency_s"].tolist()[0] == 2.0 and table["latency_s"].isna().sum() == 2


def test_intervals_come_from_patients_and_are_repeatable():
    w = weights(6, 500, 3)
    assert w.shape == (500, 6) and (w.sum(1) == 6).all()
    assert np.array_equal(w, weights(6, 500, 3)) and not np.array_equal(w, weights(6, 500, 4))
    assert len(weights(1, 500, 3)) == 0 and interval(np.zeros(0)) == (None, None)
    one = summary(np.array([0.5]), np.linspace(0, 1, 101))
    assert one["sd"] is None and (one["low"], one["high"]) == pytest.approx((0.025, 0.975))
    assert summary(np.array([0.4, 0.6]), np.zeros(3))["sd"] == pytest.approx(0.1414, abs=1e-4)


def test_differences_are_paired():
    a = np.random.default_rng(0).normal(size=1000)
    d = difference(0.6, 0.5, a + 0.1, a)
    assert d["difference"] == pytest.approx(0.1)
    assert (d["low"], d["high"]) == pytest.approx((0.1, 0.1)) and d["p"] == 0.001
    assert difference(0.5, 0.5, a, a)["p"] == 1.0
    assert difference(0.5, 0.5, np.zeros(0), np.zeros(0))["p"] is None
