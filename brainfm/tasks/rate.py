"""Train a codec whose rate is chosen when it encodes: fewer bits at every step.

Shapes: B batch, C channels, T samples.
"""

from torch import Tensor

from brainfm.codecs.spectral import SpectralCodec
from brainfm.tasks.base import BrainTask, Preview
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch


class RateTask(BrainTask):
    """Bits of a SpectralCodec, with distances inside cells beside them.

    Every window of a batch is coded at a step of its own, so that one model learns all rates. The
    transform is orthonormal and fixed: at a step, bits are all that can be saved.

    Parameters
    ----------
    codec : SpectralCodec
    lr, warmup_steps, decay_steps, lr_floor, betas, eps, weight_decay : of AdamW and its schedule;
        ours, chosen on validation recordings
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        codec: SpectralCodec,
        lr: float = 5e-3,
        warmup_steps: int = 100,
        decay_steps: int = 3000,
        lr_floor: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
        super().__init__(codec, settings, seed)

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        out = self.model.training_forward(batch)
        return {"loss": out.loss.float(), "bits": out.bits.float(), "inside": out.inside}

    def preview(self, batch: SignalBatch) -> Preview:
        rec_BCT = self.model.decode(self.model.encode(batch), batch)
        return Preview(batch.signal_BCT, rec_BCT, batch.sfreq)
