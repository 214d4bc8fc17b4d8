"""`python -m brainfm codes`: a recording to a code file and back, or one sentence."""

import json

import mne
import numpy as np
import pytest
import torch

from brainfm.__main__ import main
from brainfm.codecs.duin import DuIN, DuINConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.data.codes import load_codes
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Preprocess, Recipe

NAMES = ["Fp1", "C3", "Pz", "O2"]
RECIPE = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=24.0)


def saved(folder, seed=0):
    torch.manual_seed(seed)
    codec = ScalarCodec(ScalarCodecConfig(preset="test", n_quantizers=10), Preprocess(RECIPE))
    # Without what the networks add, it is a cosine transform and decodes well untrained.
    for network in (codec.encoder, codec.decoder):
        for name, p in network.layers[-1].named_parameters():
            if not name.endswith("original1"):
                torch.nn.init.zeros_(p)
    torch.nn.init.zeros_(codec.quantizer.project_in.bias)
    return str(codec.save_pretrained(folder))


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def fif(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "sub-01_raw.fif"
    x = 2e-5 * np.random.default_rng(1).normal(size=(4, 128 * 25))
    raw = mne.io.RawArray(x, mne.create_info(NAMES, 128.0, "eeg"), verbose="ERROR")
    raw.save(path, verbose="ERROR")
    return str(path)


@pytest.fixture
def coded(codec, fif, tmp_path):
    path = str(tmp_path / "a.codes")
    assert main(["codes", fif, "--codec", codec, "--out", path]) == 0
    return path


def said(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(argv, capsys):
    """The one sentence on stderr that a refused command leaves, without the prefix."""
    capsys.readouterr()
    assert main(argv) == 1
    caught = capsys.readouterr()
    assert caught.err.startswith("brainfm: ") and caught.err.count("\n") == 1
    assert "Traceback" not in caught.err
    return caught.err.removeprefix("brainfm: ").strip()


def test_encoding_says_rate_and_speed(codec, fif, tmp_path, capsys):
    out = tmp_path / "a.codes"
    argv = ["codes", fif, "--codec", codec, "--out", str(out), "--line-freq", "50", "--json"]
    assert main(argv) == 0
    found = said(capsys)
    assert found["out"] == str(out) and found["channels"] == 4
    assert found["duration_s"] == pytest.approx(25.0) and found["times_real_time"] > 0
    assert found["bits_per_second"] == pytest.approx(4 * found["bits_per_second_channel"])
    assert found["file_bits_per_second"] == pytest.approx(8 * out.stat().st_size / 25.0)
    assert found["file_bits_per_second"] > found["bits_per_second"]
    assert load_codes(out).fingerprint == found["fingerprint"]


def test_without_out_the_file_lies_here(codec, fif, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["codes", fif, "--codec", codec]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["sub-01_raw.fif.codes"]


def test_decoding_writes_the_signal_and_compares_it(codec, fif, coded, tmp_path, capsys):
    npy, out = tmp_path / "x.npy", tmp_path / "x_raw.fif"
    argv = ["codes", coded, "--codec", codec, "--decode", str(npy), "--original", fif, "--json"]
    assert main(argv) == 0
    found = said(capsys)
    x_CT = np.load(npy, allow_pickle=False)
    assert x_CT.shape == (4, 64 * 25) and x_CT.dtype == np.float32
    assert 0 < found["nmse"] < 0.1
    assert main(["codes", coded, "--codec", codec, "--decode", str(out)]) == 0
    raw = mne.io.read_raw_fif(out, verbose="ERROR")
    assert raw.ch_names == NAMES and raw.info["sfreq"] == 64.0
    assert np.allclose(raw.get_data(), x_CT, atol=1e-9)


def test_decoding_with_another_codec_is_refused(coded, tmp_path, capsys):
    other, out = saved(tmp_path / "other", seed=1), tmp_path / "x.npy"
    sentence = refused(["codes", coded, "--codec", other, "--decode", str(out)], capsys)
    assert "a.codes" in sentence and other in sentence and not out.exists()
    assert "give the folder of the codec that wrote them" in sentence


def test_a_damaged_code_file_is_refused(codec, coded, tmp_path, capsys):
    with open(coded, "rb+") as f:
        f.truncate(900)
    out = tmp_path / "x.npy"
    sentence = refused(["codes", coded, "--codec", codec, "--decode", str(out)], capsys)
    assert "a.codes" in sentence and not out.exists()


def test_a_comparison_with_another_recording_is_refused(codec, coded, fif, tmp_path, capsys):
    other = tmp_path / "other_raw.fif"
    mne.io.read_raw_fif(fif, verbose="ERROR").crop(0, 20).save(other, verbose="ERROR")
    argv = ["codes", coded, "--codec", codec, "--decode", str(tmp_path / "x.npy")]
    assert "other_raw.fif" in refused([*argv, "--original", str(other)], capsys)


def test_names_that_nobody_can_read_are_refused(codec, coded, tmp_path, capsys):
    argv = ["codes", coded, "--codec", codec, "--decode"]
    assert ".npy or .fif" in refused([*argv, str(tmp_path / "x.wav")], capsys)
    assert "_raw.fif" in refused([*argv, str(tmp_path / "x.fif")], capsys)


def test_what_stands_in_the_way_of_a_file_is_named(codec, fif, coded, tmp_path, capsys):
    for out in (tmp_path, f"{coded}/x.codes"):
        sentence = refused(["codes", fif, "--codec", codec, "--out", str(out)], capsys)
        assert sentence.startswith(f"{out}: could not be written") and "check the name" in sentence
    sentence = refused(["codes", coded, "--codec", codec, "--decode", f"{coded}/x.npy"], capsys)
    assert sentence.startswith(f"{coded}/x.npy: could not be written")


def test_options_that_do_not_go_together_are_refused(codec, fif, coded, tmp_path, capsys):
    assert refused(["codes", coded, "--codec", codec], capsys) == (
        f"{coded}: holds codes already; give --decode OUT for their signal"
    )
    sentence = refused(["codes", fif, "--codec", codec, "--original", fif], capsys)
    assert "give --decode OUT and a code file too" in sentence
    argv = ["codes", str(tmp_path), "--codec", codec, "--decode", str(tmp_path / "x.npy")]
    assert refused(argv, capsys).startswith(f"{tmp_path}: is a folder; give a code file")
    for hz in ("-50", "0", "nan"):
        sentence = refused(["codes", fif, "--codec", codec, "--line-freq", hz], capsys)
        assert sentence == f"--line-freq is {float(hz):g}; give Hz, such as 50 or 60"


def test_a_codec_that_cannot_encode_is_named_with_the_recording(fif, tmp_path, capsys):
    folder = DuIN(DuINConfig(preset="test"), Preprocess(RECIPE)).save_pretrained(tmp_path / "new")
    sentence = refused(["codes", fif, "--codec", str(folder)], capsys)
    assert sentence.startswith(f"{fif} with {folder}: the codebook holds no codes yet")


def test_an_encoder_is_no_codec(fif, tmp_path, capsys):
    model = BrainOmni(BrainOmniConfig(preset="test"), Preprocess(RECIPE))
    folder = str(model.save_pretrained(tmp_path / "encoder"))
    assert "BrainOmni" in refused(["codes", fif, "--codec", folder], capsys)


def test_a_window_of_no_length_is_refused(codec, fif, capsys):
    assert "window_s is 0" in refused(["codes", fif, "--codec", codec, "--window", "0"], capsys)
