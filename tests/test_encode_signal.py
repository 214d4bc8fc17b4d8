"""`brainfm.encode` on awkward signals: what must not matter, and what must be said."""

import warnings

import mne
import numpy as np
import pytest
import torch

from brainfm.api import Encoded, encode
from brainfm.data.collate import batch_from_arrays
from brainfm.data.synthetic import synthetic_channels
from brainfm.errors import ContractError, DataError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

RECIPE = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=24.0)
NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2"]


def made(normalise=None):
    torch.manual_seed(0)
    model = BrainOmni(BrainOmniConfig(preset="test"), Preprocess(RECIPE, normalise or Normalise()))
    x = 2e-5 * np.random.default_rng(0).normal(size=(8, 6, 128))
    batch = batch_from_arrays(x, synthetic_channels("EEG", 6), 64.0, Normalise())
    model.tokenizer.initialise_codebooks(batch)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return made()


def noise(seconds=24.0, sfreq=128.0, n=6, seed=0):
    return 2e-5 * np.random.default_rng(seed).normal(size=(n, round(seconds * sfreq)))


def raw_of(data, names=NAMES, sfreq=128.0, kinds="eeg"):
    return mne.io.RawArray(data, mne.create_info(list(names), sfreq, kinds), verbose="ERROR")


def epochs_of(data, names=NAMES, sfreq=128.0, kinds="eeg", tmin=0.0):
    info = mne.create_info(list(names), sfreq, kinds)
    return mne.EpochsArray(data, info, tmin=tmin, verbose="ERROR")


def epochs(n=5, samples=256):
    return np.stack([noise(samples / 128, seed=i) for i in range(n)])


def waves(sfreq, seconds=24.0, shift=0.0):
    """The same continuous signal below 20 Hz, sampled at any rate."""
    rng = np.random.default_rng(3)
    t = np.arange(round(seconds * sfreq)) / sfreq
    hz, phase = rng.uniform(2, 20, (2, 6, 12)) * np.array([1, 0.3])[:, None, None]
    part = np.sin(2 * np.pi * hz[..., None] * (t + shift) + phase[..., None])
    return 1e-5 * part.sum(1)


def apart(a, b):
    """Root mean square of the difference of two arrays of features."""
    return np.sqrt(np.mean((a - b) ** 2))


def test_two_calls_give_the_same_bits_whatever_the_random_state(model):
    torch.manual_seed(1)
    a = encode(raw_of(noise()), model=model)
    torch.manual_seed(2)
    b = encode(raw_of(noise()), model=model)
    assert np.array_equal(a.features, b.features)


def test_a_gain_of_the_amplifier_does_not_matter_where_channels_are_scaled():
    model = made(Normalise(scale="channel_robust"))
    a, b, other = (
        encode(raw_of(x), model=model).features for x in (noise(), 8 * noise(), noise(seed=1))
    )
    assert apart(a, b) < 0.1 * apart(a, other)


def test_relative_amplitudes_of_channels_matter_where_the_kind_is_scaled(model):
    uneven = noise() * np.array([1, 1, 1, 1, 8, 8])[:, None]
    a, b = (encode(raw_of(x), model=model).features for x in (noise(), uneven))
    assert not np.allclose(a, b, atol=1e-2)


@pytest.mark.parametrize("sfreq", [256.0, 512.0])
def test_the_same_signal_at_another_rate_gives_nearly_the_same_features(model, sfreq):
    a = encode(raw_of(waves(128.0)), model=model, window_s=8.0)
    b = encode(raw_of(waves(sfreq), sfreq=sfreq), model=model, window_s=8.0)
    other = encode(raw_of(waves(128.0, shift=31.7)), model=model, window_s=8.0)
    assert np.array_equal(a.time_s, b.time_s) and a.sfreq == b.sfreq == 64.0
    assert apart(a.features, b.features) < 0.2 * apart(a.features, other.features)


