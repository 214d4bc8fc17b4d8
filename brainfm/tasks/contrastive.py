"""Pretrain an encoder: tell the next segment's token from others of the batch.

Shapes: B batch, T segments, C channels, D width, N predictions, J negatives.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.tasks.base import BrainTask
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch

SAME = 1e-5
"""A negative nearer than this to the true token, by relative norm, is the same token."""


class NextSegment(BrainTask):
    """Contrastive prediction of the next segment (MVPFormer, arXiv 2506.20354).

    The state at (t, c) is compared by cosine with the token at (t + 1, c) and with tokens of the
    whole batch, each equally likely, whichever window they come from; the published program never
    draws them from the last window and cannot train on one alone.

    Parameters
    ----------
    encoder : sizes
    n_negatives : tokens to tell the next one from; 30 as published
    temperature : of the cosines; .1 as published
    lr, weight_decay : published; steps, floor: see `training.schedule`
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        encoder: MVPFormerConfig,
        n_negatives: int = 30,
        temperature: float = 0.1,
        lr: float = 1e-4,
        warmup_steps: int = 540,
        decay_steps: int = 5400,
        lr_floor: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
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
        super().__init__(MVPFormer(encoder), settings, seed)
        self.n_negatives, self.temperature = n_negatives, temperature

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        token_BTCD, guess_BTCD = self.model.predict_next(batch)
        if token_BTCD.shape[1] < 2:
            raise ContractError(
                f"a window holds {token_BTCD.shape[1]} segment; predicting the next takes two or "
                "more: make window_s longer"
            )
        ok_BTC = batch.valid_BC[:, None].expand(token_BTCD.shape[:3])
        logits = next_logits(
            token_BTCD, guess_BTCD, ok_BTC, self.n_negatives, temperature=self.temperature
        )
        return contrastive_losses(logits)


def draw_negatives(n: int, own_N: Tensor, n_negatives: int) -> Tensor:
    """(N, J) places among n tokens, uniformly from all but each prediction's own."""
    places = torch.randint(max(n - 1, 1), (len(own_N), n_negatives), device=own_N.device)
    return places + (places >= own_N[:, None])


def next_logits(
    token_BTCD: Tensor,
    guess_BTCD: Tensor,
    ok_BTC: Tensor,
    n_negatives: int,
    *,
    temperature: float,
) -> Tensor:
    """(N, 1 + J) logits of all valid predictions, the true token first."""
    flat_ND = token_BTCD[ok_BTC]
    if len(flat_ND) < 2:
        raise ContractError("a batch holds fewer than two valid tokens: nothing to compare")
    place_BTC = ok_BTC.flatten().long().cumsum(0).view(ok_BTC.shape) - 1
    target = ok_BTC[:, 1:] & ok_BTC[:, :-1]
    own_N = place_BTC[:, 1:][target]
    other_NJ = draw_negatives(len(flat_ND), own_N, n_negatives)
    return contrastive_logits(
        guess_BTCD[:, :-1][target], flat_ND[own_N], flat_ND[other_NJ], temperature
    )


def contrastive_logits(
    guess_ND: Tensor, true_ND: Tensor, other_NJD: Tensor, temperature: float
) -> Tensor:
    """(N, 1 + J) cosines over temperature; a negative that is the true token counts for nothing."""
    candidates = torch.cat([true_ND[:, None], other_NJD], 1).float()
    logits = F.cosine_similarity(guess_ND[:, None].float(), candidates, dim=-1) / temperature
    apart_NJ = (other_NJD - true_ND[:, None]).float().norm(dim=-1)
    same_NJ = apart_NJ <= SAME * true_ND.float().norm(dim=-1, keepdim=True)
    same = torch.cat([torch.zeros_like(same_NJ[:, :1]), same_NJ], 1)
    return logits.masked_fill(same, float("-inf"))


def contrastive_losses(logits_NJ: Tensor) -> dict[str, Tensor]:
    """Cross-entropy with the true token at place 0, and how often it comes first."""
    target = logits_NJ.new_zeros(len(logits_NJ), dtype=torch.long)
    accuracy = (logits_NJ.argmax(-1) == 0).float().mean()
    return {"loss": F.cross_entropy(logits_NJ, target), "accuracy": accuracy}
