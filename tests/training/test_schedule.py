"""The learning rate is a closed form of the step."""

import math

import pytest
import torch

from brainfm.training.optim import AdamWSettings
from brainfm.training.schedule import cosine_schedule, warmup_cosine


def test_warm_up_is_a_line_that_already_learns_at_step_zero():
    factors = [warmup_cosine(s, 4, 100, 0.1) for s in range(5)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert warmup_cosine(0, 0, 10, 0.0) == 1.0


def test_half_way_through_the_cosine_lies_half_way_to_the_floor():
    assert warmup_cosine(55, 10, 100, 0.05) == pytest.approx((1 + 0.05) / 2)


def test_a_quarter_of_the_cosine_is_the_known_value():
    expected = 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2
    assert warmup_cosine(10, 0, 40, 0.1) == pytest.approx(expected)


def test_after_the_decay_the_floor_holds_for_ever():
    assert warmup_cosine(100, 10, 100, 0.05) == 0.05
    assert warmup_cosine(10**9, 10, 100, 0.05) == 0.05


def test_the_scheduler_follows_the_closed_form_in_every_group():
    a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 1.0}, {"params": [b], "lr": 3.0}])
    settings = AdamWSettings(
        lr=1e-3, weight_decay=0, betas=(0.9, 0.9), eps=1e-8,
        warmup_steps=3, decay_steps=12, lr_floor=0.2,
    )  # fmt: skip
    schedule = cosine_schedule(optimizer, settings)
    for step in range(15):
        for group, base in zip(optimizer.param_groups, (1.0, 3.0), strict=True):
            assert group["lr"] == pytest.approx(base * warmup_cosine(step, 3, 12, 0.2))
        optimizer.step()
        schedule.step()
