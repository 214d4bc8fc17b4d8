import numpy as np
import pytest
from prep_helpers import pink

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.dataset import Facts, Job, Package
from data_prep.readers.ts import read_ts
from data_prep.scalp import scalp_channels
from data_prep.trials import TrialSet, TrialSpec, without_repeats


class Made(TrialSet):
    def channels(self):
        return scalp_channels(["Fz", "Cz", "Pz"])


@pytest.fixture
def made():
    facts = Facts("t", "l", "c", Package("p", "1", "0", 1), ("EEG",), "official")
    return Made("made", facts, TrialSpec("a/TRAIN.ts", "a/TEST.ts", sfreq=200.0, scale=1e-6))


def write_ts(path, trials, labels, classes="up down"):
    lines = ["#text", "@problemName x", f"@classLabel true {classes}", "@data"]
    for x, label in zip(trials, labels, strict=True):
        rows = [",".join(f"{v:.6f}" for v in row) for row in x]
        lines.append(":".join([*rows, label]))
    path.write_text("\n".join(lines) + "\n")
    return path


def trials(n, seed, n_samples=100):
    x = pink(3, n * n_samples, seed) * 1e6 + np.array([[100.0], [200.0], [300.0]])
    return np.split(x, n, axis=1)


@pytest.fixture
def files(tmp_path):
    train, test = trials(40, 1), trials(10, 2)
    a = write_ts(tmp_path / "TRAIN.ts", train, ["up", "down"] * 20)
    b = write_ts(tmp_path / "TEST.ts", test, ["down"] * 10)
    return (str(a), str(b)), train, test


def load(made, files, part, recipe=None):
    return made.load(Job("made", part, files[0]), recipe or Recipe())


def test_one_interval_and_one_event_a_trial(made, files):
    r = load(made, files, "test")
    assert len(r.events) == len(r.intervals_s) == 10 and r.signal.shape == (1280, 3)
    assert [e.label for e in r.events] == ["down"] * 10
    np.testing.assert_allclose([e.onset_s for e in r.events], 0.5 * np.arange(10))
    np.testing.assert_allclose(r.intervals_s[3], (1.5, 2.0))


def test_official_split_is_kept_and_val_comes_out_of_train(made, files):
    parts = {p: load(made, files, p) for p in ("train", "val", "test")}
    assert {p: r.split for p, r in parts.items()} == {p: p for p in parts}
    assert len(parts["train"].events) + len(parts["val"].events) == 40
    assert 0 < len(parts["val"].events) < 12
    assert len({r.split_group for r in parts.values()}) == 3


def test_the_mean_of_train_is_removed_from_test(made, files):
    _, train, test = files
    mean = np.concatenate(train, 1).mean(1)
    expected = (test[0].mean(1) - mean) * 1e-6
    np.testing.assert_allclose(load(made, files, "test").signal[:128].mean(0), expected, atol=2e-7)


def test_header_says_that_there_is_no_high_pass(made, files):
    assert load(made, files, "train").notes[0].startswith("highpass: none")


def test_trials_in_both_parts_leave_training(made, tmp_path):
    train, test = trials(40, 1), trials(10, 2)
    train[7], train[8], train[30] = test[0], test[1], train[3]
    a = write_ts(tmp_path / "TRAIN.ts", train, ["up"] * 40)
    b = write_ts(tmp_path / "TEST.ts", test, ["up"] * 10)
    r = load(made, ((str(a), str(b)),), "train")
    v = load(made, ((str(a), str(b)),), "val")
    assert len(r.events) + len(v.events) == 37
    assert any("2 TRAIN trials (numbers 7 to 8, from 0) also lie in TEST" in n for n in r.notes)
    assert any("1 TRAIN trials (numbers 30, from 0) repeat" in n for n in r.notes)
    t = load(made, ((str(a), str(b)),), "test")
    for trial in t.signal.reshape(-1, 128, 3):
        assert np.abs(r.signal.reshape(-1, 128, 3) - trial).max((1, 2)).min() > 1e-7


def test_repeats_are_told_apart(tmp_path):
    x = trials(4, 1)
    train = read_ts(write_ts(tmp_path / "a.ts", [x[0], x[1], x[0], x[2]], ["up"] * 4))
    test = read_ts(write_ts(tmp_path / "b.ts", [x[2], x[3]], ["up"] * 2))
    keep, notes = without_repeats(train, test)
    assert keep == [0, 1] and len(notes) == 2


def test_wrong_stride_refuses_every_part_with_the_sentence(made, tmp_path):
    def malformed(n, seed):
        one = pink(1, n * 120, seed)[0].reshape(n, 120) * 1e6
        return [np.stack([row[3 * k : 3 * k + 100] for k in range(3)]) for row in one]

    a = write_ts(tmp_path / "TRAIN.ts", malformed(40, 1), ["up"] * 40)
    b = write_ts(tmp_path / "TEST.ts", malformed(10, 2), ["up"] * 10)
    for part in ("train", "val", "test"):
        with pytest.raises(DataError, match=r"channels 2\.\.3 repeat channel 1 shifted by 3 sampl"):
            load(made, ((str(a), str(b)),), part)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no trial"),
        ("@data\n", "holds no trial"),
        ("1,2,3\n", "comes before @data"),
        ("@data\n1,2:3:a\n", "channels of lengths"),
        ("@data\n1,2:3,4:a\n1,2:a\n", "channels of lengths"),
        ("@data\n1,x:2,3:a\n", "holds no numbers"),
        ("@classLabel true b\n@data\n1,2:3,4:a\n", "label 'a' in line 3"),
    ],
)
def test_damaged_ts_files_are_refused_by_line(tmp_path, text, says):
    (tmp_path / "f.ts").write_text(text)
    with pytest.raises(DataError, match=f"f.ts.*{says}"):
        read_ts(tmp_path / "f.ts")


def test_a_binary_file_is_no_ts(tmp_path):
    (tmp_path / "f.ts").write_bytes(b"\xff\xfe\x00\x80" * 100)
    with pytest.raises(DataError, match="not a readable .ts text file"):
        read_ts(tmp_path / "f.ts")


def test_missing_values_drop_the_channel(made, tmp_path):
    train, test = trials(40, 1), trials(10, 2)
    train[0][1, 5] = np.nan
    text = write_ts(tmp_path / "TRAIN.ts", train, ["up"] * 40).read_text().replace("nan", "?")
    (tmp_path / "TRAIN.ts").write_text(text)
    b = write_ts(tmp_path / "TEST.ts", test, ["up"] * 10)
    r = load(made, ((str(tmp_path / "TRAIN.ts"), str(b)),), "test")
    assert r.channels.name == ("Fz", "Pz")
