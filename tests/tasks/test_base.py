"""Randomness that depends on the step and on nothing else."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from brainfm.heads.classify import Classify, ClassifyConfig
from brainfm.hub import load_model
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.tasks.base import step_seed
from brainfm.tasks.codec import CodecTask
from brainfm.tasks.finetune import Finetune


def test_a_seed_is_a_pure_function():
    assert step_seed(7, 0, 12, 0, 1) == step_seed(7, 0, 12, 0, 1)


def test_neighbouring_steps_ranks_and_stages_share_no_seed():
    seeds = {
        step_seed(seed, stage, step, part, rank)
        for seed in range(3)
        for stage in (0, 1)
        for step in range(20)
        for part in range(2)
        for rank in range(4)
    }
    assert len(seeds) == 3 * 2 * 20 * 2 * 4
    assert all(0 <= s < 2**63 for s in seeds)


def test_what_was_drawn_before_a_step_does_not_matter(batch, codec):
    task = CodecTask(codec)
    losses = []
    state = {k: v.clone() for k, v in codec.state_dict().items()}
    for burn in (0, 17):
        codec.load_state_dict(state)
        torch.rand(burn)
        task._trainer = _AtStep(3)
        task.on_train_batch_start(batch, 0)
        losses.append(task.losses(batch)["loss"].item())
    assert losses[0] == losses[1]


def test_a_model_takes_over_the_contract_of_its_data(codec):
    task = CodecTask(codec)
    contract = Preprocess(recipe=Recipe(sfreq=200.0))
    task.adopt(contract)
    assert task.model.preprocess is contract


def test_gradient_norm_is_kept_before_clipping(batch, codec):
    task = CodecTask(codec)
    task._trainer = _AtStep(0)
    optimizer = torch.optim.SGD(task.parameters(), lr=1.0)
    task.losses(batch)["loss"].backward()
    squares = [p.grad.square().sum() for p in task.parameters() if p.grad is not None]
    before = torch.stack(squares).sum().sqrt()
    task.configure_gradient_clipping(optimizer, 0.01)
    assert torch.isclose(task.parts["grad_norm"], before)
    squares = [p.grad.square().sum() for p in task.parameters() if p.grad is not None]
    assert torch.stack(squares).sum().sqrt() <= 0.0101


class Watched(Finetune):
    """Notes which parts were in training mode when a batch came."""

    def losses(self, batch):
        parts = {"encoder": self.model, "tokenizer": self.model.tokenizer, "head": self.head}
        learns = {name: part.training for name, part in parts.items()}
        self.seen = {**getattr(self, "seen", {}), self.training: learns}
        return super().losses(batch)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_loaded_model_learns_in_training_mode_and_what_is_frozen_does_not(
    frozen, batch, tmp_path
):
    made = BrainOmni(BrainOmniConfig(preset="test"))
    made.tokenizer.initialise_codebooks(batch)
    made.save_pretrained(tmp_path / "encoder")
    encoder = load_model(tmp_path / "encoder")
    shape = encoder(batch).h_BSWD.shape[1:]
    assert not encoder.training
    task = Watched(
        encoder,
        Classify(ClassifyConfig(2, *shape)),
        frozen=("encoder",) if frozen else ("tokenizer",),
    )
    batch.target_B = torch.tensor([0, 1, 0, 1])
    trainer = Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=1,
        default_root_dir=tmp_path,
    )
    train, val = (DataLoader([batch] * n, batch_size=None) for n in (2, 1))
    trainer.fit(task, train, val)
    assert task.seen[True] == {"encoder": not frozen, "tokenizer": False, "head": True}
    assert not any(task.seen[False].values())


class _AtStep:
    """As much of a trainer as a task asks for."""

    def __init__(self, step: int) -> None:
        self.global_step, self.global_rank, self.accumulate_grad_batches = step, 0, 1
        self.strategy = None
