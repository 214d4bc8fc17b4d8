"""Train a neural codec: reconstruct the signal, and keep the codebooks alive.

Shapes: B batch, C channels, N windows, P samples in a window, T = N P, Q quantiser levels,
K codes.
"""

import torch
from torch import Tensor

from brainfm.codecs.base import Codec
from brainfm.codecs.braintokenizer import BrainTokenizer
from brainfm.codecs.losses import BrainTokenizerLoss, CodecLoss, normalise_target
from brainfm.codecs.quantize import codebook_stats
from brainfm.tasks.base import BrainTask, Preview
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch


class CodecTask(BrainTask):
    """Reconstruction loss of a codec; the defaults are those of BrainTokenizer (arXiv 2505.18185).

    What a codec does to its input while training (hidden channels, noise, dropped levels) is a
    field of its configuration. The codebooks are placed by k-means in the first training step.

    Parameters
    ----------
    codec : with `training_forward(batch)`
    loss : one of `codecs.losses`; default: `BrainTokenizerLoss`
    lr, codebook_lr : rates; the second is for parameters of the quantiser (projections, where
        the codebook is narrower than the codec; the codes themselves follow moving averages)
    warmup_steps, decay_steps, lr_floor : see `training.schedule`; published: 10 % of all steps,
        all steps, .05
    betas, eps, weight_decay : of AdamW; the published defaults
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        codec: Codec,
        loss: CodecLoss | None = None,
        lr: float = 2e-4,
        codebook_lr: float = 3e-4,
        warmup_steps: int = 1000,
        decay_steps: int = 10_000,
        lr_floor: float = 0.05,
        betas: tuple[float, float] = (0.5, 0.9),
        eps: float = 1e-5,
        weight_decay: float = 1e-2,
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
        self.codebook_lr = codebook_lr
        self.loss = loss or BrainTokenizerLoss()

    def lr_of(self) -> dict[str, float]:
        return {"quantizer.": self.codebook_lr}

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        out = self.model.training_forward(batch)
        parts = self.loss(out.rec_BCNP, out.target_BCNP, out.commit, out.valid_BC)
        with torch.no_grad():
            # Where a source is a channel, bad channels have no codes to count.
            ids = out.ids_BSWQ[out.valid_BC] if self.model.per_channel else out.ids_BSWQ
            stats = codebook_stats(ids, self.model.config.codebook_size)
        for q, (perplexity, used) in enumerate(zip(stats.perplexity_Q, stats.used_Q, strict=True)):
            parts[f"perplexity_{q + 1}"] = perplexity.float()
            parts[f"used_{q + 1}"] = used.float()
        return parts

    def preview(self, batch: SignalBatch) -> Preview:
        codes = self.model.encode(batch)
        rec_BCT = self.model.decode(codes, batch)
        size, target_BCT = self.model.config.codebook_size, batch.signal_BCT
        if isinstance(self.model, BrainTokenizer):  # it gives z-scores, window by window
            window = self.model.config.window
            whole = rec_BCT.shape[-1] - rec_BCT.shape[-1] % window or rec_BCT.shape[-1]
            windows = target_BCT[..., :whole].unflatten(-1, (-1, min(window, whole)))
            target_BCT = normalise_target(windows).flatten(2)
        counts_QK = torch.stack(
            [ids.flatten().bincount(minlength=size) for ids in codes.ids_BSWQ.unbind(-1)]
        )
        n = target_BCT.shape[-1]
        return Preview(target_BCT, rec_BCT[..., :n], batch.sfreq, counts_QK)
