"""Du-IN on a small fake release: pickles of dicts with attributes, runs and trials."""

import pickle
import sys
import types

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Kind
from data_prep.datasets import get_dataset
from data_prep.datasets.duin import CHANNELS

RECIPE = Recipe(sfreq=500.0, highpass_hz=None, lowpass_hz=None, notch=False)
NAMES = [f"x{i}" for i in range(3)] + CHANNELS["001"].split()


@pytest.fixture
def dotdict(monkeypatch):
    """The class that the release pickles its trials with; gone before they are read."""
    module = types.ModuleType("utils.DotDict")
    module.DotDict = type("DotDict", (dict,), {"__module__": "utils.DotDict"})
    monkeypatch.setitem(sys.modules, "utils", types.ModuleType("utils"))
    monkeypatch.setitem(sys.modules, "utils.DotDict", module)
    return module.DotDict


def write_run(root, dotdict, run="run1", who="001", n_words=6, repeats=10, names=NAMES, **odd):
    folder = root / "duin" / who / "word-recitation" / run / "dataset.bipolar.default.unaligned"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int(run[-1]))
    trials = []
    for i in range(n_words * repeats):
        x_CT = 50 + 20 * rng.standard_normal((len(names), 3000))
        trials.append({"name": f"词{i % n_words}", "data_s": x_CT, "data_n": x_CT})
    for number, change in odd.items():
        trials[int(number[1:])] |= change
    (folder / "data").write_bytes(pickle.dumps([dotdict(t) for t in trials]))
    (folder / "info").write_bytes(pickle.dumps(dotdict(ch_names=list(names))))
    return folder, trials


def load_all(root):
    dataset = get_dataset("duin")
    dataset.fetch(root, print)
    return {j.name: dataset.load(j, RECIPE) for j in dataset.jobs(root)}


def test_trials_of_all_runs_are_divided_once_and_by_word(tmp_path, dotdict):
    write_run(tmp_path, dotdict)
    write_run(tmp_path, dotdict, "run2")
    found = load_all(tmp_path)
    assert list(found) == ["001_train", "001_val", "001_test"]
    counts = {r.split: len(r.intervals_s) for r in found.values()}
    assert counts == {"train": 96, "val": 12, "test": 12}
    train = [e.label for e in found["001_train"].events]
    assert {train.count(word) for word in set(train)} == {16} and len(set(train)) == 6
    assert len({r.split_group for r in found.values()}) == 3
    assert all(r.subject == "001" for r in found.values())
    # No trial is in two parts: noise never repeats.
    firsts = [tuple(r.signal[int(a * 500)]) for r in found.values() for a, _ in r.intervals_s]
    assert len(set(firsts)) == 120


def test_the_published_channels_come_in_their_order_scaled_by_the_training_trials(
    tmp_path, dotdict
):
    write_run(tmp_path, dotdict, names=NAMES[::-1])
    found = load_all(tmp_path)
    r = found["001_train"]
    assert list(r.channels.name) == CHANNELS["001"].split()
    assert set(r.channels.unit) == {"au"} and set(r.channels.kind.tolist()) == {Kind.SEEG}
    np.testing.assert_allclose(r.signal.mean(0), 0, atol=0.02)
    assert 0.5 < r.signal.std() < 1.1


def test_a_word_is_shown_half_a_second_into_its_trial(tmp_path, dotdict):
    write_run(tmp_path, dotdict)
    r = load_all(tmp_path)["001_val"]
    assert [e.onset_s for e in r.events] == [a + 0.5 for a, _ in r.intervals_s]
    assert {b - a for a, b in r.intervals_s} == {3.0}
    assert all(e.label.startswith("word:词") and e.duration_s == 2.5 for e in r.events)


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ({"t3": {"name": "  "}}, "trial 4 has no word"),
        ({"t3": {"data_s": np.zeros((2, 3000))}}, r"trial 4 has shape \(2, 3000\)"),
        ({"t3": {"data_s": np.ones((13, 2000))}}, r"trials last \[2000, 3000\] samples"),
        ({"t3": {"data_s": np.full((13, 3000), np.nan)}}, "not finite"),
        ({"n_words": 1, "repeats": 2}, "fetch all runs"),
        ({"names": NAMES[:-1]}, "has no channel 'CI9'"),
    ],
)
def test_trials_that_do_not_fit_are_refused(tmp_path, dotdict, odd, sentence):
    write_run(tmp_path, dotdict, **odd)
    with pytest.raises(DataError, match=sentence) as e:
        load_all(tmp_path)
    assert str(tmp_path / "duin") in str(e.value)


def test_missing_and_foreign_files_are_named(tmp_path, dotdict):
    with pytest.raises(DataError, match="brainfm does not download it.*huggingface"):
        load_all(tmp_path)
    folder, _ = write_run(tmp_path, dotdict)
    (folder / "info").unlink()
    with pytest.raises(DataError, match="info: cannot be read"):
        load_all(tmp_path)
    write_run(tmp_path, dotdict)
    (folder / "data").write_bytes(pickle.dumps({"trials": 3}))
    with pytest.raises(DataError, match="data: holds dict, not a list of trials"):
        load_all(tmp_path)
    (folder / "data").write_bytes(pickle.dumps(print))
    with pytest.raises(DataError, match=r"data: names 'builtins\.print'"):
        load_all(tmp_path)
