"""Fine-tune an encoder and its head on labelled windows.

Shapes: B batch, K classes.
"""

from dataclasses import fields, replace

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.heads.classify import Classify
from brainfm.models.base import Encoder
from brainfm.signals.preprocess import Preprocess, require_same
from brainfm.tasks.base import TRAIN, BrainTask, step_seed
from brainfm.training.optim import AdamWSettings, adamw
from brainfm.training.schedule import cosine_schedule
from brainfm.types import SignalBatch


class Finetune(BrainTask):
    """Cross-entropy of a head on an encoder; both learn, each at its own rate.

    Parameters
    ----------
    encoder : pretrained, or fresh for the control with the same recipe
    head : `heads.classify.Classify`
    lr, head_lr : of encoder and head. Published: 3e-6 to 3e-5, head 10 times that; ten times
        higher here, without which small sets did not train in so few steps
    frozen : parts of parameter names that stay as they are; "encoder" freezes all but the head
    warmup_steps, decay_steps, lr_floor : see `training.schedule`; published 10 %, all steps, .1
    betas, eps, weight_decay : of AdamW, as in BrainOmni's downstream training
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Classify,
        lr: float = 3e-4,
        head_lr: float = 3e-3,
        frozen: tuple[str, ...] = ("tokenizer",),
        warmup_steps: int = 20,
        decay_steps: int = 200,
        lr_floor: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
        seed: int = 0,
    ) -> None:
        settings = AdamWSettings(
            lr=lr,
            weight_decay=weight_decay,
            betas=betas,
            eps=eps,
            warmup_steps=warmup_steps,
            decay_steps=decay_steps,
            lr_floor=lr_floor,
        )
        super().__init__(encoder, settings, seed)
        self.head = head
        self.head_lr = head_lr
        for name, p in self.model.named_parameters():
            if any(part in f"encoder.{name}" for part in frozen):
                p.requires_grad_(False)

    def adopt(self, preprocess: Preprocess) -> None:
        require_same(
            self.model.preprocess, preprocess, my_name="the encoder", their_name="the data"
        )

    def lr_of(self) -> dict[str, float]:
        # "model.head" is the encoder's own pretraining head, which is not used here.
        return {"model.": self.settings.lr, "head.": self.head_lr}

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        if batch.target_B is None:
            raise ContractError("the batch carries no labels; fine-tuning needs target_B")
        out = self.head(self.model(batch), batch.target_B)
        hit = (out.logits_BK.argmax(-1) == batch.target_B).float().mean()
        return {"loss": sum(out.losses.values()), "acc": hit}


def fit_classifier(
    task: Finetune, trials: SignalBatch, *, epochs: int, batch_size: int
) -> Finetune:
    """Train on labelled windows that are all in memory; for probes of a few hundred trials.

    The same steps as under the trainer (schedule, clipping at 1, randomness by step), without
    its files and processes.

    Parameters
    ----------
    task : its `decay_steps` should be the number of steps taken here
    trials : all training windows, one layout, with `target_B`
    epochs : passes, each in an order of its own
    batch_size : windows in a step; a remainder of one is left out of its pass
    """
    optimizer = adamw(task, task.settings, task.lr_of())
    schedule = cosine_schedule(optimizer, task.settings)
    task.train()
    step = 0
    for _ in range(epochs):
        torch.manual_seed(step_seed(task.seed, TRAIN, step, 1))
        for index in torch.randperm(len(trials)).split(batch_size):
            if len(index) < 2 <= len(trials):
                continue
            torch.manual_seed(step_seed(task.seed, TRAIN, step, 0))
            loss = task.losses(rows(trials, index))["loss"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
    return task.eval()


def rows(batch: SignalBatch, index: Tensor) -> SignalBatch:
    """The windows of a batch at `index`."""
    taken = {f.name: getattr(batch, f.name) for f in fields(batch)}
    tensors = {n: v[index.to(v.device)] for n, v in taken.items() if isinstance(v, Tensor)}
    return replace(batch, **tensors, refs=[batch.refs[i] for i in index] if batch.refs else [])
