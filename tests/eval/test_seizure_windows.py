"""Rank scores, calibration and operating points against known answers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from seizure_patients import prediction
from sklearn.metrics import average_precision_score, roc_auc_score

from brainfm.detect.alarms import AlarmRule
from brainfm.errors import DataError
from eval.seizure.points import (
    BEST,
    FIXED,
    HIGHEST,
    POINTS,
    QUIET,
    best_f1,
    grid,
    operating_points,
    quiet,
    sweep,
)
from eval.seizure.windows import Windows, calibration_error, histogram, rank_scores, reliability

RAW = AlarmRule(smooth_s=0.0, min_s=0.0, merge_s=0.0)


def noisy(seed, gap=0.3):
    rng = np.random.default_rng(seed)
    return lambda t, y: np.clip(rng.normal(0.3 + gap * y, 0.2, len(t)), 0, 1)


def test_rank_scores_are_those_of_scikit_learn_ties_included():
    rng = np.random.default_rng(0)
    for digits in (1, 2, 6):
        y = rng.random(500) < 0.05
        p = np.clip(rng.normal(0.3 + 0.3 * y, 0.2), 0, 1).round(digits)
        auroc, auprc = rank_scores(*histogram(y, p))
        assert auroc[0] == pytest.approx(roc_auc_score(y, p))
        assert auprc[0] == pytest.approx(average_precision_score(y, p))


def test_one_class_has_no_rank_scores():
    auroc, auprc = rank_scores(*histogram(np.zeros(9, bool), np.linspace(0, 1, 9)))
    assert np.isnan(auroc[0]) and np.isnan(auprc[0])


def test_resampled_rank_scores_are_close_to_exact_ones():
    predictions = [
        prediction(f"s{i}", proba=noisy(i, 0.2 + 0.1 * i), duration=3600.0) for i in range(4)
    ]
    windows = Windows.of(predictions)
    exact = windows.values(np.ones((1, 4)))["pooled"]
    drawn = windows.values(np.ones((2, 4)))["pooled"]  # two rows: the way of resamples
    assert drawn["auroc"][0] == pytest.approx(exact["auroc"][0], abs=0.002)
    assert drawn["auprc"][0] == pytest.approx(exact["auprc"][0], abs=0.01)
    twice = Windows.of([*predictions, replace_subject(predictions[0])]).values(np.ones((1, 5)))
    weighted = windows.values(np.array([[2.0, 1, 1, 1]]))
    assert weighted["pooled"]["auroc"][0] == pytest.approx(twice["pooled"]["auroc"][0], abs=0.002)
    assert weighted["macro"]["auroc"][0] == pytest.approx(twice["macro"]["auroc"][0])
    assert weighted["pooled"]["brier"][0] == pytest.approx(twice["pooled"]["brier"][0])
    assert weighted["pooled"]["ece"][0] == pytest.approx(twice["pooled"]["ece"][0])


def replace_subject(p):
    return replace(p, subject=p.subject + "again", recording="again")


def test_patients_without_seizure_have_no_auroc_but_a_brier_score():
    predictions = [prediction("a"), prediction("b", seizures=(), proba=0.2)]
    values = Windows.of(predictions).values(np.eye(2))["macro"]
    assert values["auroc"][0] == 1 and np.isnan(values["auroc"][1])
    assert values["brier"] == pytest.approx([0.01, 0.04])


def test_windows_without_signal_have_no_part():
    p = prediction(proba=lambda t, y: np.where(t > 300, np.nan, np.where(y, 0.9, 0.1)))
    windows = Windows.of([p])
    assert len(windows.p_S) == 150
    assert windows.values(np.ones((1, 1)))["pooled"]["auroc"][0] == 1
    dead = prediction("b", proba=np.nan)
    assert np.isnan(Windows.of([dead]).values(np.ones((1, 1)))["pooled"]["auroc"][0])


def test_calibration_of_honest_and_boastful_probabilities():
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    assert calibration_error(reliability(rng.random(50_000) < p, p)) < 0.01
    assert calibration_error(reliability(np.zeros(100), np.full(100, 0.8))) == pytest.approx(0.8)
    n, total, seizures = reliability(np.array([1, 0, 1]), np.array([0.05, 0.95, 1.0]))
    assert n[[0, 9]].tolist() == [1, 2] and seizures[[0, 9]].tolist() == [1, 1]
    assert total[9] == pytest.approx(1.95)


def test_the_grid_holds_one_half_and_what_separates():
    tried = grid([prediction(proba=lambda t, y: np.where(y, 0.004, 0.002))])
    assert 0.5 in tried and ((tried > 0.002) & (tried <= 0.004)).any()
    assert (np.diff(tried) > 0).all() and tried.min() > 0 and tried.max() < 1


def test_best_f1_finds_the_only_threshold_that_works():
    def shy(t, y):
        return np.where(y, 0.33, np.where((t > 400) & (t < 420), 0.22, 0.01))

    val = [prediction("v", proba=shy)]
    points = operating_points([prediction("t", proba=shy)], val, RAW)
    assert 0.22 < points[BEST].threshold <= 0.33 and points[BEST].chosen
    assert "1.00" in points[BEST].sentence and "1 validation patients" in points[BEST].sentence
    assert points[FIXED].threshold == 0.5


def table(fp, hours, thresholds=(0.1, 0.3, 0.5, 0.7), **more):
    return pd.DataFrame(
        {"threshold": thresholds, "fp": fp, "seconds": hours * 3600.0, "ref": 3.0, **more}
    )


def test_quiet_is_the_lowest_threshold_from_which_on_it_is_quiet():
    point = quiet(table([9, 2, 1, 0], hours=48))
    assert point.threshold == 0.3 and "2 false alarms in 48.0 h" in point.sentence
    # Alarms that merge are fewer: .1 is quiet by accident, .3 is not.
    assert quiet(table([0, 5, 1, 0], hours=24)).threshold == 0.5


def test_less_than_a_day_allows_no_false_alarm_and_says_so():
    point = quiet(table([9, 2, 1, 0], hours=23.9))
    assert point.threshold == 0.7 and "less than a day cannot show 1 FP/day" in point.sentence
    assert "less than a day" not in quiet(table([9, 2, 1, 0], hours=24.0)).sentence


def test_where_nothing_is_quiet_the_highest_threshold_is_marked():
    point = quiet(table([9, 8, 7, 6], hours=24))
    assert (point.threshold, point.chosen) == (HIGHEST, False)
    assert "no threshold keeps to at most" in point.sentence


def test_ties_take_the_middle_of_the_longest_run():
    f1 = [0.5, 0.8, 0.2, 0.8, 0.8, 0.8]
    t = table(0, 24, thresholds=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), f1=f1)
    assert best_f1(t).threshold == 0.5


def test_without_seizures_or_patients_nothing_is_chosen():
    free = [prediction("v", seizures=(), proba=0.2)]
    points = operating_points([prediction("t")], free, RAW)
    assert (points[BEST].threshold, points[BEST].chosen) == (0.5, False)
    assert points[QUIET].chosen
    points = operating_points([prediction("t")], [], RAW)
    assert [points[n].threshold for n in POINTS] == [0.5] * 3
    assert not points[QUIET].chosen and "no validation patients" in points[QUIET].sentence


def test_thresholds_never_come_from_tested_patients():
    with pytest.raises(DataError, match="must come from other people"):
        operating_points([prediction("t")], [prediction("t", name="2")], RAW)


def test_a_sweep_pools_patients():
    both = [prediction("a"), prediction("b", proba=0.6)]
    swept = sweep(both, RAW, np.array([0.5, 0.7])).set_index("threshold")
    # At .5 patient b is one long alarm: two pieces, both touching the only seizure or not.
    assert swept.loc[0.5, "tp"] == 2 and swept.loc[0.5, "fp"] == 1
    assert swept.loc[0.7, "sensitivity"] == 0.5 and swept.loc[0.7, "fp_per_day"] == 0
