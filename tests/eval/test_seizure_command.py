"""The command from a store and detectors to tables, figures and a report."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.seizures import label_steps, seizures_in
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.detect.alarms import AlarmRule
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.detect.score import Scores, score_stored
from brainfm.errors import ContractError, DataError
from brainfm.hub import load_model
from brainfm.models.mvpformer import MVPFormerConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Event
from eval.seizure import __main__ as command
from eval.seizure import run
from eval.seizure.judge import CAVEAT, MISSING

RECIPE = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=30.0)
SPLITS = ("train", "train", "train", "val", "val", "test", "test", "test")


def write(root, i, split, *, free=False, silent=False, dataset="simulated_clinic", **more):
    r = synthetic_recording(
        "EEG", 300.0, 6 + i % 3, i, sfreq=64.0, subject=f"{i}", dataset=dataset, split=split,
        seizure=not (free or silent), **more,
    )  # fmt: skip
    if free:
        r.events = [Event(0.0, r.duration_s, "bckg")]
    name = more.get("name", "")
    write_recording(r, root / dataset / f"sub-{i}{name}.safetensors", recipe=RECIPE)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Eight patients; the last has no seizure, and one tested recording nobody annotated."""
    root = tmp_path_factory.mktemp("clinic")
    for i, split in enumerate(SPLITS):
        write(root, i, split, free=i == 7)
    write(root, 5, "test", silent=True, name="unread")
    build_tables(root)
    return Store(root)


@dataclass
class Known:
    """A detector whose probabilities are known: .9 in seizures, .1 elsewhere, some noise."""

    noise: float = 0.0
    step_s: float = 2.0
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(alarm=AlarmRule()))
    preprocess: Preprocess = field(default_factory=lambda: Preprocess(RECIPE))

    def probabilities(self, batch):
        raise AssertionError("scoring is replaced in these tests")


def score(detector, store, row):
    """Stands in for `score_stored`."""
    n = int(store.recordings["n_samples"].iat[row])
    steps = int(n / 64 / detector.step_s)
    label = label_steps(seizures_in(store, row), 0.0, steps, detector.step_s)
    wobble = detector.noise * np.random.default_rng(row).normal(size=steps)
    return Scores.of(np.clip(0.1 + 0.8 * label + wobble, 0, 1), detector.step_s, n / 64)


