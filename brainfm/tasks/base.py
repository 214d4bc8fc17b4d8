"""What every training objective shares: randomness by step, optimiser, contract, meters.

Shapes: B batch, C channels, T samples, Q quantiser levels, K codes.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from brainfm.hub import BrainModel
from brainfm.signals.preprocess import Preprocess
from brainfm.training.optim import AdamWSettings, adamw
from brainfm.training.schedule import cosine_schedule
from brainfm.types import SignalBatch

TRAIN, VAL = 0, 1


@dataclass
class Preview:
    """What a picture of a training run shows; every field may be missing."""

    target_BCT: Tensor | None = None
    """Normalised signal."""
    reconstruction_BCT: Tensor | None = None
    sfreq: float = 1.0
    counts_QK: Tensor | None = None
    """How often each code was used."""


def step_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers, well mixed: neighbours share nothing."""
    words = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


class BrainTask(LightningModule):
    """One objective: a model, its loss and its optimiser.

    All randomness of a step is a pure function of (seed, step, rank): the generators are seeded
    when a step begins. A run that was killed and resumed therefore repeats the same numbers, and
    a checkpoint needs no generator states.

    Parameters
    ----------
    model : what is trained and exported
    settings : optimiser and schedule
    seed : of the run
    """

    def __init__(self, model: BrainModel, settings: AdamWSettings, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.seed = seed
        self._is_sharded = False
        self.parts: dict[str, Tensor] = {}
        """Loss parts of the last step, detached; whoever logs reads them all at once."""

    @abstractmethod
    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        """Named scalars of one batch; "loss" is the one to descend, the rest is shown."""

    def preview(self, batch: SignalBatch) -> Preview:
        """What to draw of a validation batch; nothing by default."""
        return Preview()

    def lr_of(self) -> dict[str, float]:
        """Part of a parameter name -> its own rate."""
        return {}

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.adopt(data.preprocess)
        if stage == "fit":
            # What was loaded came in evaluation mode, and Lightning leaves it there: no dropout.
            self.train()

    def train(self, mode: bool = True) -> Self:
        """Training mode for what learns; what has weights and learns none of them only evaluates.

        A frozen encoder or codec so gives the same features for the same window, while a head on
        it has its dropout.
        """
        super().train(mode)
        for module in self.modules() if mode else ():
            learns = [p.requires_grad for p in module.parameters()]
            if learns and not any(learns):
                module.eval()
        return self

    def adopt(self, preprocess: Preprocess) -> None:
        """Take over the data's contract: what a model is trained on is what it expects.

        Tasks that start from trained weights override this and refuse another contract.
        """
        self.model.preprocess = preprocess

    def on_fit_start(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.model.meet(batch.to(self.device) for batch in data.to_meet())

    def configure_model(self) -> None:
        """Let a strategy that shards weights do so, once."""
        shard = getattr(self.trainer.strategy, "shard", None)
        if shard is not None and not self._is_sharded:
            shard(self.model)
            self._is_sharded = True

    def configure_optimizers(self) -> dict[str, Any]:
        s = self.settings
        optimizer = adamw(self, s, self.lr_of())
        schedule = cosine_schedule(optimizer, s)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "frequency": 1},
        }

    def on_train_batch_start(self, batch: SignalBatch, batch_idx: int) -> None:
        part = batch_idx % self.trainer.accumulate_grad_batches
        self._seed(TRAIN, self.global_step, part)

    def on_validation_batch_start(
        self, batch: SignalBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._seed(VAL, batch_idx, 0)

    def training_step(self, batch: SignalBatch, batch_idx: int) -> Tensor:
        parts = self.losses(batch)
        self.parts = {k: v.detach() for k, v in parts.items()}
        return parts["loss"]

    def validation_step(self, batch: SignalBatch, batch_idx: int) -> None:
        for name, value in self.losses(batch).items():
            self.log(f"val/{name}", value.detach(), batch_size=len(batch), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.log("step", float(self.global_step))  # Lightning's own count is one behind

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning does it, but keep the norm: it is the first sign of a run going wrong."""
        sharded = "DeepSpeed" in type(self.trainer.strategy).__name__  # clips by itself
        if sharded or gradient_clip_algorithm not in (None, "norm"):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        limit = gradient_clip_val or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit).detach()
        self.parts["grad_norm"] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def _seed(self, stage: int, step: int, part: int) -> None:
        torch.manual_seed(step_seed(self.seed, stage, step, part, self.global_rank))
