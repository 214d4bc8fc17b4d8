"""Whisper's features: one row for every 20 ms, joined without seams, and never downloaded."""

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperModel

from brainfm.errors import DataError
from data_prep.aligner import as_sound
from data_prep.whisper_features import FEATURES_HZ, FOLDER, whisper_features, whisper_files

SFREQ = 16_000.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A Whisper of random weights, as transformers saves it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=60,
        pad_token_id=1, bos_token_id=2, eos_token_id=3, decoder_start_token_id=4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("whisper")
    WhisperModel(sizes).save_pretrained(folder)
    return folder


@pytest.fixture
def files(weights, monkeypatch):
    monkeypatch.setenv(FOLDER, str(weights))
    return whisper_files()


def sound_of(seconds, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * SFREQ)) / SFREQ
    return np.sin(2 * np.pi * 300 * t) * (np.sin(2 * np.pi * 2 * t) > 0) + 0.01 * rng.normal(
        size=len(t)
    )


def test_a_short_sound_gets_what_the_encoder_says(files, weights):
    from transformers import WhisperFeatureExtractor

    sound = sound_of(2.5)
    found = whisper_features(sound, SFREQ, files)
    assert found.shape == (125, 16) and found.dtype == np.float32
    heard = WhisperFeatureExtractor()(
        as_sound(sound, SFREQ) / 32768, sampling_rate=16_000, return_tensors="pt"
    )
    encoder = WhisperModel.from_pretrained(weights).get_encoder().eval()
    with torch.no_grad():
        expected = encoder(heard["input_features"]).last_hidden_state[0, :125]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("seconds", [30.0, 30.5, 64.2])
def test_a_long_sound_has_a_row_for_every_moment(files, seconds):
    found = whisper_features(sound_of(seconds), SFREQ, files)
    assert len(found) == round(seconds * FEATURES_HZ) and np.isfinite(found).all()


def test_rows_are_about_their_own_moment_wherever_chunks_end(files, monkeypatch):
    def loudness(encoder, extractor, part):
        padded = np.pad(part, (0, 480_000 - len(part)))
        return np.abs(padded).reshape(1500, 320).mean(1, keepdims=True)

    monkeypatch.setattr("data_prep.whisper_features._states", loudness)
    sound = sound_of(64.2) * np.linspace(1, 2, round(64.2 * SFREQ))
    whole = np.abs(as_sound(sound, SFREQ) / 32768).reshape(-1, 320).mean(1)
    np.testing.assert_allclose(whisper_features(sound, SFREQ, files)[:, 0], whole, atol=1e-6)


def test_a_named_folder_without_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(DataError, match=r"config\.json: no such file.*unset BRAINFM_WHISPER"):
        whisper_files()


def test_without_weights_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    assert whisper_files() == ()
    with pytest.raises(DataError, match="not on this machine; set BRAINFM_WHISPER"):
        whisper_features(sound_of(1.0), SFREQ, ())


def test_damaged_weights_are_refused(files, tmp_path):
    (tmp_path / "config.json").write_bytes(open(files[0], "rb").read())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    damaged = tuple(str(tmp_path / name) for name in ("config.json", "model.safetensors"))
    with pytest.raises(DataError, match="no Whisper that can be read"):
        whisper_features(sound_of(1.0), SFREQ, damaged)
