"""A ContextModel taken apart: what each output does, what each input tells, what rounding hides."""

import pytest
import torch

from brainfm.codecs.context import (
    HIGHEST,
    LOWEST,
    MOST_ALIKE,
    WEIGHT_GRID,
    ContextConfig,
    ContextModel,
    Guess,
    bits_of,
    plog2,
)
from brainfm.codecs.neighbours import EVIDENCE, GEOMETRY, OWN, PER_REFERENCE

R = 2
N_OWN = len(OWN)
N_NEAR = N_OWN + R * PER_REFERENCE
OF_SCALE = N_OWN + 4 * R
"""First output that is no weight of a neighbour."""


def model(spread=0.0):
    """Untrained; with `spread` its last layer looks at everything."""
    torch.manual_seed(0)
    made = ContextModel(ContextConfig(n_references=R, width=16))
    if spread:
        torch.nn.init.normal_(made.leave.weight, std=spread)
    return made


def told(made, output, value):
    """The model with one output shifted by `value`."""
    with torch.no_grad():
        made.leave.bias[output] = value
    return made


def near_by(many=8, most=50, seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, (many, N_NEAR), generator=g).double()


@torch.no_grad()
def ask(made, near, exact=False, geometry=0.0, band=0, log_step=0.0, log_block=0.0):
    many = len(near)
    return made(
        near,
        torch.full((many, R * GEOMETRY), geometry),
        torch.full((many,), band),
        torch.full((many,), log_step),
        torch.full((many,), log_block),
        exact=exact,
    )


def guess(mean, log_scale, tail=-2.0):
    made = (torch.as_tensor(v, dtype=torch.float64) for v in (mean, log_scale, tail))
    return Guess(*made, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("tail", [-6.0, 0.0, 6.0])
def test_all_integers_share_one_whatever_the_tails(tail):
    q = torch.arange(-2000, 2001, dtype=torch.float64)
    total = torch.exp2(-bits_of(q, guess(0.3, 1.0, tail))).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-9)


def test_only_the_distance_from_the_mean_counts():
    q = torch.arange(-6, 7, dtype=torch.float64)
    here = bits_of(q, guess(0.25, 1.0))
    torch.testing.assert_close(bits_of(q + 100, guess(100.25, 1.0)), here)
    torch.testing.assert_close(bits_of(-q, guess(-0.25, 1.0)), here)


def test_twice_the_scale_costs_a_bit_at_the_mean():
    zero = torch.zeros((), dtype=torch.float64)
    narrow, wide = (bits_of(zero, guess(0.0, s)) for s in (10.0, 11.0))
    assert float(wide - narrow) == pytest.approx(1.0, abs=1e-4)


def test_a_certain_integer_is_free_without_tails():
    assert float(bits_of(torch.zeros(()).double(), guess(0.0, LOWEST, -40.0))) < 1e-2


@pytest.mark.parametrize("j", range(N_OWN))
def test_a_weight_of_one_repeats_its_neighbour(j):
    near = near_by()
    for exact in (False, True):
        mean = ask(told(model(), j, 1.0), near, exact).mean
        torch.testing.assert_close(mean.double(), near[:, j])


@pytest.mark.parametrize("r", range(R))
def test_each_reference_has_a_weight_of_what_follows_from_it(r):
    near = torch.zeros(1, N_NEAR).double()
    at = N_OWN + r * PER_REFERENCE
    near[0, :EVIDENCE] = 40.0
    near[0, at : at + EVIDENCE] = 80.0
    near[0, at + EVIDENCE] = 100.0
    others = [ask(told(model(), N_OWN + 3 * R + k, 1.0), near).mean for k in range(R)]
    assert float(others[r]) == pytest.approx(50.0, abs=0.5)
    assert float(others[1 - r]) == 0.0


def test_the_gain_of_an_opposite_reference_is_limited_too():
    near = torch.zeros(1, N_NEAR).double()
    near[0, :EVIDENCE] = -1000.0
    near[0, N_OWN : N_OWN + EVIDENCE] = 1.0
    assert model()._shown(near)[1].tolist() == [[-MOST_ALIKE, 0.0]]


