"""The seizure demonstration's page: made of what the stages wrote, simulated said as simulated."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from seizure_patients import a_comparison, people

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.synthetic import synthetic_recording
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.errors import DataError
from brainfm.models.mvpformer import MVPFormerConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from eval.report import Report
from eval.seizure.demo import NO_REAL, STORE, bind
from eval.seizure.evaluate import evaluate

CONFIG = {"stages": {"score": "python -m eval.seizure"}}
COLUMNS = {"pretrain": "loss,accuracy", "finetune": "loss,sensitivity,false_alarm_rate"}
RECIPE = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=30.0)


def write_stages(runs, real):
    """What the stages leave behind, small."""
    test, val = a_comparison()
    Report("seizure", "t", evaluate(test, val, n_resamples=50)).write(runs / "score")
    for name in ("pretrain", "finetune", "random"):
        columns = COLUMNS.get(name, COLUMNS["finetune"])
        row = ",".join("0.5" for _ in columns.split(","))
        (runs / name).mkdir(parents=True, exist_ok=True)
        (runs / name / "train.csv").write_text(f"step,{columns}\n1,{row}\n2,{row}\n")
    if real:
        pairs = (("pretrained", 0.8), ("random", 0.2))
        one = {m: [replace(people("m", q, n=1)[0], recording="m.edf")] for m, q in pairs}
        Report("seizure", "t", evaluate(one, n_resamples=0)).write(runs / "real")
        sizes = MVPFormerConfig(preset="test", band=4)
        detector = SeizureDetector(SeizureDetectorConfig(sizes, context=8), Preprocess(RECIPE))
        detector.save_pretrained(runs / "finetune" / "export")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data root whose store holds a recording in the real one's place."""
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path / "data"))
    root = tmp_path / "data" / STORE
    recording = synthetic_recording(
        "EEG", 60.0, 4, sfreq=64.0, dataset="umich_seizure", split="test", seizure=True
    )
    write_recording(recording, root / "umich_seizure" / "m.safetensors", recipe=RECIPE)
    build_tables(root)


def test_the_page_holds_curves_scores_and_the_real_seizure(tmp_path, data):
    write_stages(tmp_path / "runs", real=True)
    result, page = bind(CONFIG, tmp_path / "runs", {"score": 1.5})
    text = page.read_text()
    assert text.count("<figure>") == 3 + 2 + 1
    assert "real scalp EEG" in text or "Michigan" in text
    assert "It is no evidence of how a detector does on people." in text
    assert (tmp_path / "runs" / "real" / "timeline.png").stat().st_size > 10_000
    assert any("Michigan (real, never trained on)" in line for line in result["verdicts"])
    kept = json.loads((tmp_path / "runs" / "report.json").read_text())
    assert kept["verdicts"] == result["verdicts"] and kept["stage_seconds"] == {"score": 1.5}


def test_verdicts_are_the_numbers_of_the_scores(tmp_path):
    write_stages(tmp_path, real=False)
    result, page = bind(CONFIG, tmp_path, {})
    rows = [r for r in result["score"]["rows"] if r["point"] == "best F1"]
    assert len(result["verdicts"]) == len(rows) + 1
    for row, line in zip(rows, result["verdicts"][:-1], strict=True):
        assert row["model"] in line and f"{row['macro']['f1']['mean']:.3f}".lstrip("0") in line
    assert NO_REAL in result["verdicts"] and NO_REAL[:40] in page.read_text()


def test_without_scores_the_missing_stage_is_named(tmp_path):
    with pytest.raises(DataError, match="stage 'score'"):
        bind(CONFIG, tmp_path, {})


def test_the_configuration_binds_here():
    root = Path(__file__).parents[2]
    config = yaml.safe_load((root / "configs" / "finetune" / "seizure_demo.yaml").read_text())
    assert config["report"] == bind.__module__
