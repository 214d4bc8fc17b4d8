"""Which parameters decay, and at which rate they learn."""

import pytest
import torch
from torch import nn

from brainfm.errors import ContractError
from brainfm.hub import BrainModel
from brainfm.training.optim import AdamWSettings, adamw, undecayed

SETTINGS = dict(
    lr=1e-3, weight_decay=0.1, betas=(0.9, 0.95), eps=1e-8,
    warmup_steps=1, decay_steps=10, lr_floor=0.1,
)  # fmt: skip


class Model(BrainModel):
    def __init__(self) -> None:
        super().__init__(None)
        self.query_SD = nn.Parameter(torch.zeros(3, 4))
        self.embed = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.quantizer = nn.Linear(4, 4)
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 2, 3))


def settings(**changes) -> AdamWSettings:
    return AdamWSettings(**{**SETTINGS, **changes})


def test_only_matrices_decay():
    decayed = {n for n, _ in Model().named_parameters()} - undecayed(Model())
    assert decayed == {"quantizer.weight", "conv.parametrizations.weight.original1"}


def test_every_parameter_is_in_exactly_one_group():
    model = Model()
    groups = adamw(model, settings(), {"quantizer": 5e-3}).param_groups
    seen = [id(p) for g in groups for p in g["params"]]
    assert sorted(seen) == sorted(id(p) for p in model.parameters())


def test_a_named_part_has_its_own_rate_and_keeps_its_decay():
    model = Model()
    groups = adamw(model, settings(), {"quantizer": 5e-3}).param_groups
    rate = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert rate[id(model.quantizer.weight)] == (5e-3, 0.1)
    assert rate[id(model.quantizer.bias)] == (5e-3, 0.0)
    assert rate[id(model.query_SD)] == (1e-3, 0.0)


def test_frozen_parameters_are_left_out():
    model = Model()
    model.quantizer.requires_grad_(False)
    groups = adamw(model, settings()).param_groups
    assert id(model.quantizer.weight) not in {id(p) for g in groups for p in g["params"]}


def test_a_model_that_is_all_frozen_is_refused():
    with pytest.raises(ContractError, match="nothing to train"):
        adamw(Model().requires_grad_(False), settings())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 2.0),
        ("lr", 0.0),
        ("weight_decay", -1.0),
        ("betas", (0.9, 1.0)),
        ("lr_floor", 5.0),
        ("warmup_steps", 10),
        ("decay_steps", 1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(ContractError, match=key):
        settings(**{key: value})