def test_an_output_shifts_the_scale_by_octaves_until_its_limits():
    near = near_by()
    plain = ask(model(), near).log_scale
    torch.testing.assert_close(ask(told(model(), OF_SCALE, 1.5), near).log_scale, plain + 1.5)
    assert (ask(told(model(), OF_SCALE, 1e3), near).log_scale == HIGHEST).all()
    assert (ask(told(model(), OF_SCALE, -1e3), near).log_scale == LOWEST).all()


def test_tails_and_places_are_outputs_of_their_own():
    near = near_by()
    assert (ask(told(model(), OF_SCALE + 1, -3.0), near).tail == -3.0).all()
    inside = ask(told(model(), OF_SCALE + 3, 0.25), near).inside
    assert torch.equal(inside, torch.tensor([0.0, 0.25, 0.0]).expand(8, 3))


def test_the_untrained_scale_is_the_logarithm_of_the_size_around():
    near = torch.zeros(1, N_NEAR).double()
    near[0, 0] = -28.0  # a quarter of the sum is 7
    assert float(ask(model(), near, True).log_scale) == 3.0 - 2.0


@pytest.mark.parametrize(
    "other", [{"geometry": 1.0}, {"band": 40}, {"log_step": -8.0}, {"log_block": -3.0}]
)
def test_place_frequency_step_and_block_are_looked_at(other):
    made, near = model(0.3), near_by()
    assert not torch.allclose(ask(made, near).mean, ask(made, near, **other).mean)


def test_neighbours_of_one_coefficient_do_not_reach_another():
    made, near = model(0.3), near_by()
    other = near.clone()
    other[0] += 9
    a, b = ask(made, near, True), ask(made, other, True)
    assert torch.equal(a.mean[1:], b.mean[1:])
    assert a.mean[0] != b.mean[0]


def test_weights_closer_than_their_grid_make_the_same_exact_guesses():
    made, near = model(), near_by()
    with torch.no_grad():
        for p in (made.enter.weight, made.hidden.weight, made.leave.bias):
            p.copy_(torch.round(p * WEIGHT_GRID) / WEIGHT_GRID)
        made.leave.weight.copy_(torch.randint(-900, 900, made.leave.weight.shape) / WEIGHT_GRID)
        exact, loose = ask(made, near, True), ask(made, near)
        for p in (made.enter.weight, made.hidden.weight, made.leave.weight):
            p += 0.4 / WEIGHT_GRID
    assert torch.equal(ask(made, near, True).mean, exact.mean)
    assert not torch.equal(ask(made, near).mean, loose.mean)


def test_exact_guesses_are_double_and_trained_ones_single():
    made = model(0.3)
    assert {v.dtype for v in ask(made, near_by(), True)} == {torch.float64}
    with torch.autocast("cpu", torch.bfloat16):
        assert {v.dtype for v in ask(made, near_by())} == {torch.float32}


def test_exact_guesses_do_not_change_with_half_precision_around_them():
    made, near = model(0.3), near_by()
    plain = ask(made, near, True)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ask(made, near, True)
    assert all(torch.equal(a, b) for a, b in zip(plain, inside, strict=True))


def test_bits_teach_every_layer():
    made, near = model(0.1), near_by(64)
    band, zero = torch.arange(64), torch.zeros(64)
    found = made(near, torch.zeros(64, R * GEOMETRY), band, zero, zero)
    bits_of(near[:, 0].float(), found).sum().backward()
    for p in made.parameters():
        assert torch.isfinite(p.grad).all() and p.grad.abs().max() > 0


def test_between_powers_of_two_the_logarithm_is_a_line():
    n = torch.tensor([8.0, 10.0, 12.0, 14.0, 16.0], dtype=torch.float64) - 1
    assert plog2(n).tolist() == [3.0, 3.25, 3.5, 3.75, 4.0]
