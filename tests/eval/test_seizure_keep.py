"""The threshold that validation patients chose stays with the weights, or nothing is touched."""

import json

import pytest
import torch
from seizure_patients import a_comparison, people, prediction

from brainfm.data import publish as store_publish
from brainfm.detect.alarms import AlarmRule
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.errors import DataError
from brainfm.hub import load_model
from brainfm.models.mvpformer import MVPFormerConfig
from eval.seizure import keep as module
from eval.seizure.evaluate import evaluate
from eval.seizure.keep import keep, require_keepable

RULE = AlarmRule(smooth_s=4.0, min_s=2.0, merge_s=20.0)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = SeizureDetectorConfig(MVPFormerConfig(preset="test", band=3), context=8)
    return str(SeizureDetector(config).save_pretrained(tmp_path / "good"))


@pytest.fixture(scope="module")
def result():
    return evaluate(*a_comparison(), rule=RULE, n_resamples=0)


def test_a_kept_threshold_is_read_back_with_its_rule_and_its_origin(folder, result):
    before = load_model(folder)
    (said,) = keep("best F1", {"good": folder}, result)
    after = load_model(folder)
    chosen = result["points"]["good"]["best F1"]["threshold"]
    assert chosen != 0.5 and after.config.alarm == AlarmRule(chosen, 4.0, 2.0, 20.0)
    assert after.config.threshold_from.startswith("best F1: highest event F1 (1.00) on 3 valid")
    assert said.startswith(folder) and f"threshold {chosen:g} is kept (best F1: " in said
    assert after.config.encoder == before.config.encoder
    for (name, a), b in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_the_model_card_says_what_the_configuration_says(folder, result, tmp_path):
    keep("1 FP/day", {"good": folder}, result)
    card = (tmp_path / "good" / "README.md").read_text()
    chosen = result["points"]["good"]["1 FP/day"]["threshold"]
    assert f"'threshold': {chosen}" in card and "'threshold': 0.5" not in card


def test_a_kept_threshold_survives_saving_again(folder, result, tmp_path):
    keep("best F1", {"good": folder}, result)
    again = load_model(load_model(folder).save_pretrained(tmp_path / "copy"))
    assert again.config == load_model(folder).config and again.config.threshold_from


def test_thresholds_of_simulated_patients_are_said_to_be_that(folder):
    test, val = people(n=2, simulated=True), people("v", n=2, simulated=True)
    made = evaluate({"good": test}, {"good": val}, n_resamples=0)
    assert keep("best F1", {"good": folder}, made)[0].endswith("validation patients (simulated))")


def test_a_point_that_no_threshold_reaches_is_not_kept_for_anybody(folder, tmp_path):
    loud, val = [prediction("t", proba=1.0)], [prediction("v", proba=1.0, duration=6000.0)]
    fine = {"good": people(n=1), "loud": loud}
    fine["loud"] = [prediction("t0", ((150, 210),), 1.0)]
    made = evaluate(
        fine,
        {"good": [prediction("v", duration=6000.0)], "loud": val},
        n_resamples=0,
    )
    before = (tmp_path / "good" / "config.json").read_bytes()
    with pytest.raises(DataError, match="'loud' has no such threshold.*nothing was kept"):
        keep("1 FP/day", {"good": folder, "loud": folder}, made)
    assert (tmp_path / "good" / "config.json").read_bytes() == before


def test_a_disk_that_refuses_leaves_the_configuration_as_it_was(
    folder, result, tmp_path, monkeypatch
):
    before = (tmp_path / "good" / "config.json").read_bytes()

    def full(a, b):
        raise OSError("no space left")

    monkeypatch.setattr(store_publish.os, "replace", full)
    with pytest.raises(DataError, match=r"config\.json: could not be written"):
        keep("best F1", {"good": folder}, result)
    assert (tmp_path / "good" / "config.json").read_bytes() == before
    assert json.loads(before) and not list((tmp_path / "good").glob(".*"))


def test_what_could_not_be_kept_is_refused_before_anything_is_scored(folder, monkeypatch):
    require_keepable("best F1", {"good": folder}, [3])
    with pytest.raises(DataError, match="no validation patients"):
        require_keepable("best F1", {"good": folder}, [])
    with pytest.raises(DataError, match="no detector to keep it"):
        require_keepable("best F1", {}, [3])
    monkeypatch.setattr(module.os, "access", lambda *a: False)
    with pytest.raises(DataError, match=r"good.config\.json cannot be written to"):
        require_keepable("best F1", {"good": folder}, [3])
