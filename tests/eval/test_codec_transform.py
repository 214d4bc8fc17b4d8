"""Transform coders: energies, steps, bands, and components of training data only."""

import numpy as np
import pytest

from brainfm.data.sensors import synthetic_channels
from eval.codec import bases
from eval.codec import transform as tc
from eval.codec.windows import Piece, round_offset, round_scale, standardised
from eval.metrics import signal

SFREQ = 100.0


def piece(n_windows=3, n_channels=4, seed=0, mixed=False, layout="a", n=640, scale=2e-5):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(n_windows, 1 if mixed else n_channels, n)), -1)
    x = x - 0.9 * np.roll(x, 1, -1)
    if mixed:  # one source, seen by all
        x = x * np.array([1, -0.5, 2, 0.7])[:, None] + 0.01 * rng.normal(
            size=(n_windows, n_channels, n)
        )
    valid = np.ones(x.shape[:2], bool)
    channels = synthetic_channels("EEG", n_channels)
    return Piece("p", "g", "EEG", layout, True, channels, SFREQ, 40.0, scale * x + 1e-5, valid)


def fitted(coder, *pieces):
    coder.fit(pieces)
    return coder


def test_the_zone_around_zero_is_dead():
    q = tc.quantise(np.array([0.66, -0.66, 0.67, -0.67, 1.6, 1.7]), 1.0)
    assert q.tolist() == [0, 0, 1, -1, 1, 2]


def test_what_lies_before_is_all_a_size_depends_on():
    q = np.array([[0, 1, -3, 0, 0, 0, 2]])
    assert tc.sizes_before(q).tolist() == [[0, 0, 1, 3, 2, 0, 0]]


def test_the_error_is_that_of_the_coefficients():
    p = piece()
    coder = fitted(tc.TransformCoder([0.5]), piece(seed=1))
    coded = next(coder.code(p))
    scaled = standardised(p)
    k = bases.cosines(scaled.x_BCT, SFREQ)
    q = tc.quantise(k, 0.5)
    size = np.abs(q)
    group = np.broadcast_to(bases.cosine_bands(640, SFREQ), k.shape)
    centre = coder.centre[0.5][np.minimum(size, 2) - 1, group]
    value = np.where(size > 0, np.sign(q) * (size + centre) * 0.5, 0)
    variance = (scaled.x_BCT - scaled.x_BCT.mean(-1, keepdims=True)) ** 2
    want = ((k - value) ** 2).sum(-1) / variance.sum(-1)
    np.testing.assert_allclose(signal.nmse(coded.target_BCT, coded.rec_BCT), want, rtol=1e-9)


@pytest.mark.parametrize(
    "kind", [tc.TransformCoder, tc.LappedCoder, tc.WaveletCoder, tc.PrincipalCoder]
)
def test_a_finer_step_costs_more_and_keeps_more(kind):
    coder = fitted(kind(), piece(seed=1), piece(seed=2))
    coded = list(coder.code(piece()))
    bits = [c.bits for c in coded]
    error = [signal.nmse(c.target_BCT, c.rec_BCT).mean() for c in coded]
    assert (np.diff(bits) > 0).all() and (np.diff(error) < 0).all()
    # Fine steps: errors are uniform, step squared over 12 in units of the variance.
    assert error[-1] == pytest.approx(tc.STEPS[-1] ** 2 / 12, rel=0.05)
    # A halved step costs one bit a coefficient more where all are large.
    n = piece().x_BCT.size
    assert (bits[-1] - bits[-2]) / n == pytest.approx(2, abs=0.1)


def test_high_rates_cost_about_the_differential_entropy_of_white_noise():
    rng = np.random.default_rng(3)
    train, test = piece(n_windows=80), piece(n_windows=80)
    train.x_BCT[:], test.x_BCT[:] = rng.normal(size=(2, *train.x_BCT.shape))
    coder = fitted(tc.TransformCoder([1 / 16]), train)
    coded = next(coder.code(test))
    side = standardised(test).bits
    want = np.log2(16 * np.sqrt(2 * np.pi * np.e))
    assert (coded.bits - side) / test.x_BCT.size == pytest.approx(want, abs=0.05)


def test_components_pay_where_channels_share_a_source():
    train, test = piece(seed=1, mixed=True), piece(seed=2, mixed=True)
    plain = next(fitted(tc.TransformCoder([0.2]), train).code(test))
    joint = next(fitted(tc.PrincipalCoder([0.2]), train).code(test))
    assert joint.bits < 0.5 * plain.bits
    error = [signal.nmse(c.target_BCT, c.rec_BCT).mean() for c in (plain, joint)]
    assert error[1] < 2 * error[0]


def test_components_are_those_of_training_and_of_its_layouts():
    coder = fitted(tc.PrincipalCoder([0.5]), piece(seed=1))
    turn, counts = coder.turn["a"].copy(), coder.tables[0.5].counts.copy()
    list(coder.code(piece(seed=2)))
    assert (coder.turn["a"] == turn).all() and (coder.tables[0.5].counts == counts).all()
    np.testing.assert_allclose(turn @ turn.T, np.eye(4), atol=1e-12)
    assert coder.applies(piece()) and not coder.applies(piece(layout="b"))


def test_scales_are_charged_and_are_what_sixteen_bits_hold():
    p = piece()
    p.valid_BC[0, 1] = False
    p.x_BCT[0, 1] = 0
    scaled = standardised(p)
    assert scaled.bits == 2 * 16 * 11
    np.testing.assert_allclose(scaled.back(scaled.x_BCT)[p.valid_BC], p.x_BCT[p.valid_BC])
    octaves = np.log2(scaled.scale_BC1) * 512
    np.testing.assert_allclose(octaves, octaves.round(), atol=1e-6)
    assert abs(round_scale(np.array(3e-13)) / 3e-13 - 1) < 0.0007
    assert round_offset(np.array(1e-3), np.array(2.0)) == 0.0
    assert (next(tc.TransformCoder([]).code(p), None)) is None


def test_what_is_lossless_keeps_every_integer_of_its_step():
    train, test = piece(seed=1), piece(seed=2)
    coder = fitted(tc.LosslessCoder([1 / 64]), train)
    coded = next(coder.code(test))
    step = coder.unit[0] / 64
    assert np.abs(coded.rec_BCT - coded.target_BCT).max() <= step / 2 * (1 + 1e-9)
    np.testing.assert_allclose(coded.rec_BCT / step, np.rint(test.x_BCT / step), atol=1e-6)
    assert f"{step:.3g}" in coder.stated()


def test_the_mean_alone_costs_nothing_and_keeps_nothing():
    coded = next(tc.Zero().code(piece()))
    assert coded.bits == 0
    assert signal.nmse(coded.target_BCT, coded.rec_BCT) == pytest.approx(np.ones((3, 4)))
