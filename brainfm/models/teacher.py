"""Masked latents: imagine what a slower self sees.

The teacher is an exponential moving average of the encoder and sees everything; from what is left
of a window the student guesses the teacher's sources (I-JEPA, arXiv 2301.08243; Brain-JEPA does so
for fMRI and BaRISTA, arXiv 2512.12135, for intracranial EEG). The noise of single sensors, which is
most of a contact's signal, need not be guessed.

Shapes: B batch, G slots, S sources, D width.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.models.unified import UnifiedEncoder
from brainfm.types import SignalBatch


class Teacher(nn.Module):
    """Slow copy of an encoder, and the student's predictor.

    Parameters
    ----------
    encoder : the student; copied
    decay : share of itself that the teacher keeps at a step; .996 as in I-JEPA
    """

    began: Tensor

    def __init__(self, encoder: UnifiedEncoder, decay: float = 0.996) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must lie in 0 to 1")
        self.decay = decay
        self.register_buffer("began", torch.tensor(False))
        self.slow = copy.deepcopy(encoder).requires_grad_(False)
        self.predict = nn.Sequential(
            nn.Linear(encoder.dim, 2 * encoder.dim),
            nn.GELU(),
            nn.Linear(2 * encoder.dim, encoder.dim),
        )

    @torch.no_grad()
    def follow(self, encoder: UnifiedEncoder) -> None:
        """One step towards the student; what is no weight (units of features) is taken over."""
        mine, theirs = self.slow.state_dict(), encoder.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name].to(value.dtype), 1 - self.decay)
            else:
                value.copy_(theirs[name])

    @torch.no_grad()
    def meet(self, encoder: UnifiedEncoder) -> None:
        """Begin as the student is now; a teacher that has begun (a resumed run's) goes on."""
        if not bool(self.began):
            self.slow.load_state_dict(encoder.state_dict())
            self.began.fill_(True)

    def losses(self, batch: SignalBatch, h_BGSD: Tensor) -> dict[str, Tensor]:
        """Smooth L1 distance of the student's guess to the teacher's sources.

        Parameters
        ----------
        batch : all of it, which the teacher sees
        h_BGSD : what the student made of the part that it saw

        Returns
        -------
        dict with "latent", and "latent_spread": how much the teacher's sources differ between
        windows, which falls to 0 if both agree to say nothing
        """
        with torch.no_grad():
            self.slow.eval()
            seen_BGSD = self.slow.encode(self.slow.embedding(batch))
            truth = F.layer_norm(seen_BGSD.float(), seen_BGSD.shape[-1:])
        loss = F.smooth_l1_loss(self.predict(h_BGSD).float(), truth)
        spread = truth.flatten(0, 1).std(0).mean() if truth.flatten(0, 1).shape[0] > 1 else loss * 0
        return {"latent": loss, "latent_spread": spread.detach()}