def test_the_order_of_channels_does_not_matter(model):
    x, turn = noise(), [4, 2, 0, 5, 3, 1]
    a = encode(raw_of(x), model=model)
    b = encode(raw_of(x[turn], [NAMES[i] for i in turn]), model=model)
    assert np.allclose(a.features, b.features, atol=1e-4)


@pytest.mark.parametrize("where", ["first", "last"])
def test_stimulus_channels_change_no_feature(model, where):
    x, code = noise(), np.zeros((1, 3072))
    code[0, ::500] = 5.0
    pair, names = [x, code], [*NAMES, "STI 014"]
    kinds = ["eeg"] * 6 + ["stim"]
    if where == "first":
        pair, names, kinds = pair[::-1], [names[-1], *NAMES], [kinds[-1], *kinds[:-1]]
    a = encode(raw_of(x), model=model)
    b = encode(raw_of(np.concatenate(pair), names, kinds=kinds), model=model)
    assert np.array_equal(a.features, b.features)
    assert b.dropped == ("STI 014",) and b.channels.name == tuple(NAMES)


def test_what_a_channel_marked_bad_holds_changes_no_feature(model):
    found = []
    for junk in (1e-4, 5.0):
        x = noise()
        x[2] = junk * np.random.default_rng(9).normal(size=x.shape[1])
        raw = raw_of(x)
        raw.info["bads"] = ["C3"]
        found.append(encode(raw, model=model))
    assert np.array_equal(found[0].features, found[1].features)
    assert found[0].dropped == ("C3",)


def test_a_dead_channel_is_left_out_with_the_reason(model):
    x = noise()
    x[3] = 1e-6
    found = encode(raw_of(x), model=model)
    assert found.dropped == ("C4",)
    assert any("C4" in note and "flat" in note for note in found.notes)


def test_nominal_positions_and_a_missing_notch_are_said(model):
    text = " ".join(encode(raw_of(noise()), model=model).notes)
    assert "nominal" in text and "no notch" in text
    assert "no notch" not in " ".join(encode(raw_of(noise()), model=model, line_freq=50.0).notes)


def test_times_of_a_cropped_recording_count_from_its_own_first_sample(model):
    raw = raw_of(noise(20.0))
    raw.set_meas_date(1e9)
    bad = mne.Annotations([12.0], [2.0], ["bad"], orig_time=raw.info["meas_date"])
    raw.set_annotations(bad)
    raw.crop(tmin=8.0)
    found = encode(raw, model=model, window_s=2.0)
    assert found.time_s[:, 0].tolist() == [0.0, 2.0, 6.0, 8.0, 10.0]


def test_features_of_a_stretch_do_not_depend_on_what_follows_it(model):
    x, later = noise(), noise()
    later[:, 2048:] = noise(seed=7)[:, 2048:]
    a, b = (encode(raw_of(d), model=model, window_s=4.0).features for d in (x, later))
    # Filters reach a few seconds; the first window lies sixteen before the change.
    assert apart(a[0], b[0]) < 0.1 * apart(a[-1], b[-1])


def test_nothing_but_bad_stretches_is_refused(model):
    raw = raw_of(noise())
    raw.set_annotations(mne.Annotations([0.0], [24.0], ["BAD_all"]))
    with pytest.raises(DataError, match="every sample"):
        encode(raw, model=model)


def test_microvolts_that_pass_for_volts_are_refused(model):
    with pytest.raises(DataError, match="unit"):
        encode(raw_of(1e6 * noise()), model=model)


def test_channels_of_no_known_kind_are_refused_with_their_types(model):
    with pytest.raises(DataError, match="stim"):
        encode(raw_of(noise(n=2), ["S1", "S2"], kinds="stim"), model=model)


@pytest.mark.parametrize("made", [lambda: raw_of(noise(0.03)), lambda: epochs_of(epochs(3, 4))])
def test_less_than_one_code_is_refused(model, made):
    with pytest.raises(DataError, match="fewer than the 8 of a code"):
        encode(made(), model=model)


