"""Traits of SIMULATED people: told by connectivity if it is there, by motion if that is all."""

import json

import numpy as np
import pytest
import torch

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Channels, Kind, Recording
from eval.fmri import traits
from eval.fmri.__main__ import main
from eval.fmri.pages import _motion_words
from eval.fmri.traits import judge, predict, read_people

N, PEOPLE = 8, 40


def person(k, tie, lost=0):
    """Channels 0 and 1 share as much as `tie` says; the last `lost` frames were scrubbed."""
    rng = np.random.default_rng(k)
    x = rng.normal(size=(150, N))
    x[:, 1] = tie * x[:, 0] + (1 - tie**2) ** 0.5 * x[:, 1]
    place = np.random.default_rng(9).uniform(-0.06, 0.06, (N, 3))
    names, kind = tuple(f"P{i}" for i in range(N)), np.full(N, Kind.BOLD)
    channels = Channels(names, kind, place, np.zeros((N, 3)), ("au",) * N, "mni", "none")
    return Recording(
        x.astype(np.float32),
        1.0,
        channels,
        dataset="cohort",
        subject=f"{k:02d}",
        name=f"sub-{k:02d}",
        intervals_s=((0.0, 150.0 - lost),),
        split="train",
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A store, and a table: age lies in the tie, pain in motion, luck in nothing."""
    root = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(0)
    tie, lost = rng.uniform(-0.9, 0.9, PEOPLE), rng.integers(0, 60, PEOPLE)
    lines = ["participant_id\tage\tpain\tluck\tgroup\tfamily\tmean_fd"]
    for k in range(PEOPLE):
        r = person(k, tie[k], int(lost[k]))
        write_recording(r, root / "cohort" / f"{r.name}.safetensors", recipe=Recipe())
        word = "old" if tie[k] > 0 else "young"
        numbers = f"{50 + 20 * tie[k]:.3f}\t{lost[k]}\t{rng.normal():.3f}"
        lines.append(f"sub-{k:02d}\t{numbers}\t{word}\tf{k // 2}\t{lost[k] / 100:.2f}")
    build_tables(root)
    table = root / "participants.tsv"
    table.write_text("\n".join([*lines, "sub-99\tn/a\t1\t1\told\tf1\t0"]))
    return Store(root), table


def scores(cohort, column, **how):
    store, table = cohort
    people = read_people(store, table, column, **how)
    found = predict(people, None, store)
    return {name: judge(people, g, 100) for name, g in found.items()}


FC, MOTION = "connectivity + ridge", "motion and covariates"
LEFT = "connectivity + ridge, motion and covariates taken out"


def test_a_trait_in_the_connections_is_told_by_them_and_not_by_motion(cohort):
    found = scores(cohort, "age", covariates=("mean_fd",))
    assert found[FC]["r"]["mean"] > 0.8 and found[LEFT]["r"]["mean"] > 0.8
    assert found[FC]["R2"]["low"] > 0.3 and abs(found[MOTION]["r"]["mean"]) < 0.5
    assert found["nothing (the mean)"]["R2"]["mean"] < 0


def test_a_trait_in_motion_is_told_by_motion(cohort):
    found = scores(cohort, "pain")
    assert found[MOTION]["r"]["mean"] > 0.95
    assert found[MOTION]["r"]["mean"] > found[FC]["r"]["mean"] + 0.3


def test_luck_is_told_by_nothing(cohort):
    found = scores(cohort, "luck")
    assert found[FC]["R2"]["mean"] < 0.1 and found[FC]["r"]["low"] < 0.2


def test_classes_are_told_and_families_are_left_out_whole(cohort):
    store, table = cohort
    found = scores(cohort, "group", group="family")
    assert found[FC]["balanced accuracy"]["mean"] > 0.75 and found[FC]["AUROC"]["mean"] > 0.8
    assert found["nothing (the mean)"]["balanced accuracy"]["mean"] == 0.5
    people = read_people(store, table, "group", group="family")
    assert people.classes == ("old", "young") and len(people.names) == PEOPLE
    assert len(np.unique(people.group_N)) == PEOPLE // 2


def test_a_person_is_never_guessed_by_a_ridge_that_saw_the_family(cohort, monkeypatch):
    store, table = cohort
    people = read_people(store, table, "age", group="family")
    seen = []

    def spy(x_fit, y_fit, weight, x_test):
        seen.append((set(x_fit[:, 0]), set(x_test[:, 0])))
        return np.zeros((len(x_test), 1))

    monkeypatch.setattr("eval.fmri.traits._ridge", spy)
    family = people.group_N.astype(float)[:, None]
    traits._guess(people, family, None, 0)
    assert len(seen) == 10 and all(not fit & test for fit, test in seen)


def test_an_encoder_stands_beside_its_random_twin(cohort):
    store, table = cohort
    torch.manual_seed(0)
    config = UnifiedEncoderConfig(preset="test")
    encoder = UnifiedEncoder(config, Preprocess(Recipe())).eval()
    found = predict(read_people(store, table, "age"), encoder, store)
    assert {"encoder + ridge", "encoder, random init + ridge"} <= set(found)
    assert all(g.shape == (5, PEOPLE, 1) and np.isfinite(g).all() for g in found.values())


@pytest.mark.parametrize(
    ("change", "column", "how", "says"),
    [
        ("", "height", {}, "has no column 'height'"),
        ("", "age", {"covariates": ("family",)}, "'family' is not of numbers"),
        ("sub-01\t1\t1\t1\told\tf1\t0", "age", {}, "'sub-01' has two rows"),
        ("few", "age", {}, "3 people have 'age' there"),
        ("one class", "group", {}, "has 1 classes"),
        ("none", "age", {}, "no such file"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(cohort, tmp_path, change, column, how, says):
    store, table = cohort
    text = table.read_text()
    if change == "few":
        text = "\n".join(text.split("\n")[:4])
    elif change == "one class":
        text = text.replace("young", "old")
    elif change.startswith("sub"):
        text += "\n" + change
    other = tmp_path / "participants.tsv"
    if change != "none":
        other.write_text(text)
    with pytest.raises(DataError, match=says):
        read_people(store, other, column, **how)


def test_what_nothing_tells_is_not_called_a_gain(cohort, tmp_path, capsys):
    store, table = cohort
    args = ["traits", f"--store={store.root}", f"--participants={table}", "--resamples=50"]
    # r of the mean lies far below 0 among people left out: less of it is no finding.
    assert main([*args, "--column=luck", f"--out={tmp_path}"]) == 0
    assert "Neither connectivity nor motion" in " ".join(capsys.readouterr().out.split())
    sure, low = {"mean": 0.5, "low": 0.3}, {"mean": -0.4, "low": -0.8}
    rows = {"nothing (the mean)": {"r": {"mean": -0.9, "low": -0.9}}, MOTION: {"r": low}}
    for connectivity, says in ((low, "Neither"), (sure, "Connectivity tells more")):
        told = rows | {FC: {"r": connectivity}, LEFT: {"r": connectivity}}
        assert _motion_words(told, "r").startswith(says)


def test_the_command_says_when_motion_is_all_there_is(cohort, tmp_path, capsys):
    store, table = cohort
    args = ["traits", f"--store={store.root}", f"--participants={table}", "--resamples=50"]
    assert main([*args, "--column=pain", f"--out={tmp_path}"]) == 0
    assert "Motion and covariates alone tell it" in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "report.json").read_text())
    assert set(found["scores"]) == {"nothing (the mean)", MOTION, FC, LEFT}
    assert main(["traits", f"--store={store.root}"]) == 1
    assert "wants --participants" in capsys.readouterr().err
