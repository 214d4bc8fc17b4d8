"""`brainfm.encode`: times, channels and refusals, on MNE objects made of known signals."""

import json

import mne
import numpy as np
import pytest
import torch

import brainfm
from brainfm.api import encode, encode_file
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.data.collate import batch_from_arrays
from brainfm.data.synthetic import synthetic_channels
from brainfm.errors import ContractError, DataError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.models.meggpt import MEGGPT, MEGGPTConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

SFREQ = 64.0
RECIPE = Recipe(sfreq=SFREQ, highpass_hz=0.5, lowpass_hz=24.0)
NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = BrainOmni(BrainOmniConfig(preset="test"), Preprocess(RECIPE))
    x = np.random.default_rng(0).normal(size=(8, 6, 128)) * 2e-5
    batch = batch_from_arrays(x, synthetic_channels("EEG", 6), SFREQ, Normalise())
    made.tokenizer.initialise_codebooks(batch)
    return made.eval()


def raw(seconds: float = 32.0, sfreq: float = 128.0, names=NAMES, seed: int = 0):
    rng = np.random.default_rng(seed)
    info = mne.create_info(list(names), sfreq, "eeg")
    data = 2e-5 * rng.normal(size=(len(names), round(seconds * sfreq)))
    return mne.io.RawArray(data, info, verbose="ERROR")


def test_windows_steps_and_times_follow_the_signal(model):
    found = encode(raw(), model=model, window_s=8.0, line_freq=50.0)
    n, s, w, d = found.features.shape
    assert (n, s, d) == (4, 5, 48)
    assert found.time_s.shape == (4, w)
    assert np.allclose(found.time_s[:, 0], [0, 8, 16, 24])
    assert found.time_s.max() + found.duration_s <= 32.0 + 1.0
    assert found.sfreq == SFREQ and found.duration_s == 8 / SFREQ
    assert np.isfinite(found.features).all() and found.valid.all()


def test_the_top_level_name_is_this_function():
    assert brainfm.encode is encode


def test_a_checkpoint_folder_gives_what_the_model_gives(model, tmp_path):
    model.save_pretrained(tmp_path)
    a = encode(raw(), model=model, line_freq=50.0)
    b = encode(raw(), tmp_path, line_freq=50.0)
    assert np.allclose(a.features, b.features, atol=1e-6)


def test_batches_change_nothing(model):
    a, b = (
        encode(raw(), model=model, window_s=4.0, line_freq=50.0, batch_size=k).features
        for k in (1, 5)
    )
    assert np.allclose(a, b, atol=1e-5)


def test_encoding_leaves_the_recording_and_the_mode_of_the_model_alone(model):
    r = raw()
    before = r.get_data().copy()
    model.train()
    encode(r, model=model, line_freq=50.0)
    assert model.training and np.array_equal(r.get_data(), before)
    model.eval()


def test_what_was_left_out_is_named(model):
    r = raw(names=[*NAMES, "EOG1", "P3"])
    r.set_channel_types({"EOG1": "eog"}, verbose="ERROR")
    r.info["bads"] = ["P3"]
    found = encode(r, model=model, line_freq=50.0)
    assert found.channels.name == tuple(NAMES)
    assert found.dropped == ("EOG1", "P3")
    assert any("P3" in note for note in found.notes)


def test_cleaned_names_do_not_count_as_left_out(model):
    found = encode(raw(names=["EEG Fp1-Ref", "EEG T3-Ref", "EEG O1-Ref"]), model=model)
    assert found.channels.name == ("Fp1", "T7", "O1")
    assert found.dropped == ()


def test_windows_stay_out_of_bad_stretches(model):
    r = raw()
    r.set_annotations(mne.Annotations([10.0], [4.0], ["BAD_cough"]))
    found = encode(r, model=model, window_s=4.0, line_freq=50.0)
    stop = found.time_s[:, 0] + 4.0
    assert not ((found.time_s[:, 0] < 14.0 - 1e-6) & (stop > 10.0 + 1e-6)).any()
    assert any("not encoded" in note for note in found.notes)


