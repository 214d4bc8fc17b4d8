"""`encode_file` and `python -m brainfm encode`: from a file to features, or one sentence."""

import json

import mne
import numpy as np
import pytest
import torch

from brainfm.__main__ import main
from brainfm.api import encode_file
from brainfm.data.collate import batch_from_arrays
from brainfm.data.synthetic import synthetic_channels
from brainfm.errors import DataError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

NAMES = ["Fp1", "C3", "Pz", "O2"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    recipe = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=24.0)
    model = BrainOmni(BrainOmniConfig(preset="test"), Preprocess(recipe))
    x = 2e-5 * np.random.default_rng(0).normal(size=(8, 4, 128))
    batch = batch_from_arrays(x, synthetic_channels("EEG", 4), 64.0, Normalise())
    model.tokenizer.initialise_codebooks(batch)
    folder = tmp_path_factory.mktemp("export")
    model.save_pretrained(folder)
    return folder


def raw(names=NAMES):
    x = 2e-5 * np.random.default_rng(1).normal(size=(len(names), 128 * 22))
    return mne.io.RawArray(x, mne.create_info(list(names), 128.0, "eeg"), verbose="ERROR")


@pytest.fixture
def edf(tmp_path):
    path = tmp_path / "sub-01_eeg.edf"
    mne.export.export_raw(path, raw(), physical_range=(-400, 400), verbose="ERROR")
    return path


def refused(argv, capsys):
    """The one sentence on stderr that a refused command leaves, without the prefix."""
    assert main(argv) == 1
    caught = capsys.readouterr()
    assert caught.err.startswith("brainfm: ") and caught.err.count("\n") == 1
    assert "Traceback" not in caught.err and caught.out == ""
    return caught.err.removeprefix("brainfm: ").strip()


def test_the_command_writes_arrays_and_says_what_is_in_them(edf, checkpoint, tmp_path, capsys):
    out = tmp_path / "features.npz"
    argv = ["encode", str(edf), "--checkpoint", str(checkpoint), "--out", str(out), "--json"]
    assert main([*argv, "--line-freq", "50"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    with np.load(out, allow_pickle=False) as found:
        n, s, w, d = found["features"].shape
        assert [said[k] for k in ("windows", "sources", "steps", "width")] == [n, s, w, d]
        assert found["features"].dtype == np.float32 and np.isfinite(found["features"]).all()
        assert found["time_s"].shape == (n, w) and found["valid"].shape == (n, s)
    assert said["windows"] == 2 and said["out"] == str(out)
    assert said["channels"] == NAMES and said["sfreq"] == 64.0


def test_the_command_gives_what_the_function_gives(edf, checkpoint, tmp_path):
    out = tmp_path / "f.npz"
    main(["encode", str(edf), "--checkpoint", str(checkpoint), "--out", str(out)])
    with np.load(out, allow_pickle=False) as found:
        assert np.array_equal(found["features"], encode_file(edf, checkpoint).features)


def test_without_out_the_file_lies_here_and_bears_the_recordings_name(
    edf, checkpoint, tmp_path, monkeypatch, capsys
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["encode", str(edf), "--checkpoint", str(checkpoint)]) == 0
    assert [p.name for p in elsewhere.iterdir()] == ["sub-01_eeg.edf.features.npz"]
    assert "sub-01_eeg.edf.features.npz" in capsys.readouterr().out


def test_a_truncated_edf_is_refused_in_one_sentence(edf, checkpoint, tmp_path, capsys):
    short = tmp_path / "short.edf"
    short.write_bytes(edf.read_bytes()[:-700])
    out = tmp_path / "never.npz"
    argv = ["encode", str(short), "--checkpoint", str(checkpoint), "--out", str(out)]
    sentence = refused(argv, capsys)
    assert "short.edf" in sentence and not out.exists()


@pytest.mark.parametrize("keep", [0, 100, 300, 1500])
def test_an_edf_cut_anywhere_is_a_data_error_that_names_it(edf, checkpoint, tmp_path, keep):
    cut = tmp_path / "cut.edf"
    cut.write_bytes(edf.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"cut\.edf"):
        encode_file(cut, checkpoint)


def test_a_file_under_a_wrong_name_is_refused(edf, checkpoint, tmp_path):
    lie = tmp_path / "lie_raw.fif"
    lie.write_bytes(edf.read_bytes())
    with pytest.raises(DataError, match=r"lie_raw\.fif.*EDF"):
        encode_file(lie, checkpoint)


def test_a_web_page_saved_as_a_recording_is_recognised(checkpoint, tmp_path):
    page = tmp_path / "sub-02.edf"
    page.write_text("<!doctype html><html><body>404 not found</body></html>" * 20)
    with pytest.raises(DataError, match=r"sub-02\.edf.*HTML"):
        encode_file(page, checkpoint)


def test_a_folder_that_is_no_checkpoint_is_refused(edf, tmp_path, capsys):
    sentence = refused(["encode", str(edf), "--checkpoint", str(tmp_path)], capsys)
    assert "config.json" in sentence


def test_a_checkpoint_without_its_contract_is_refused(edf, checkpoint, tmp_path, capsys):
    for part in ("config.json", "model.safetensors"):
        (tmp_path / part).write_bytes((checkpoint / part).read_bytes())
    sentence = refused(["encode", str(edf), "--checkpoint", str(tmp_path)], capsys)
    assert "preprocessor_config.json" in sentence


def test_fif_and_edf_of_one_recording_agree(edf, checkpoint, tmp_path):
    fif = tmp_path / "sub-01_raw.fif"
    raw().save(fif, verbose="ERROR")
    a, b = encode_file(edf, checkpoint), encode_file(fif, checkpoint)
    assert a.channels.name == b.channels.name
    # EDF rounds to 12 nV steps; features follow the signal, not the format.
    other = np.roll(b.features, 1, axis=0)
    assert np.abs(a.features - b.features).mean() < 0.3 * np.abs(a.features - other).mean()


def test_notes_of_the_reader_come_before_those_of_the_preparation(tmp_path, checkpoint):
    odd = raw()
    odd.info["chs"][0]["cal"] = 3.0
    path = tmp_path / "odd_raw.fif"
    odd.save(path, verbose="ERROR")
    notes = encode_file(path, checkpoint).notes
    assert "calibration of Fp1" in notes[0] and len(notes) > 1
