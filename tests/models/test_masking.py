"""Masking: how much is hidden, by what, and what a guess costs."""

import math

import torch

from brainfm.models.masking import MaskPlan, draw_plan, hidden_positions, hide, masked_loss


def test_half_is_hidden_and_a_fifth_of_it_shows_something_else():
    plan = draw_plan((4, 16, 200), generator=torch.Generator().manual_seed(0))
    x = torch.randn(4, 16, 200, 3)
    token = torch.full((3,), 9.0)
    out = hide(x, token, plan)
    hidden = hidden_positions(plan)
    is_token = (out == 9.0).all(-1)
    assert abs(hidden.float().mean() - 0.5) < 0.01
    assert abs(is_token[hidden].float().mean() - 0.8) < 0.01
    assert torch.equal(out[~hidden], x[~hidden])


def test_the_other_fifth_shows_features_of_the_batch():
    x = torch.arange(6.0).view(1, 1, 6, 1)
    plan = MaskPlan(torch.zeros(1, 1, 6), torch.full((1, 1, 6), 0.9), torch.arange(6).flip(0))
    assert hide(x, torch.tensor([-1.0]), plan).flatten().tolist() == [5, 4, 3, 2, 1, 0]


def test_a_plan_follows_its_generator():
    a, b = (draw_plan((2, 3, 4), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_knowing_nothing_costs_the_logarithm_of_the_codes():
    out = masked_loss(torch.zeros(10, 3, 24), torch.randint(24, (10, 3)))
    torch.testing.assert_close(out["loss"], torch.tensor(math.log(24)))


def test_accuracy_is_counted_a_level():
    ids = torch.tensor([[0, 1], [0, 1]])
    logits = torch.nn.functional.one_hot(torch.tensor([[0, 1], [0, 2]]), 4).float()
    out = masked_loss(logits, ids)
    assert (out["acc_0"], out["acc_1"], out["acc"]) == (1.0, 0.5, 0.75)


def test_nothing_hidden_costs_nothing():
    out = masked_loss(torch.zeros(0, 3, 24), torch.zeros(0, 3, dtype=torch.long))
    assert all(v == 0 for v in out.values())
