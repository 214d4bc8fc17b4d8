"""One data set from sealed trials to a table: the order of things, and answers known before."""

import json
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from brainfm.data.collate import batch_from_arrays
from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_channels, synthetic_recording
from brainfm.errors import ContractError, DataError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from eval.baselines import make_baseline
from eval.probe import __main__ as command
from eval.probe.routes import CONTROL_OF, FROZEN, RANDOM_FROZEN, Route, make_routes
from eval.probe.run import probe_dataset
from eval.probe.trials import ProbeSpec, spec_of
from eval.probe.words import verdict
from eval.report import json_text

RECIPE = Recipe(sfreq=64.0, lowpass_hz=24.0)
LEFT_OUT = ProbeSpec("simulated_eeg", split="leave-one-run-out")


def store_of(root, classes_of_run, permute=False, trials=16, effect=4.0):
    """Runs with a source of its own for each class; the last run is the test."""
    for i, classes in enumerate(classes_of_run):
        made = synthetic_recording(
            "EEG",
            2.0 * trials,
            8,
            classes=classes,
            effect=effect,
            sfreq=64.0,
            subject=f"{i + 1:02d}",
            name=f"run-{i}",
            split="test" if i == len(classes_of_run) - 1 else "train",
        )
        if permute:
            turn = np.random.default_rng(i).permutation(len(made.events))
            events = [
                e._replace(label=made.events[k].label)
                for e, k in zip(made.events, turn, strict=True)
            ]
            made = replace(made, events=events)
        write_recording(made, root / "simulated_eeg" / f"run-{i}.safetensors", recipe=RECIPE)
    build_tables(root)
    return Store(root)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("separable"), [("a", "b")] * 3)


class Told:
    """A decoder that answers `answer` for every trial and writes down what is asked of it."""

    def __init__(self, diary, name, answer):
        self.diary, self.name, self.answer = diary, name, answer

    def fit(self, x_NCT, y_N, group_N=None):
        self.diary.append(("fit", self.name))
        return self

    def predict_proba(self, x_NCT):
        self.diary.append(("predict", self.name))
        return np.eye(2)[np.full(len(x_NCT), self.answer)]


def told(diary, name, sort="model", seeds=(0,), answer=0):
    return Route(name, sort, seeds, lambda seed, train: Told(diary, name, answer))


def classical(name):
    return Route(name, "baseline", (0,), lambda seed, train: make_baseline(name, train.sfreq))


def row(result, name):
    return next(r for r in result["rows"] if r["route"] == name)


def accuracy(result, name):
    return row(result, name)["balanced_accuracy"]["mean"]


def test_test_trials_are_read_once_and_after_every_fit(store, monkeypatch):
    diary, read = [], store.read

    def spy(ref):
        if store.recordings["split"].iat[ref.recording] == "test":
            diary.append(("test trial", ref.start))
        return read(ref)

    monkeypatch.setattr(store, "read", spy)
    routes = [told(diary, "one", seeds=(0, 1)), told(diary, "two", "baseline")]
    probe_dataset(store, spec_of("simulated_eeg"), routes, n_resamples=10)
    what = [kind for kind, _ in diary]
    assert what.index("test trial") > max(i for i, kind in enumerate(what) if kind == "fit")
    starts = [start for kind, start in diary if kind == "test trial"]
    assert len(starts) == len(set(starts)) == 16


def test_every_seed_and_run_is_fitted_once_and_said(store):
    diary, said = [], []
    routes = [told(diary, "one", seeds=(0, 1)), told(diary, "two")]
    found = probe_dataset(store, LEFT_OUT, routes, n_resamples=10, say=said.append)
    assert [name for kind, name in diary if kind == "fit"].count("one") == 2 * 3
    assert len(said) == 3 * 3 and all(s.startswith("simulated_eeg: ") for s in said)
    assert found["n_test"] == 48 and found["n_train"] == [32] * 3
    assert len(row(found, "one")["accuracy"]["seeds"]) == 2


def test_a_source_for_each_class_is_decoded(store):
    found = probe_dataset(
        store, spec_of("simulated_eeg"), [classical("band power + LR")], n_resamples=50
    )
    assert accuracy(found, "band power + LR") > 0.9
    assert found["classes"] == ["a", "b"] and found["test_counts"].tolist() == [8, 8]


def test_permuted_labels_are_not_decoded(tmp_path):
    store = store_of(tmp_path, [("a", "b")] * 3, permute=True, trials=24)
    found = probe_dataset(store, LEFT_OUT, [classical("band power + LR")], n_resamples=200)
    value = row(found, "band power + LR")["balanced_accuracy"]
    assert value["low"] < 0.5 < value["high"] and value["mean"] < 0.7


def test_a_frozen_model_decodes_the_sources_and_stays_as_it_was(store, tmp_path):
    torch.manual_seed(0)
    model = BrainOmni(BrainOmniConfig(preset="test"), Preprocess(RECIPE))
    noise = 2e-5 * np.random.default_rng(0).normal(size=(8, 8, 128))
    batch = batch_from_arrays(noise, synthetic_channels("EEG", 8), 64.0, Normalise())
    model.tokenizer.initialise_codebooks(batch)
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    routes = make_routes(str(tmp_path), 64.0, sorts=("frozen",))
    found = probe_dataset(store, spec_of("simulated_eeg"), routes, n_resamples=50)
    assert accuracy(found, FROZEN) > 0.8
    assert row(found, FROZEN)["choices"] and row(found, FROZEN)["scores"]
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_class_that_one_fold_never_saw_is_not_confused_with_another(tmp_path):
    # Run 2 alone holds "b", which stands between "a" and "c" in every table.
    store = store_of(tmp_path, [("a", "c"), ("a", "c"), ("a", "c", "b")], trials=24)
    found = probe_dataset(store, LEFT_OUT, [classical("band power + LR")], n_resamples=10)
    counts = np.asarray(row(found, "band power + LR")["confusion"])
    assert found["classes"] == ["a", "b", "c"]
    assert counts[1, 1] == 0, "nobody can know a class before seeing it"
    assert counts[0, 0] > 0.9 * counts[0].sum() and counts[2, 2] > 0.9 * counts[2].sum()


