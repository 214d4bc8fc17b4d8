"""Train a neural codec: hide channels, add noise, reconstruct all, and keep the codebooks alive.

Shapes: B batch, C channels, N windows, P samples in a window, T = N P, Q quantiser levels,
K codes.
"""

import torch
from torch import Tensor

from brainfm.codecs.braintokenizer import BrainTokenizer
from brainfm.codecs.losses import codec_losses, normalise_target
from brainfm.codecs.quantize import codebook_stats
from brainfm.tasks.base import BrainTask, Preview
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch


class CodecTask(BrainTask):
    """Reconstruction loss of BrainTokenizer (arXiv 2505.18185) on any codec of its interface.

    loss = time + exp(-pcc) + commit + amp + 0.5 phase (`codecs.losses`). Channel drop (.25) and
    noise (.1) are fields of the codec's configuration. The codebooks are placed by k-means in
    the first training step.

    Parameters
    ----------
    codec : with `training_forward(batch)`
    lr, codebook_lr : rates; the second is for parameters of the quantiser (projections, where
        the codebook is narrower than the codec; the codes themselves follow moving averages)
    warmup_steps, decay_steps, lr_floor : see `training.schedule`; published: 10 % of all steps,
        all steps, .05
    betas, eps, weight_decay : of AdamW; the published defaults
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        codec: BrainTokenizer,
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

    def lr_of(self) -> dict[str, float]:
        return {"quantizer.": self.codebook_lr}

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        out = self.model.training_forward(batch)
        parts = codec_losses(out.rec_BCNP, out.target_BCNP, out.commit, out.valid_BC)
        with torch.no_grad():
            stats = codebook_stats(out.ids_BSWQ, self.model.config.codebook_size)
        for q, (perplexity, used) in enumerate(zip(stats.perplexity_Q, stats.used_Q, strict=True)):
            parts[f"perplexity_{q + 1}"] = perplexity.float()
            parts[f"used_{q + 1}"] = used.float()
        return parts

    def preview(self, batch: SignalBatch) -> Preview:
        codes = self.model.encode(batch)
        rec_BCT = self.model.decode(codes, batch)
        size, window = self.model.config.codebook_size, self.model.config.window
        whole = rec_BCT.shape[-1] - rec_BCT.shape[-1] % window or rec_BCT.shape[-1]
        target_BCT = normalise_target(
            batch.signal_BCT[..., :whole].unflatten(-1, (-1, min(window, whole)))
        ).flatten(2)
        counts_QK = torch.stack(
            [ids.flatten().bincount(minlength=size) for ids in codes.ids_BSWQ.unbind(-1)]
        )
        return Preview(target_BCT, rec_BCT[..., :whole], batch.sfreq, counts_QK)