@pytest.fixture(autouse=True)
def known_probabilities(monkeypatch):
    monkeypatch.setattr(run, "score_stored", score)
    monkeypatch.setattr(run, "installed", lambda: False)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two checkpoints whose content is replaced."""
    made = {str(tmp_path / "good"): Known(), str(tmp_path / "worse"): Known(0.4)}
    monkeypatch.setattr("brainfm.hub.load_model", lambda folder: made[str(folder)])
    return list(made)


def test_the_command_writes_tables_figures_and_a_report(store, folders, tmp_path, capsys):
    good, worse = folders
    out = tmp_path / "out"
    content = command.main(
        ["--checkpoint", good, "--checkpoint", f"twin={worse}", "--checkpoint", f"twin={worse}",
         "--store", str(store.root), "--recordings", "dataset == 'simulated_clinic'",
         "--split", "test", "--no-baselines", "--resamples", "50", "--out", str(out), "--json"]
    )  # fmt: skip
    said = capsys.readouterr().out
    last = json.loads(said.splitlines()[-1])
    assert last["name"] == "seizure" and last["models"] == {"good": 1, "twin": 2}
    row = next(r for r in content["rows"] if (r["model"], r["point"]) == ("good", "0.5"))
    assert row["macro"]["f1"]["mean"] == 1 and row["pooled"]["fp_per_day"]["mean"] == 0
    assert row["pooled"]["auroc"]["mean"] == 1 and row["counts"]["seconds"] == 900
    table = (out / "table.md").read_text()
    assert "**Simulated data, not recordings.**" in table and "twin (2 seeds)" in table
    page = (out / "report.html").read_text()
    assert page.count("<img") == 6 and page.count("Simulated data") >= 10
    assert json.loads((out / "report.json").read_text())["data"]["recordings"] == 3
    assert not list(out.glob(".*"))
    for sentence in ("sub-5unread.safetensors", "1 of 3 patients have no seizure", MISSING):
        assert sentence in " ".join(content["sentences"]), sentence


def test_baselines_are_scored_on_the_same_windows(store, tmp_path, monkeypatch):
    class Brief(run.ChannelEEGNet):
        def __init__(self, seed):
            super().__init__(seed, steps=2, batch=4, channels=2)

    monkeypatch.setattr(run, "ChannelEEGNet", Brief)
    few = "subject in ['0', '1', '3', '5']"
    content = command.compare(
        store, {"good": Known()}, tmp_path, query=few, seeds=2, n_resamples=20
    )
    assert list(content["models"]) == [
        "good", "always alarm", "prevalence", "line length + band power, LR",
        "line length + band power, boosting", "EEGNet, channels pooled",
    ]  # fmt: skip
    assert content["models"]["EEGNet, channels pooled"] == 2
    always = next(r for r in content["rows"] if r["model"] == "always alarm")
    assert always["macro"]["sensitivity"]["mean"] == 1 and always["pooled"]["warning"]["mean"] == 1
    learnt = next(r for r in content["rows"] if r["model"] == "line length + band power, LR")
    assert learnt["macro"]["auroc"]["mean"] > 0.95
    assert {d["a"] for d in content["differences"]} == {"good"}


def test_roles_come_from_splits_and_no_patient_has_two(store, tmp_path):
    roles = run.cast(store, None, "test")
    groups = store.recordings["split_group"]
    assert [len(r) for r in (roles.test, roles.validation, roles.train)] == [3, 2, 3]
    assert len(set(groups[roles.test]) | set(groups[roles.validation])) == 5
    assert any("unread" in n for n in roles.notes)
    roles.train.append(roles.test[0])
    with pytest.raises(DataError, match="give each patient one split"):
        run.require_apart(store, roles)


def test_other_people_can_teach(store, tmp_path):
    roles = run.cast(store, "subject == '7'", "test", "subject != '7'")
    assert len(roles.test) == 1 and len(roles.train) == 3 and len(roles.validation) == 2
    content = command.compare(
        store, {"good": Known()}, tmp_path, query="subject == '7'", baselines=False, n_resamples=20
    )
    assert any("no validation patients" in s for s in content["sentences"])
    assert any("No tested recording holds a seizure" in s for s in content["sentences"])


@pytest.mark.parametrize(
    ("query", "split", "says"),
    [
        ("name == 'unread'", "test", "none of these is annotated"),
        ("subject == '0'", "test", "0 are of split 'test'"),
        ("subject == 'nobody'", "test", "of 0 recordings"),
        ("hat == 3", "test", "columns are"),
    ],
)
def test_a_test_set_without_annotation_is_refused_by_name(store, query, split, says):
    with pytest.raises(DataError, match=says) as e:
        run.cast(store, query, split)
    if "unread" in query:
        assert "sub-5unread" in str(e.value)


def test_where_nobody_can_teach_only_the_constant_alarm_is_left(store):
    roles = run.cast(store, "split == 'test'", "test")
    test, val = run.predict_all(store, roles, {"good": Known()}, judge=False)
    assert list(test) == ["good", "always alarm"] and val["good"] == []
    assert any("no seizure to learn from" in n for n in roles.notes)


@pytest.mark.parametrize(("long_enough", "says"), [(True, CAVEAT), (False, "minute it needs")])
def test_the_judge_is_asked_where_it_applies(store, monkeypatch, long_enough, says):
    asked = []

    class Judge:
        name = "judge"

        def applies(self, reader, rows):
            return long_enough

        def predict(self, reader, row):
            asked.append(row)
            return score(Known(), reader.store, row)

    monkeypatch.setattr(run, "installed", lambda: True)
    monkeypatch.setattr(run, "OutsideJudge", Judge)
    roles = run.cast(store, None, "test")
    test, _ = run.predict_all(store, roles, {"good": Known()}, baselines=False)
    assert ("judge" in test) == bool(asked) == long_enough
    assert any(says in n for n in roles.notes)


def test_validation_patients_can_be_tested_too(store):
    roles = run.cast(store, None, "val")
    assert (len(roles.test), len(roles.validation), len(roles.train)) == (2, 0, 3)


def test_models_of_other_steps_are_not_compared(store):
    with pytest.raises(ContractError, match="'a' 2 s, 'b' 5 s"):
        run.common_step(store, {"a": Known(), "b": Known(step_s=5.0)})
    assert run.common_step(store, {}) == 128


def test_only_detectors_of_this_store_are_loaded(store, monkeypatch):
    monkeypatch.setattr("brainfm.hub.load_model", lambda folder: SimpleNamespace())
    with pytest.raises(ContractError, match="is no seizure detector"):
        run.load_detectors([("x", "folder")], store)
    other = Known(preprocess=Preprocess(Recipe(sfreq=128.0, lowpass_hz=40.0)))
    monkeypatch.setattr("brainfm.hub.load_model", lambda folder: other)
    with pytest.raises(ContractError, match="sfreq"):
        run.load_detectors([("x", "folder")], store)


def test_a_saved_detector_is_scored_from_its_folder(store, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "score_stored", score_stored)
    encoder = MVPFormerConfig(preset="test", window=128, band=3)
    detector = SeizureDetector(SeizureDetectorConfig(encoder, context=4), Preprocess(RECIPE))
    detector.save_pretrained(tmp_path / "tiny")
    content = command.main(
        ["--checkpoint", str(tmp_path / "tiny"), "--store", str(store.root), "--no-baselines",
         "--recordings", "subject in ['5', '7']", "--no-judge", "--resamples", "20",
         "--out", str(tmp_path / "out")]
    )  # fmt: skip
    assert content["data"]["step_s"] == detector.step_s == 2.0
    assert 0 < content["rows"][0]["pooled"]["auroc"]["mean"] < 1


def test_names_of_checkpoints():
    assert command.named("a=runs/x") == ("a", "runs/x")
    assert command.named("runs/pretrained/") == ("pretrained", "runs/pretrained/")


def test_the_command_keeps_a_threshold_where_detect_finds_it(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "score_stored", lambda d, *where: score(Known(), *where))
    detector = SeizureDetector(
        SeizureDetectorConfig(MVPFormerConfig(preset="test", window=128, band=3), context=4),
        Preprocess(RECIPE),
    )
    folder = detector.save_pretrained(tmp_path / "tiny")
    argv = ["--checkpoint", str(folder), "--store", str(store.root), "--no-baselines",
            "--resamples", "20", "--out", str(tmp_path / "out"), "--keep", "best F1"]  # fmt: skip
    content = command.main(argv)
    chosen = content["points"]["tiny"]["best F1"]["threshold"]
    assert load_model(folder).config.alarm.threshold == chosen != 0.5
    assert f"threshold {chosen:g} is kept (best F1: " in capsys.readouterr().out
    before = (folder / "config.json").read_bytes()
    with pytest.raises(DataError, match="no validation patients"):
        command.main([*argv, "--recordings", "split == 'test'"])
    with pytest.raises(SystemExit):
        command.main([*argv[:-1], "0.5"])
    assert (folder / "config.json").read_bytes() == before
