"""Pretrain a UnifiedEncoder: guess what is hidden, and match recordings made at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from brainfm.models.across import across_losses
from brainfm.models.guessing import signal_losses
from brainfm.models.hiding import HidingConfig
from brainfm.models.unified import UnifiedEncoder
from brainfm.tasks.base import BrainTask
from brainfm.training.optim import AdamWSettings
from brainfm.types import Kind, SignalBatch, Simultaneous


@dataclass(frozen=True)
class StreamWeights:
    """How much each objective counts; 0 leaves it out."""

    signal: float = 1.0
    """Hidden signal, in time and frequency."""
    match: float = 0.3
    """Recordings made at once find each other. With `data.simultaneous` only."""
    lag: float = 0.3
    """BOLD from electrophysiology before it. With `data.simultaneous` only."""


class MaskedStream(BrainTask):
    """Squared error of hidden signal; with recordings made at once, what they tell of one another.

    Parameters
    ----------
    encoder : UnifiedEncoder
    hiding : HidingConfig
    weights : StreamWeights
    most_sensors : of a recording that a training step sees, drawn anew each time; None: all
    lr, warmup_steps, decay_steps, lr_floor, betas, eps, weight_decay : of AdamW; ours
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        encoder: UnifiedEncoder,
        hiding: HidingConfig = HidingConfig(),  # noqa: B008 (frozen)
        weights: StreamWeights = StreamWeights(),
        most_sensors: int | None = 64,
        lr: float = 1e-3,
        warmup_steps: int = 100,
        decay_steps: int = 2000,
        lr_floor: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.02,
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
        self.hiding, self.weights, self.most_sensors = hiding, weights, most_sensors

    def losses(self, batch: SignalBatch | Simultaneous) -> dict[str, Tensor]:
        if not isinstance(batch, Simultaneous):
            return self._signal(self._some_sensors(batch))
        batch = Simultaneous(tuple(self._some_sensors(b) for b in batch.batches))
        each = [self._signal(b) for b in batch.batches]
        parts = {k: v for one in each for k, v in one.items()}
        parts["signal"] = torch.stack([one["signal"] for one in each]).mean()
        parts |= across_losses(self.model, batch)
        parts["loss"] = sum(
            weight * parts[name]
            for name, weight in vars(self.weights).items()
            if name in parts and weight
        )
        return parts

    def _some_sensors(self, batch: SignalBatch) -> SignalBatch:
        """A batch without sensors beyond `most_sensors`, while training.

        It keeps steps cheap, and no montage is seen twice.
        """
        if not self.training or self.most_sensors is None or batch.n_channels <= self.most_sensors:
            return batch
        drawn = torch.randperm(batch.n_channels)[: self.most_sensors]
        return batch.take(drawn.to(batch.x_BCWP.device))

    def _signal(self, batch: SignalBatch) -> dict[str, Tensor]:
        parts = signal_losses(self.model, batch, self.hiding)
        kind = Kind(int(batch.kind_BC[0, 0])).name.lower()
        return {
            "loss": parts["loss"],
            "signal": parts["loss"],
            f"explained_{kind}": parts["explained"],
        }
