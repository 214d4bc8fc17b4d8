"""Sentences about figures: they follow the figures, also when those are unwelcome."""

import numpy as np
import pytest

from eval.probe.figures import bars, confusions, learning_curves
from eval.probe.pages import describe, markdown
from eval.probe.run import best_row, table_rows
from eval.probe.words import target_met, verdict
from eval.report import figure_png


def row(route: str, sort: str, value: float) -> dict:
    metric = {"mean": value, "sd": None, "low": value - 0.1, "high": value + 0.1, "seeds": [value]}
    names = ("balanced_accuracy", "accuracy", "kappa", "macro_f1", "auroc")
    return {
        "route": route,
        "sort": sort,
        "n_seeds": 1,
        **dict.fromkeys(names, metric),
        "confusion": [[8, 2], [3, 7]],
        "choices": ["C=1"],
        "scores": {},
        "history": [[0.7, 0.5], [0.8, 0.6]] if "tune" in route else [[]],
        "fit_s": 1.0,
    }


def result(model: float = 0.7, control: float = 0.6, baseline: float = 0.65, **kwargs) -> dict:
    def difference(a, b, about, d, half=0.02):
        return {
            "a": a, "b": b, "about": about, "difference": d, "low": d - half, "high": d + half,
            "p": 0.01,
        }  # fmt: skip

    return {
        "dataset": "d",
        "title": "Data (EEG)",
        "classes": ["left", "right"],
        "split": "official",
        "folds": ["official"],
        "n_train": [40],
        "n_test": 20,
        "left_out": 0,
        "test_counts": [10, 10],
        "channels": 4,
        "seconds_per_trial": 2.0,
        "simulated": False,
        "seen_in_pretraining": False,
        "rows": [
            row("EEGNet", "baseline", baseline),
            row("fine-tune, random init", "control", control),
            row("fine-tune", "model", model),
        ],
        "differences": [
            difference("fine-tune", "fine-tune, random init", "pretraining", model - control),
            difference("fine-tune", "EEGNet", "baseline", model - baseline),
        ],
        "verdict": ["Words."],
        **kwargs,
    }


def test_a_clear_gain_is_called_a_gain():
    assert "pretraining beats random init" in verdict(result(0.7, 0.6))[0]


@pytest.mark.parametrize("control", [0.69, 0.7, 0.71])
def test_no_clear_gain_is_said_in_words(control):
    assert "pretraining does not beat random init" in verdict(result(0.7, control))[0]


def test_a_loss_is_called_a_loss():
    assert "pretraining is worse than random init" in verdict(result(0.6, 0.7))[0]


@pytest.mark.parametrize(("baseline", "met"), [(0.65, True), (0.7, True), (0.75, False)])
def test_the_target_is_the_best_baseline(baseline, met):
    found = result(0.7, baseline=baseline)
    assert target_met(found) is met
    assert ("no worse" if met else "is worse") in " ".join(verdict(found))


def test_without_a_model_there_is_no_target():
    found = result()
    found["rows"] = found["rows"][:1]
    assert target_met(found) is None
    assert best_row(found["rows"], "model") is None


def test_a_figure_too_good_for_a_negative_control_is_called_a_leak():
    assert any("leak" in s for s in verdict(result(0.9, dataset="aeon_eyes")))
    assert not any("leak" in s for s in verdict(result(0.55, 0.5, 0.5, dataset="aeon_eyes")))


def test_what_pretraining_may_have_seen_is_said():
    assert any(
        "pretraining" in s and "labels" in s for s in verdict(result(seen_in_pretraining=True))
    )


def test_the_best_of_each_sort_is_marked():
    marked = {r["route"]: r["_class"] for r in table_rows(result())}
    assert marked == {
        "EEGNet": "best", "fine-tune, random init": "control", "fine-tune": "best",
    }  # fmt: skip


def test_brief_tables_keep_the_interval_of_one_metric():
    brief = table_rows(result(), brief=True)[0]
    assert isinstance(brief["balanced accuracy"], dict)
    assert isinstance(brief["kappa"], float)


def test_the_description_counts_trials_and_channels():
    text = describe(result(left_out=3))
    assert "40 training and 20 test trials (10 left, 10 right)" in text
    assert "3 trials with other channels" in text
    assert markdown(result()).startswith("## Data (EEG)")


@pytest.mark.parametrize("draw", [bars, confusions, learning_curves])
def test_figures_are_drawn_from_json_values(draw):
    png = figure_png(draw(result()))
    assert png[:4] == b"\x89PNG" and len(png) > 5000


def test_no_learning_curve_without_a_fine_tune():
    found = result()
    found["rows"] = [r | {"history": [[]]} for r in found["rows"]]
    assert learning_curves(found) is None
    assert np.isfinite(target_met(found))
