"""The learning rate is a closed form of the step."""

import math

import pytest
import torch

from brainfm.errors import ContractError
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
    schedule = cosine_schedule(optimizer, 3, 12, 0.2)
    for step in range(15):
        for group, base in zip(optimizer.param_groups, (1.0, 3.0), strict=True):
            assert group["lr"] == pytest.approx(base * warmup_cosine(step, 3, 12, 0.2))
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("warmup", "decay", "floor"), [(10, 10, 0.1), (20, 10, 0.1), (-1, 5, 0)])
def test_a_warm_up_that_outlasts_the_decay_is_refused(warmup, decay, floor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ContractError, match=f"warmup_steps is {warmup}"):
        cosine_schedule(optimizer, warmup, decay, floor)


def test_a_floor_that_is_no_fraction_is_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ContractError, match="lr_floor is 5"):
        cosine_schedule(optimizer, 1, 10, 5)
