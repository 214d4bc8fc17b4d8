"""Pretrain a BandEncoder: guess band powers of hidden channels and stretches of time."""

from torch import Tensor

from brainfm.models.bands import BandEncoder
from brainfm.tasks.base import BrainTask
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch


class MaskedBands(BrainTask):
    """Squared error of hidden band powers; what share of them is explained is shown beside it.

    Parameters
    ----------
    encoder : BandEncoder; what is hidden is a field of its configuration
    lr, warmup_steps, decay_steps, lr_floor, betas, eps, weight_decay : of AdamW; ours
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        encoder: BandEncoder,
        lr: float = 2e-3,
        warmup_steps: int = 100,
        decay_steps: int = 2000,
        lr_floor: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
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

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        return self.model.masked_losses(batch)
