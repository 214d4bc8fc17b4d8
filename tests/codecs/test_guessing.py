"""Guesses of a ContextModel: distributions, features of neighbours, and nothing a decoder lacks."""

import math

import pytest
import torch

from brainfm.codecs.context import (
    HIGHEST,
    LOWEST,
    MOST_ALIKE,
    TAIL_RATIO,
    VALUE_GRID,
    ContextConfig,
    ContextModel,
    Guess,
    bits_of,
    plog2,
    rounded,
)
from brainfm.codecs.neighbours import EVIDENCE, GEOMETRY, OWN, PER_REFERENCE

N_NEAR = len(OWN) + PER_REFERENCE


def guess(mean=0.0, log_scale=0.0, tail=-2.0):
    made = (torch.tensor(v, dtype=torch.float64) for v in (mean, log_scale, tail))
    return Guess(*made, torch.zeros(3, dtype=torch.float64))


def model(seed=0, spread=0.05):
    torch.manual_seed(seed)
    made = ContextModel(ContextConfig(n_references=1, width=16))
    torch.nn.init.normal_(made.leave.weight, std=spread)
    return made


def asked(made, near, exact=False):
    many = near.shape[0]
    where = (torch.zeros(many, GEOMETRY), torch.arange(many) % 64, *torch.zeros(2, many))
    with torch.no_grad():
        return made(near, *where, exact=exact)


@pytest.mark.parametrize("log_scale", [-3.0, 0.0, 2.5])
@pytest.mark.parametrize("mean", [0.0, 0.4, -7.3])
def test_probabilities_of_all_integers_sum_to_one(mean, log_scale):
    q = torch.arange(-3000, 3001, dtype=torch.float64)
    total = torch.exp2(-bits_of(q, guess(mean, log_scale))).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-6)


def test_a_mixture_is_the_weighted_sum_of_its_parts():
    def logistic(q, scale):
        return 1 / (1 + math.exp(-(q + 0.5) / scale)) - 1 / (1 + math.exp(-(q - 0.5) / scale))

    share = 0.5 / (1 + math.exp(1.0))
    wanted = (1 - share) * logistic(3, 2.0) + share * logistic(3, 2.0 * TAIL_RATIO)
    got = float(bits_of(torch.tensor(3.0, dtype=torch.float64), guess(0.0, 1.0, -1.0)))
    assert got == pytest.approx(-math.log2(wanted), rel=1e-9)


def test_heavier_tails_make_freaks_cheaper_and_the_middle_dearer():
    q = torch.tensor([0.0, 60.0], dtype=torch.float64)
    light, heavy = (bits_of(q, guess(tail=t)) for t in (-8.0, 0.0))
    assert heavy[0] > light[0]
    assert heavy[1] < light[1]


def test_far_integers_cost_finite_bits_and_have_gradients():
    mean = torch.zeros(3, requires_grad=True)
    scale = torch.full((3,), LOWEST, requires_grad=True)
    tail = torch.full((3,), -30.0, requires_grad=True)
    bits = bits_of(torch.tensor([0.0, 1e4, -1e6]), Guess(mean, scale, tail, torch.zeros(3, 3)))
    bits.sum().backward()
    assert torch.isfinite(bits).all()
    assert all(torch.isfinite(v.grad).all() for v in (mean, scale, tail))


def test_an_untrained_model_expects_zero_and_the_size_it_sees_around():
    made = ContextModel(ContextConfig(n_references=1, width=16))
    quiet, loud = (asked(made, torch.full((1, N_NEAR), v)) for v in (0.0, 400.0))
    assert float(quiet.mean) == float(loud.mean) == 0.0
    assert float(loud.log_scale) - float(quiet.log_scale) > 8.0


def test_scales_stay_between_their_limits():
    made = model(spread=5.0)
    found = asked(made, torch.randint(-(2**26), 2**26, (400, N_NEAR)).float())
    assert found.log_scale.min() >= LOWEST
    assert found.log_scale.max() <= HIGHEST


def likeness(own, other):
    """Gain that the model reads from `EVIDENCE` pairs."""
    near = torch.zeros(1, N_NEAR)
    near[0, :EVIDENCE] = torch.as_tensor(own, dtype=torch.float32)
    near[0, len(OWN) : len(OWN) + EVIDENCE] = torch.as_tensor(other, dtype=torch.float32)
    near[0, len(OWN) + EVIDENCE] = 64.0
    shown, gain = model()._shown(near)
    return float(gain), float(shown[0, -1])


def test_a_reference_that_is_twice_as_large_is_halved():
    other = torch.arange(1, EVIDENCE + 1) * 20.0
    gain, follows = likeness(other / 2, other)
    assert gain == pytest.approx(0.5, abs=1 / VALUE_GRID)
    assert follows == pytest.approx(32.0, abs=0.5)


def test_a_reference_of_opposite_sign_is_turned_round():
    other = torch.arange(1, EVIDENCE + 1) * 20.0
    gain, follows = likeness(-other, other)
    assert gain == pytest.approx(-1.0, abs=1 / VALUE_GRID)
    assert follows == pytest.approx(-64.0, abs=0.5)


def test_without_evidence_nothing_follows_from_a_reference():
    assert likeness([0.0] * EVIDENCE, [0.0] * EVIDENCE) == (0.0, 0.0)


def test_the_gain_from_a_reference_is_limited():
    gain, _ = likeness([1000.0] * EVIDENCE, [1.0] * EVIDENCE)
    assert gain == MOST_ALIKE


def test_likeness_of_huge_integers_is_that_of_their_leading_digits():
    small, _ = likeness([300.0] * EVIDENCE, [400.0] * EVIDENCE)
    large, _ = likeness([300.0 * 2**18] * EVIDENCE, [400.0 * 2**18] * EVIDENCE)
    assert large == pytest.approx(small, abs=0.01)


def test_guesses_do_not_change_with_half_precision_around_them():
    made, near = model(), torch.randint(-50, 50, (20, N_NEAR)).float()
    plain = asked(made, near)
    with torch.autocast("cpu", torch.bfloat16):
        inside = asked(made, near)
    assert torch.equal(plain.mean, inside.mean)
    assert torch.equal(plain.log_scale, inside.log_scale)


def test_exact_guesses_are_the_same_in_any_order_of_the_inputs():
    made = model(spread=0.3)
    near = torch.randint(-(2**20), 2**20, (64, N_NEAR)).double()
    order = torch.randperm(64)
    where = (torch.zeros(64, GEOMETRY).double(), torch.arange(64) * 0, *torch.zeros(2, 64))
    with torch.no_grad():
        plain = made(near, *where, exact=True)
        mixed = made(near[order], *where, exact=True)
    for a, b in zip(plain[:3], mixed[:3], strict=True):
        assert torch.equal(a[order], b)


def test_exact_means_are_multiples_of_a_power_of_two():
    found = asked(model(spread=0.3), torch.randint(-999, 999, (64, N_NEAR)).double(), exact=True)
    assert torch.equal(found.mean * 2**12, torch.round(found.mean * 2**12))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 100, 12345])
def test_the_piecewise_logarithm_is_within_a_tenth(n):
    assert float(plog2(torch.tensor(float(n)))) == pytest.approx(math.log2(1 + n), abs=0.09)


def test_the_piecewise_logarithm_never_falls():
    assert (plog2(torch.arange(0, 5000).float()).diff() > 0).all()


def test_rounding_is_to_the_grid():
    got = rounded(torch.tensor([0.1, -0.3, 0.75]), 4.0)
    assert got.tolist() == [0.0, -0.25, 0.75]
