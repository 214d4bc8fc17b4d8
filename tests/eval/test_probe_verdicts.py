"""Which figures lead to which sentence, one branch after the other."""

import pytest

from eval.probe.words import target_met, verdict

MODEL, CONTROL = "frozen probe", "frozen probe, random init"


def result(rows, differences=(), **kwargs):
    return {
        "dataset": "d",
        "rows": [
            {"route": route, "sort": sort, "balanced_accuracy": {"mean": mean}}
            for route, sort, mean in rows
        ],
        "differences": [
            {"a": a, "b": b, "about": about, "difference": d, "low": low, "high": high}
            for a, b, about, d, low, high in differences
        ],
        "seen_in_pretraining": False,
        "simulated": False,
        **kwargs,
    }


def about(kind, other, d, low, high):
    rows = [(MODEL, "model", 0.7), (other, "baseline", 0.7 - d)]
    return verdict(result(rows, [(MODEL, other, kind, d, low, high)]))


@pytest.mark.parametrize(
    ("d", "low", "high", "says"),
    [
        (0.1, 0.02, 0.18, "pretraining beats random init ("),
        (0.1, -0.02, 0.22, "does not beat random init beyond doubt"),
        (0.0, -0.1, 0.1, "pretraining does not beat random init ("),
        (-0.02, -0.1, 0.1, "pretraining does not beat random init ("),
        (-0.1, -0.18, -0.02, "pretraining is worse than random init ("),
        (0.1, 0.0, 0.2, "beyond doubt"),
    ],
)
def test_pretraining_is_judged_by_its_interval(d, low, high, says):
    [sentence] = about("pretraining", CONTROL, d, low, high)
    assert says in sentence and sentence.startswith("Frozen probe: ")


@pytest.mark.parametrize(
    ("d", "low", "high", "says"),
    [
        (0.1, 0.02, 0.18, "is no worse than the best baseline (EEGNet) ("),
        (0.0, 0.0, 0.0, "is no worse than the best baseline (EEGNet), though"),
        (0.1, -0.02, 0.22, "is no worse than the best baseline (EEGNet), though"),
        (-0.1, -0.22, 0.02, "is worse than the best baseline (EEGNet), within the interval"),
        (-0.1, -0.18, -0.02, "is worse than the best baseline (EEGNet) ("),
    ],
)
def test_a_baseline_is_met_or_not_and_the_doubt_is_said(d, low, high, says):
    [sentence] = about("baseline", "EEGNet", d, low, high)
    assert says in sentence


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.01, 0.2, "is better than"), (-0.2, -0.01, "is worse than"), (-0.1, 0.1, "not surely")],
)
def test_what_the_network_adds_to_its_aligned_input_is_said(low, high, says):
    [sentence] = about("alignment", "aligned input", (low + high) / 2, low, high)
    assert says in sentence and "without any network" in sentence


def test_sentences_carry_the_figures_with_signs():
    [sentence] = about("pretraining", CONTROL, -0.05, -0.1234, 0.02)
    assert "balanced accuracy .700 against .750" in sentence
    assert "difference \N{MINUS SIGN}.050" in sentence
    assert "interval \N{MINUS SIGN}.123 to +.020" in sentence


def test_baselines_alone_lead_to_no_sentence():
    assert verdict(result([("EEGNet", "baseline", 0.9)])) == []


@pytest.mark.parametrize("sort", ["model", "control", "baseline"])
def test_any_route_above_the_limit_of_a_negative_control_is_named(sort):
    rows = [("good", sort, 0.66), ("poor", "baseline", 0.5)]
    [sentence] = verdict(result(rows, dataset="aeon_eyes"))
    assert "leak" in sentence and "good" in sentence and "poor" not in sentence


def test_other_sets_may_be_decoded_well():
    assert verdict(result([("good", "model", 0.99)], dataset="aeon_blink")) == []


def test_simulated_data_and_seen_recordings_are_said_last():
    sentences = verdict(result([], simulated=True, seen_in_pretraining=True))
    assert "training split" in sentences[0] and "never their labels" in sentences[0]
    assert "simulated" in sentences[1] and len(sentences) == 2


@pytest.mark.parametrize(
    ("rows", "met"),
    [
        ([(MODEL, "model", 0.7), ("a", "baseline", 0.7)], True),
        ([(MODEL, "model", 0.7), ("a", "baseline", 0.6), ("b", "baseline", 0.71)], False),
        ([("weak", "model", 0.5), (MODEL, "model", 0.7), ("a", "baseline", 0.6)], True),
        ([(CONTROL, "control", 0.9), ("a", "baseline", 0.6)], None),
        ([(MODEL, "model", 0.7), (CONTROL, "control", 0.9)], None),
    ],
)
def test_the_target_compares_the_best_model_with_the_best_baseline(rows, met):
    assert target_met(result(rows)) is met
