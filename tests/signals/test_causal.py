"""Filters that never look ahead: the same however a recording is cut, and offline as live."""

import mne
import numpy as np
import pytest

from brainfm.errors import ContractError, DataError
from brainfm.signals.causal import CausalChain
from brainfm.signals.filters import apply_recipe
from brainfm.signals.preprocess import Preprocess, Recipe, require_same

RECIPE = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0, causal=True)


def noise(sfreq, seconds=20, n=3, seed=0):
    return 2e-5 * np.random.default_rng(seed).normal(size=(round(sfreq * seconds), n)) + 3e-3


def sine(hz, sfreq, seconds=30):
    return np.sin(2 * np.pi * hz * np.arange(round(sfreq * seconds)) / sfreq)[:, None]


def amplitude(y_TC, sfreq):
    """Of what is left after ten seconds."""
    return float(np.sqrt(2) * y_TC[round(10 * sfreq) :].std())


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 256.0, 678.17])
def test_the_cut_into_pieces_changes_nothing(sfreq):
    x_TC = noise(sfreq)
    whole = CausalChain(RECIPE, sfreq, 3, 50.0).push(x_TC)
    chain, rng, at, pieces = CausalChain(RECIPE, sfreq, 3, 50.0), np.random.default_rng(1), 0, []
    while at < len(x_TC):
        n = int(rng.integers(0, 400))
        pieces.append(chain.push(x_TC[at : at + n]))
        at += n
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert len(whole) == np.ceil(len(x_TC) * 128 / sfreq - 1e-6)


def test_the_future_changes_no_sample():
    x_TC = noise(256.0)
    other_TC = x_TC.copy()
    other_TC[2000:] *= -5
    a, b = (CausalChain(RECIPE, 256.0, 3, 50.0).push(x) for x in (x_TC, other_TC))
    np.testing.assert_array_equal(a[:1000], b[:1000])
    assert not np.allclose(a[1100:], b[1100:])


def test_the_band_passes_and_the_rest_does_not():
    for hz, low, high in ((0.05, 0, 0.01), (10, 0.95, 1.05), (60, 0, 0.02), (100, 0, 0.001)):
        y_TC = CausalChain(RECIPE, 256.0, 1).push(sine(hz, 256.0))
        assert low <= amplitude(y_TC, 128.0) <= high, hz


def test_the_line_and_its_harmonics_are_removed_and_their_neighbours_stay():
    recipe = Recipe(sfreq=512.0, highpass_hz=0.5, lowpass_hz=200.0, causal=True)
    for hz, low, high in ((50, 0, 0.01), (100, 0, 0.01), (45, 0.9, 1.1)):
        y_TC = CausalChain(recipe, 512.0, 1, 50.0).push(sine(hz, 512.0))
        assert low <= amplitude(y_TC, 512.0) <= high, hz


def test_resampling_delays_by_what_is_said():
    recipe = Recipe(sfreq=128.0, highpass_hz=None, lowpass_hz=None, notch=False, causal=True)
    chain = CausalChain(recipe, 512.0, 1)
    x_T1 = np.exp(-0.5 * ((np.arange(5120) / 512 - 5.0) / 0.05) ** 2)[:, None]
    y_T1 = chain.push(x_T1)
    top_s = np.average(np.arange(len(y_T1)) / 128, weights=y_T1[:, 0] ** 2)
    assert top_s - 5.0 == pytest.approx(chain.delay_s, abs=1e-3)
    assert "78 ms" in chain.notes[0]


@pytest.mark.parametrize("highpass_hz", [0.5, None])
def test_a_recording_that_begins_at_an_offset_begins_without_a_step(highpass_hz):
    recipe = Recipe(sfreq=128.0, highpass_hz=highpass_hz, lowpass_hz=40.0, causal=True)
    x_TC = np.full((1000, 2), 5e-3)
    expected = 0.0 if highpass_hz else 5e-3
    np.testing.assert_allclose(CausalChain(recipe, 100.0, 2).push(x_TC), expected, atol=1e-12)


def test_missing_samples_are_forgotten_and_leave_no_nan():
    x_TC = noise(256.0, 60)
    x_TC[:300, 1] = x_TC[2000:2100, 0] = np.nan
    whole = CausalChain(RECIPE, 256.0, 3).push(noise(256.0, 60))
    y_TC = CausalChain(RECIPE, 256.0, 3).push(x_TC)
    assert np.isfinite(y_TC).all()
    np.testing.assert_allclose(y_TC[-1000:], whole[-1000:], atol=1e-8)


def test_a_file_prepared_at_once_has_the_samples_of_the_chain():
    x_TC = noise(200.0, 90)
    raw = mne.io.RawArray(x_TC.T, mne.create_info(3, 200.0, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([10.0], [2.0], ["sz"]))
    prepared, notes, highpass = apply_recipe(raw, RECIPE, 50.0)
    live = CausalChain(RECIPE, 200.0, 3, 50.0).push(x_TC)
    np.testing.assert_array_equal(prepared.get_data().T, live)
    assert prepared.info["sfreq"] == 128.0 and highpass == 0.5
    assert prepared.annotations.onset.tolist() == [10.0]
    assert any("delays the signal" in n for n in notes)


def test_an_unknown_line_frequency_is_said():
    assert any("--line-freq" in n for n in CausalChain(RECIPE, 256.0, 1).notes)


def test_a_piece_of_other_channels_is_refused():
    with pytest.raises(DataError, match="3 channels"):
        CausalChain(RECIPE, 256.0, 3).push(np.zeros((10, 2)))


def test_a_contract_older_than_the_field_is_not_causal_and_others_are_told_apart():
    old = Preprocess().to_dict()
    del old["recipe"]["causal"]
    assert Preprocess.from_dict(old).recipe.causal is False
    with pytest.raises(ContractError, match="causal is True in a but False in b"):
        require_same(RECIPE, Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0),
                     my_name="a", their_name="b")  # fmt: skip
    del old["recipe"]["notch"]
    with pytest.raises(ContractError, match="notch"):
        Preprocess.from_dict(old)


@pytest.mark.parametrize("flags", [[], ["--causal"]])
def test_preparation_is_causal_where_it_is_asked_to_be(flags):
    from data_prep.cli import build_parser, recipe_of

    assert recipe_of(build_parser().parse_args(["run", *flags])).causal is bool(flags)
