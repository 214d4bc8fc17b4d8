from pathlib import Path

import numpy as np
import pytest

from brainfm.signals.normalise import centre_positions, normalise_window
from brainfm.signals.preprocess import Normalise
from brainfm.types import Kind

GOLDEN = Path(__file__).parents[1] / "golden" / "brainomni.npz"
PUBLISHED = Normalise("average", "kind_std", None)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as f:
        return {k: f[k] for k in f.files if k.startswith("prep/")}


@pytest.fixture
def x_CT():
    return np.random.default_rng(0).standard_normal((5, 400)) * 2e-5 + 1e-4


def test_published_normalisation(golden):
    x, _, _ = normalise_window(golden["prep/raw"], golden["prep/sensor_type"], PUBLISHED)
    np.testing.assert_allclose(x, golden["prep/norm_out"], atol=1e-6)


def test_published_positions(golden):
    pos = centre_positions(golden["prep/pos_in"], golden["prep/sensor_type"])
    np.testing.assert_allclose(pos, golden["prep/pos_out"], atol=1e-6)


@pytest.mark.parametrize(
    "spec", [Normalise("none", "kind_std"), Normalise("none", "channel_robust")]
)
def test_scale_and_offset_give_volts_back(x_CT, spec):
    x, scale, offset = normalise_window(x_CT, np.zeros(5), spec)
    np.testing.assert_allclose(x * scale[:, None] + offset[:, None], x_CT, atol=1e-9)


def test_average_reference_gives_the_referenced_signal_back(x_CT):
    x, scale, offset = normalise_window(x_CT, np.zeros(5), PUBLISHED)
    np.testing.assert_allclose(x * scale[:, None], x_CT - x_CT.mean(0), atol=1e-9)
    assert not offset.any()


def test_relative_amplitudes_of_a_kind_survive(x_CT):
    x_CT[0] *= 3
    x, _, _ = normalise_window(x_CT - x_CT.mean(1, keepdims=True), np.zeros(5), Normalise())
    assert x[0].std() / x[1].std() == pytest.approx(3, rel=0.2)


def test_kinds_do_not_share_a_scale(x_CT):
    x_CT[2:] *= 1e-9
    kinds = np.array([Kind.EEG, Kind.EEG, Kind.MAG, Kind.MAG, Kind.MAG])
    x, scale, _ = normalise_window(x_CT, kinds, Normalise(clip=None))
    assert scale[0] / scale[2] > 1e6
    assert 0.1 < x[2:].std() < 10


def test_clipping_limits_what_a_pop_does(x_CT):
    x_CT[0, 7] = 1.0
    x, _, _ = normalise_window(x_CT, np.zeros(5), Normalise("none", "channel_robust", 20.0))
    assert np.abs(x).max() == 20.0


def test_a_flat_channel_stays_finite_and_small():
    x_CT = np.zeros((3, 100))
    x_CT[1:] = np.random.default_rng(0).standard_normal((2, 100)) * 1e-5
    for spec in (Normalise(), Normalise("none", "channel_robust"), PUBLISHED):
        x, scale, _ = normalise_window(x_CT, np.zeros(3), spec)
        assert np.isfinite(x).all() and (scale > 0).all()
    x, _, _ = normalise_window(np.zeros((2, 50)), np.zeros(2), Normalise("none", "channel_robust"))
    assert not x.any()


def test_arbitrary_units_have_no_volt_floor():
    x_CT = np.random.default_rng(0).standard_normal((2, 100)) * 1e-3
    x, _, _ = normalise_window(x_CT, [Kind.BOLD] * 2, Normalise(), unit_C=["au", "au"])
    assert x.std() == pytest.approx(1, rel=0.05)


def test_input_is_not_changed(x_CT):
    before = x_CT.copy()
    normalise_window(x_CT, np.zeros(5), PUBLISHED)
    np.testing.assert_array_equal(x_CT, before)


def test_unknown_positions_stay_unknown_and_do_not_shift_the_others():
    pos = np.random.default_rng(0).standard_normal((4, 3)) * 0.1
    alone = centre_positions(pos, np.zeros(4))
    with_nan = centre_positions(np.vstack([pos, [[np.nan] * 3]]), np.zeros(5))
    np.testing.assert_array_equal(with_nan[:4], alone)
    assert np.isnan(with_nan[4]).all()


def test_magnetometers_and_gradiometers_are_centred_together():
    pos = np.array([[0.0, 0, 0.1], [0, 0, 0.3]])
    both = centre_positions(pos, [Kind.MAG, Kind.GRAD])
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-7)
    np.testing.assert_allclose(centre_positions(pos, [Kind.EEG, Kind.GRAD]), 0, atol=1e-7)


def test_orientations_pass_through():
    pos = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    np.testing.assert_array_equal(centre_positions(pos, [Kind.MAG] * 3)[:, 3:], pos[:, 3:])