def test_crumbs_between_bad_stretches_are_no_window(model):
    raw = raw_of(noise(2.0))
    onset = np.arange(0, 256, 4) / 128
    raw.set_annotations(mne.Annotations(onset, [3 / 128] * 64, ["bad"] * 64))
    with pytest.raises(DataError, match="code"):
        encode(raw, model=model)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ContractError, match=r"config\.json"):
        encode(raw_of(noise()), tmp_path)


def test_a_model_and_a_checkpoint_at_once_are_refused(model, tmp_path):
    with pytest.raises(ContractError, match="not both"):
        encode(raw_of(noise()), tmp_path, model=model)


def test_every_epoch_is_encoded_as_if_alone(model):
    x = epochs()
    whole = encode(epochs_of(x), model=model).features
    for i in (0, 4):
        alone = encode(epochs_of(x[i : i + 1]), model=model).features
        assert np.allclose(whole[i], alone[0], atol=1e-5)


def test_epochs_keep_their_order_and_their_own_clock(model):
    x = epochs()
    a, b = encode(epochs_of(x, tmin=-0.25), model=model), encode(epochs_of(x[::-1]), model=model)
    assert np.allclose(a.features, b.features[::-1], atol=1e-5)
    assert np.allclose(a.time_s, b.time_s - 0.25)


def test_epochs_with_a_trigger_channel_and_a_bad_one_keep_the_rest(model):
    x = np.concatenate([epochs(), np.zeros((5, 1, 256))], 1)
    made = epochs_of(x, [*NAMES, "STI"], kinds=["eeg"] * 6 + ["stim"])
    made.info["bads"] = ["O2"]
    found = encode(made, model=model)
    assert found.dropped == ("O2", "STI") and len(found.features) == 5


@pytest.mark.parametrize("rest", [slice(2, 3), slice(4, 5)], ids=["inside", "at the end"])
def test_an_epoch_in_which_nothing_moves_is_invalid_and_the_others_stay(model, rest):
    x = epochs()
    x[rest] = 0.0
    found = encode(epochs_of(x), model=model)
    assert len(found.features) == 5
    assert np.array_equal(~found.valid.any(1), np.isin(np.arange(5), np.arange(5)[rest]))
    assert any("rest at once" in note for note in found.notes)
    assert not any("cut out" in note for note in found.notes), "epochs keep their length"


def test_an_epoch_that_ends_in_rest_keeps_its_samples(model):
    x = epochs()
    x[-1, :, 128:] = 0.0
    found = encode(epochs_of(x), model=model)
    alone = encode(epochs_of(x[::-1]), model=model)
    assert np.allclose(found.features, alone.features[::-1], atol=1e-5)


def encoded(valid):
    features = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype(np.float32)
    valid = np.array(valid)
    features[~valid] = np.nan
    return Encoded(features, valid, np.zeros((3, 4)), 0.125, synthetic_channels("EEG", 6), (), 64.0)


def test_pooling_leaves_out_what_is_not_valid_and_warns_of_nothing():
    some = encoded([[True, True], [True, False], [False, False]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pooled = some.pooled()
    assert np.allclose(pooled[0], some.features[0].mean((0, 1)), atol=1e-6)
    assert np.allclose(pooled[1], some.features[1, 0].mean(0), atol=1e-6)
    assert np.isnan(pooled[2]).all()


def test_summaries_say_when_the_features_begin_and_end(model):
    found = encode(raw_of(noise(20.0)), model=model, window_s=8.0).summary()
    assert found["windows"] == 2 and found["start_s"] == 0.0
    assert found["stop_s"] == pytest.approx(16.0, abs=1.0)
    assert any("4 s at the ends" in note for note in found["notes"])


def test_a_name_without_suffix_gets_one_when_saved(tmp_path):
    path = encoded([[True, True]] * 3).save(tmp_path / "sub-01.features")
    assert path == tmp_path / "sub-01.features.npz" and path.exists()


@pytest.mark.parametrize("window_s", [float("nan"), float("inf"), 0.0, -2.0])
def test_a_window_without_a_length_is_refused(model, window_s):
    with pytest.raises(ContractError, match=f"window_s is {window_s}; give seconds"):
        encode(raw_of(noise()), model=model, window_s=window_s)
