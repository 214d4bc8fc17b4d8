"""The next-segment objective: fair negatives, one window alone, and what is the same token."""

import pytest
import torch
from model_batches import make_batch, with_bad_channels

from brainfm.errors import ContractError
from brainfm.models.mvpformer import MVPFormerConfig
from brainfm.tasks.contrastive import (
    NextSegment,
    contrastive_logits,
    contrastive_losses,
    draw_negatives,
    next_logits,
)


def test_negatives_are_every_other_token_equally_often():
    torch.manual_seed(0)
    counts = draw_negatives(6, torch.full((20_000,), 2), 3).flatten().bincount(minlength=6)
    assert counts[2] == 0
    others = counts[[0, 1, 3, 4, 5]].double() / counts.sum()
    assert torch.allclose(others, torch.full((5,), 0.2, dtype=torch.float64), atol=0.01)


def test_logits_are_cosines_over_temperature_with_the_true_token_first():
    guess = torch.tensor([[1.0, 0.0]])
    true, other = torch.tensor([[3.0, 4.0]]), torch.tensor([[[0.0, 2.0], [-5.0, 0.0]]])
    logits = contrastive_logits(guess, true, other, 0.1)
    torch.testing.assert_close(logits, torch.tensor([[6.0, 0.0, -10.0]]))
    assert contrastive_losses(logits)["accuracy"] == 1


def test_a_negative_that_is_the_true_token_counts_for_nothing():
    true = torch.tensor([[3.0, 4.0]])
    other = torch.stack([true * (1 + 1e-7), -true], 1)
    logits = contrastive_logits(torch.ones(1, 2), true, other, 0.1)
    assert logits[0, 1] == float("-inf") and torch.isfinite(logits[0, [0, 2]]).all()


def test_a_perfect_guess_loses_nothing_and_a_random_one_pays_for_all_candidates():
    g = torch.Generator().manual_seed(0)
    token = torch.randn(2, 6, 3, 64, generator=g)
    ok = torch.ones(2, 6, 3, dtype=torch.bool)
    knowing = token.roll(-1, 1)
    cost = contrastive_losses(next_logits(token, knowing, ok, 30, temperature=0.02))
    assert cost["loss"] < 1e-3 and cost["accuracy"] == 1
    blind = torch.randn(token.shape, generator=g)
    cost = contrastive_losses(next_logits(token, blind, ok, 30, temperature=10.0))
    assert float(cost["loss"]) == pytest.approx(torch.tensor(31.0).log().item(), rel=0.02)


def test_channels_that_are_not_valid_are_neither_guessed_nor_negatives():
    token = torch.randn(2, 4, 5, 16, generator=torch.Generator().manual_seed(0))
    ok = torch.ones(2, 4, 5, dtype=torch.bool)
    ok[:, :, 3] = False
    token[:, :, 3] = float("nan")
    logits = next_logits(token, token, ok, 8, temperature=0.1)
    assert logits.shape == (2 * 3 * 4, 9) and torch.isfinite(logits).all()


def task():
    torch.manual_seed(0)
    return NextSegment(MVPFormerConfig(preset="test"), n_negatives=5, warmup_steps=2)


def test_one_window_alone_trains_and_every_part_of_the_model_learns():
    one = task()
    one.losses(make_batch(b=1, c=4, t=128))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in one.model.parameters())


def test_bad_channels_do_not_change_what_is_learned():
    one, batch = task(), make_batch(b=2, c=4, t=128)
    parts = []
    for b in (batch, with_bad_channels(batch)):
        torch.manual_seed(1)
        parts.append(float(one.losses(b)["loss"].detach()))
    assert parts[0] == pytest.approx(parts[1], rel=1e-4)


def test_a_window_of_one_segment_is_refused_with_the_remedy():
    with pytest.raises(ContractError, match="make window_s longer"):
        task().losses(make_batch(b=2, c=4, t=40))
