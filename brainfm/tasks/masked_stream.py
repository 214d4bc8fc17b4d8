"""Pretrain a UnifiedEncoder on recordings of any kind: guess what is hidden."""

from torch import Tensor

from brainfm.models.guessing import Guesser, signal_losses
from brainfm.models.hiding import HidingConfig
from brainfm.models.unified import UnifiedEncoder
from brainfm.tasks.base import BrainTask
from brainfm.training.optim import AdamWSettings
from brainfm.types import Kind, SignalBatch


class MaskedStream(BrainTask):
    """Squared error of hidden signal, in time and frequency; the share explained beside it.

    Parameters
    ----------
    encoder : UnifiedEncoder
    hiding : HidingConfig
    lr, warmup_steps, decay_steps, lr_floor, betas, eps, weight_decay : of AdamW; ours
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        encoder: UnifiedEncoder,
        hiding: HidingConfig = HidingConfig(),  # noqa: B008 (frozen)
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
        self.hiding = hiding
        self.guesser = Guesser(encoder)

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        parts = signal_losses(self.model, self.guesser, batch, self.hiding)
        kind = Kind(int(batch.kind_BC[0, 0])).name.lower()
        return {**parts, f"explained_{kind}": parts["explained"]}
