"""Masked-code pretraining as pure functions: what is hidden, and what it costs.

BrainOmni (arXiv 2505.18185): half of the (source, step) positions are hidden; of those, 80 %
show a learned token and 20 % the feature of another position; the codes there are guessed.

Shapes: B batch, S sources, W steps, D width, Q levels, K codes, M hidden positions.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MaskPlan(NamedTuple):
    """The random numbers of one masked pass.

    mask_BSW, replace_BSW : uniform in [0, 1)
    perm : (B S W,) a permutation of all positions
    """

    mask_BSW: Tensor
    replace_BSW: Tensor
    perm: Tensor


def draw_plan(
    shape_BSW: tuple[int, int, int],
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> MaskPlan:
    """Random numbers for one pass; `generator` must live on `device`."""
    n = shape_BSW[0] * shape_BSW[1] * shape_BSW[2]
    return MaskPlan(
        torch.rand(shape_BSW, device=device, generator=generator),
        torch.rand(shape_BSW, device=device, generator=generator),
        torch.randperm(n, device=device, generator=generator),
    )


def hidden_positions(plan: MaskPlan, mask_ratio: float = 0.5) -> Tensor:
    """Bool (B, S, W), True where the codes are hidden."""
    return plan.mask_BSW <= mask_ratio


def hide(
    x_BSWD: Tensor, token_D: Tensor, plan: MaskPlan, mask_ratio: float = 0.5, shown: float = 0.8
) -> Tensor:
    """Features with the hidden positions replaced by the token or by another feature.

    `shown` is the share of hidden positions that become the token.
    """
    hidden = hidden_positions(plan, mask_ratio)[..., None]
    other = x_BSWD.flatten(0, 2)[plan.perm].view_as(x_BSWD)
    is_token = hidden & (plan.replace_BSW <= shown)[..., None]
    x = torch.where(hidden, other, x_BSWD)
    return torch.where(is_token, token_D.to(x.dtype), x)


def masked_loss(logits_MQK: Tensor, ids_MQ: Tensor) -> dict[str, Tensor]:
    """Cross-entropy and accuracy at the hidden positions, mean over positions and levels.

    Returns
    -------
    dict with "loss", "acc" (all levels) and "acc_0", "acc_1", ... one a level
    """
    n = max(1, ids_MQ.numel())
    logits = logits_MQK.float().flatten(0, 1)
    loss = F.cross_entropy(logits, ids_MQ.flatten(), reduction="sum") / n
    hit_MQ = (logits_MQK.argmax(-1) == ids_MQ).float()
    out = {"loss": loss, "acc": hit_MQ.sum() / n}
    per_level = hit_MQ.sum(0) / max(1, ids_MQ.shape[0])
    return out | {f"acc_{i}": a for i, a in enumerate(per_level.unbind())}