def test_a_recording_shorter_than_a_window_is_one_window(model):
    found = encode(raw(seconds=5.0), model=model, window_s=30.0)
    assert len(found.features) == 1


def test_epochs_are_windows_with_times_from_their_event(model):
    data = 2e-5 * np.random.default_rng(0).normal(size=(7, 6, 256))
    info = mne.create_info(NAMES, 128.0, "eeg")
    epochs = mne.EpochsArray(data, info, tmin=-0.5, verbose="ERROR")
    found = encode(epochs, model=model)
    assert len(found.features) == 7
    assert np.allclose(found.time_s[:, 0], -0.5)
    assert any("not filtered" in note for note in found.notes)


def test_a_codec_gives_its_dequantised_features(model):
    found = encode(raw(), model=model.tokenizer, window_s=8.0, line_freq=50.0)
    assert found.features.shape[:2] == (4, 5) and found.features.shape[3] == 32


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (lambda: ScalarCodec(ScalarCodecConfig(preset="test"), Preprocess(RECIPE)), 80),
        (lambda: EphysTokenizer(EphysTokenizerConfig(preset="test"), Preprocess(RECIPE)), 640),
        (lambda: DuINEncoder(DuINEncoderConfig(preset="test"), Preprocess(RECIPE)), 40),
        (lambda: MEGGPT(MEGGPTConfig(preset="test"), Preprocess(RECIPE)), 640),
    ],
)
def test_models_with_a_hop_or_a_window_alone_are_read_too(made, steps):
    torch.manual_seed(0)
    found = encode(raw(), model=made())
    assert len(found.features) == 3 and found.features.shape[2] == steps
    assert found.duration_s * steps == pytest.approx(10.0)
    assert np.isfinite(found.features).all()


def test_saved_features_open_without_pickle(model, tmp_path):
    found = encode(raw(), model=model, line_freq=50.0)
    path = found.save(tmp_path / "x.npz")
    with np.load(path, allow_pickle=False) as stored:
        assert np.array_equal(stored["features"], found.features)
        assert json.loads(str(stored["summary"]))["channels"] == NAMES
    assert "6 channels at 64 Hz" in repr(found)


def test_pooled_features_are_one_row_a_window(model):
    found = encode(raw(), model=model, line_freq=50.0)
    assert found.pooled().shape == (len(found.features), 48)
    assert np.allclose(found.pooled()[0], found.features[0].mean((0, 1)), atol=1e-6)


def test_a_file_is_encoded_by_its_name(model, tmp_path):
    path = tmp_path / "x_raw.fif"
    raw().save(path, verbose="ERROR")
    found = encode_file(path, model=model, line_freq=50.0)
    again = encode(mne.io.read_raw(path, verbose="ERROR"), model=model, line_freq=50.0)
    assert np.array_equal(found.features, again.features)


def test_a_missing_or_damaged_file_is_named(model, tmp_path):
    with pytest.raises(DataError, match=r"nothing\.edf"):
        encode_file(tmp_path / "nothing.edf", model=model)
    broken = tmp_path / "broken_raw.fif"
    broken.write_bytes(b"not a fif file at all")
    with pytest.raises(DataError, match=r"broken_raw\.fif"):
        encode_file(broken, model=model)


def test_arrays_other_objects_and_empty_epochs_are_refused(model):
    with pytest.raises(DataError, match="RawArray"):
        encode(np.zeros((3, 100)), model=model)
    info = mne.create_info(NAMES, 128.0, "eeg")
    epochs = mne.EpochsArray(np.zeros((1, 6, 128)), info, verbose="ERROR").drop(0, verbose="ERROR")
    with pytest.raises(DataError, match="no epoch"):
        encode(epochs, model=model)


def test_without_model_or_contract_nothing_is_encoded(model):
    with pytest.raises(ContractError, match="either"):
        encode(raw())
    codec = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    codec.preprocess = None
    with pytest.raises(ContractError, match="contract"):
        encode(raw(), model=codec)
