"""A head on an encoder, trained on labelled windows."""

from dataclasses import replace

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.heads.classify import Classify, ClassifyConfig
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.tasks.finetune import Finetune, fit_classifier, rows
from brainfm.training.optim import adamw


@pytest.fixture
def trials(batch):
    """Two classes told apart by a strong rhythm, in every other window."""
    many = rows(batch, torch.arange(4).repeat(6))
    target = torch.arange(4).repeat(6) % 2
    x = many.x_BCWP + 3.0 * target[:, None, None, None] * torch.sin(torch.arange(64) * 0.8)
    return replace(many, x_BCWP=x.float(), target_B=target)


@pytest.fixture
def task(codec, trials):
    torch.manual_seed(0)
    encoder = BrainOmni(BrainOmniConfig(preset="test", tokenizer=codec.config))
    encoder.tokenizer.load_state_dict(codec.state_dict())
    h = encoder.eval()(trials).h_BSWD
    head = Classify(ClassifyConfig(2, h.shape[1], h.shape[2], h.shape[3], dropout=0.0))
    return Finetune(encoder, head, lr=1e-3, head_lr=1e-2, warmup_steps=2, decay_steps=36)


def test_a_separable_task_is_learned(task, trials):
    before = task.eval().losses(trials)["loss"].item()
    fit_classifier(task, trials, epochs=12, batch_size=8)
    after = task.losses(trials)
    assert after["loss"].item() < 0.8 * before
    assert after["acc"].item() > 0.9


def test_the_same_seed_gives_the_same_weights(task, trials):
    state = {k: v.clone() for k, v in task.state_dict().items()}
    fit_classifier(task, trials, epochs=1, batch_size=8)
    first = {k: v.clone() for k, v in task.state_dict().items()}
    task.load_state_dict(state)
    torch.rand(5)
    fit_classifier(task, trials, epochs=1, batch_size=8)
    assert all(torch.equal(first[k], v) for k, v in task.state_dict().items())


def test_encoder_and_head_learn_at_their_own_rates(task):
    groups = adamw(task, task.settings, task.lr_of()).param_groups
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert rate[id(task.head.out.weight)] == 1e-2
    assert rate[id(task.model.head.weight)] == 1e-3
    assert rate[id(task.model.blocks[0].feed_norm.weight)] == 1e-3


def test_frozen_parts_do_not_move(codec, task, trials):
    frozen = Finetune(task.model, task.head, frozen=("encoder",))
    before = {k: v.clone() for k, v in frozen.model.state_dict().items()}
    head = frozen.head.out.weight.clone()
    fit_classifier(frozen, trials, epochs=1, batch_size=8)
    assert all(torch.equal(before[k], v) for k, v in frozen.model.state_dict().items())
    assert not torch.equal(head, frozen.head.out.weight)


def test_windows_without_labels_are_refused(task, batch):
    with pytest.raises(ContractError, match="no labels"):
        task.losses(batch)


def test_signals_of_another_recipe_are_refused(task):
    with pytest.raises(ContractError, match="sfreq"):
        task.adopt(Preprocess(recipe=Recipe(sfreq=200.0)))


def test_rows_keep_every_tensor_aligned(trials):
    some = rows(trials, torch.tensor([3, 0]))
    assert len(some) == 2
    assert some.target_B.tolist() == [1, 0]
    assert torch.equal(some.x_BCWP[1], trials.x_BCWP[0])
