"""Means over patients, pooled rates, what is resampled, and paired differences."""

import numpy as np
import pytest

from eval.speech.pages import difference_rows, leading, score_rows, verdicts
from eval.speech.scores import Counts, Groups, Metric, by_patient, compare, summarise
from eval.speech.words import in_top

TOP, WER = Metric("top-1"), Metric("WER", pooled=True, lower=True)


def groups(patients, each=20):
    patient = np.repeat([f"p{i}" for i in range(patients)], each)
    sentence = np.array([f"{p}#{i // 4}" for i, p in enumerate(patient)])
    return Groups(patient, sentence)


def test_the_coarsest_group_with_enough_members_is_resampled():
    assert groups(5).over == "patients"
    assert groups(4).over == "sentences"
    assert groups(1, 8).over == "windows"
    w_RN = groups(5).weights(50, 0)
    assert all(len(set(row[k : k + 20])) == 1 for row in w_RN for k in range(0, 100, 20))
    w_RN = groups(4).weights(50, 0)
    assert all(len(set(row[k : k + 4])) == 1 for row in w_RN for k in range(0, 80, 4))


def test_patients_count_alike_however_many_windows_they_have():
    g = Groups(np.array(["a"] * 9 + ["b"]), np.arange(10).astype(str))
    hits = Counts.each([1] * 9 + [0])
    assert summarise([hits], g, TOP, g.weights(0, 0))["mean"] == 0.5
    assert summarise([hits], g, WER, g.weights(0, 0))["mean"] == 0.9
    assert by_patient([hits], g) == {"a": 1.0, "b": 0.0}


def test_pooled_rates_weigh_by_units():
    g = Groups(np.array(["a", "a"]), np.array(["1", "2"]))
    c = Counts(np.array([1.0, 3.0]), np.array([10.0, 6.0]))
    assert summarise([c], g, WER, g.weights(0, 0))["mean"] == 0.25


def test_the_interval_holds_the_truth_and_seeds_have_a_deviation():
    g, rng = groups(8, 50), np.random.default_rng(1)
    runs = [Counts.each(rng.uniform(size=400) < 0.3) for _ in range(2)]
    s = summarise(runs, g, TOP, g.weights(500, 0))
    assert s["low"] < 0.3 < s["high"] and s["high"] - s["low"] < 0.15
    assert s["sd"] == pytest.approx(np.std(s["runs"], ddof=1))


@pytest.mark.parametrize("n", [3, 8])
def test_a_difference_is_paired(n):
    g, rng = groups(n), np.random.default_rng(0)
    hard = rng.uniform(size=20 * n)
    a, b = (Counts.each(hard < at) for at in (0.6, 0.4))
    w = g.weights(500, 0)
    d = compare([a], [b], g, TOP, w)
    assert d["difference"] == pytest.approx(np.mean(hard < 0.6) - np.mean(hard < 0.4))
    assert 0 < d["low"] <= d["difference"] <= d["high"] and d["p"] < 0.05
    same = compare([a], [a], g, TOP, w)
    assert same["difference"] == same["low"] == same["high"] == 0


def test_ties_share_the_places_they_stand_for():
    score = np.array([[0.0, 0, 0, 0], [3, 2, 1, 0], [1, 1, 0, 0]])
    y = np.array([2, 1, 0])
    assert in_top(score, y, 1).tolist() == [0.25, 0.0, 0.5]
    assert in_top(score, y, 2).tolist() == [0.5, 1.0, 1.0]


def result(lower=False, mine=0.5, other=0.3, low=0.1, high=0.3):
    def row(name, sort, mean):
        score = {"mean": mean, "sd": None, "low": None, "high": None}
        return {"system": name, "sort": sort, "scores": {"m": score}, "patients": {"m": {}}}

    d = {"a": "ours", "b": "ridge", "sort": "linear", "metric": "m", "lower": lower}
    return {
        "main": "ours",
        "metrics": [{"name": "m", "pooled": False, "lower": lower}],
        "rows": [
            row("ours", "decoder", mine),
            row("ridge", "linear", other),
            row("shuffled pairs", "wrong brain", 0.0 if lower else 1.0),
        ],
        "differences": [{**d, "difference": mine - other, "low": low, "high": high, "p": 0.01}],
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "ours beats the best linear model (ridge), .500 against .300"),
        ({"lower": True}, "ours is worse than"),
        ({"low": -0.1}, "ours is not surely unlike"),
        ({"lower": True, "mine": 0.1, "low": -0.3, "high": -0.1}, "ours beats"),
    ],
)
def test_sentences_say_who_is_ahead_and_whether_it_is_sure(given, says):
    (sentence,) = verdicts(result(**given))
    assert says in sentence


def test_the_strongest_rival_is_the_one_that_counts():
    r = result()
    r["differences"].append({**r["differences"][0], "b": "LR", "difference": 0.4, "low": 0.3})
    assert "ridge" in verdicts(r)[0]


def test_tables_set_off_the_best_but_never_the_wrong_brain():
    for lower, best in ((False, "ours"), (True, "ridge")):
        rows = score_rows(result(lower=lower))
        assert [r["system"] for r in rows if r["_best"]] == [best]
    assert "*" in difference_rows(result())[0]["m"]
    assert "*" not in difference_rows(result(low=-0.1))[0]["m"]
    assert leading(result()) == "m"