def test_a_model_is_compared_with_its_own_control_and_the_best_baseline(store):
    diary = []
    routes = [
        told(diary, "weak", "baseline"),
        told(diary, RANDOM_FROZEN, "control"),
        told(diary, FROZEN, "model"),
    ]
    found = probe_dataset(store, spec_of("simulated_eeg"), routes, n_resamples=10)
    pairs = {d["about"]: (d["a"], d["b"], d["difference"]) for d in found["differences"]}
    assert pairs == {
        "pretraining": (FROZEN, RANDOM_FROZEN, 0.0),
        "baseline": (FROZEN, "weak", 0.0),
    }
    assert CONTROL_OF[FROZEN] == RANDOM_FROZEN
    assert "does not beat" in verdict(found)[0]


def test_without_a_control_nothing_is_said_of_pretraining(store):
    found = probe_dataset(store, spec_of("simulated_eeg"), [told([], FROZEN)], n_resamples=10)
    assert found["differences"] == []
    assert not any("beat" in sentence for sentence in verdict(found))


def test_one_answer_for_all_is_at_chance_however_often_it_is_right(store):
    found = probe_dataset(
        store, spec_of("simulated_eeg"), [told([], "ones", answer=1)], n_resamples=10
    )
    assert accuracy(found, "ones") == 0.5
    assert row(found, "ones")["kappa"]["mean"] == 0.0
    assert np.asarray(row(found, "ones")["confusion"]).tolist() == [[0, 8], [0, 8]]


@pytest.mark.parametrize(("spec", "seen"), [(spec_of("simulated_eeg"), False), (LEFT_OUT, True)])
def test_testing_on_training_recordings_is_written_down(store, spec, seen):
    found = probe_dataset(store, spec, [told([], "one")], n_resamples=10)
    assert found["seen_in_pretraining"] is seen and found["simulated"] is True


def test_a_result_is_json_and_says_what_was_decoded(store):
    found = probe_dataset(store, LEFT_OUT, [told([], "one")], n_resamples=10)
    plain = json.loads(json_text(found))
    assert plain["test_counts"] == [24, 24] and plain["channels"] == 8
    assert plain["seconds_per_trial"] == 2.0 and plain["folds"] == ["run-0", "run-1", "run-2"]


@pytest.fixture
def few_baselines(monkeypatch):
    """Only the quick ones; EEGNet has tests of its own."""
    from eval.probe import routes

    monkeypatch.setattr(routes, "BASELINES", ("majority class", "band power + LR"))


def run(store, out, *more):
    argv = ["--store", str(store.root), "--dataset", "simulated_eeg", "--out", str(out)]
    return command.main([*argv, "--workers", "1", *more])


def test_the_command_needs_no_model_for_baselines(store, tmp_path, few_baselines, capsys):
    run(store, tmp_path, "--routes", "baselines", "--json")
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    kept = json.loads((tmp_path / "report.json").read_text())
    assert said["datasets"] == kept["datasets"] and said["checkpoint"] is None
    assert said["datasets"][0]["no_worse_than_best_baseline"] is None
    table = (tmp_path / "table.md").read_text()
    assert table.count("\n| ") == 4 and "| band power + LR |" in table
    assert "Simulated data" in (tmp_path / "report.html").read_text()


def test_without_json_the_command_prints_none(store, tmp_path, few_baselines, capsys):
    run(store, tmp_path, "--routes", "baselines")
    out = capsys.readouterr().out
    assert "simulated_eeg: 16 test trials" in out and '"datasets"' not in out


def test_a_model_of_another_recipe_is_refused_with_both_values(store, tmp_path):
    BrainOmni(BrainOmniConfig(preset="test"), Preprocess(Recipe())).save_pretrained(tmp_path)
    with pytest.raises(ContractError, match=r"sfreq is 256\.0.*64\.0"):
        run(store, tmp_path / "out", "--checkpoint", str(tmp_path), "--routes", "frozen")
    assert not (tmp_path / "out").exists()


def test_an_absent_data_set_is_refused_before_the_first_fit(store, tmp_path, few_baselines, capsys):
    with pytest.raises(DataError, match="no data set 'nothing'"):
        run(store, tmp_path / "out", "--dataset", "nothing", "--routes", "baselines")
    assert not (tmp_path / "out").exists()
    assert "majority class" not in capsys.readouterr().err


def test_a_refusal_of_the_module_is_one_sentence(tmp_path, monkeypatch, capsys):
    argv = ["eval.probe", "--dataset", "d", "--store", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.delitem(sys.modules, "eval.probe.__main__")
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("eval.probe", run_name="__main__")
    err = capsys.readouterr().err
    assert stop.value.code == 1 and err.startswith("brainfm: ") and err.count("\n") == 1
