"""Multi-variate parallel attention through FlexAttention: one fused kernel on a GPU.

The content term is the kernel's own product of queries and keys; time and channel terms are
computed before, per query and lag and per query and channel, and looked up where the kernel needs
them. Blocks of keys outside the band or after the query are never visited.

Shapes: as in `nn/mvpa.py`; N = T C queries, M = S C keys, both segment by segment.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from brainfm.errors import ContractError
from brainfm.nn.mvpa import MVPAInputs

NARROWEST = 16
"""Width of a head below which the fused kernel does not exist."""

Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def mvpa_flex(x: MVPAInputs) -> Tensor:
    """The same as `mvpa_dense`: fused on CUDA, in plain steps on CPU.

    Raises
    ------
    ContractError
        On CPU where gradients are wanted, which FlexAttention does not compute there.
    """
    q_BHTCE = x.q_BHTCE
    b, h, t, c, e = q_BHTCE.shape
    fused = q_BHTCE.device.type == "cuda"
    if not fused and torch.is_grad_enabled() and q_BHTCE.requires_grad:
        raise ContractError(
            f"path 'flex' has no gradients on '{q_BHTCE.device.type}'; train with path 'lean' there"
        )
    attend = _compiled() if fused else flex_attention
    out = attend(
        (q_BHTCE + x.content_bias_HE[:, None, None]).to(x.k_BGSCE.dtype).flatten(2, 3),
        x.k_BGSCE.flatten(2, 3),
        x.v_BGSCE.flatten(2, 3),
        score_mod=score(x),
        block_mask=block_mask(t, x.k_BGSCE.shape[2], c, x.band, str(q_BHTCE.device)),
        scale=e**-0.5,
        enable_gqa=True,
    )
    return out.view(b, h, t, c, e)


def score(x: MVPAInputs) -> Score:
    """What is made of (q + u) . k / sqrt(E): content in the window, plus time, plus channel."""
    t, c, e = x.q_BHTCE.shape[2:]
    past, last, window = x.k_BGSCE.shape[2] - t, t - 1, x.window
    oldest, sees_all, valid_BSC = x.time_HLE.shape[1] - 1, x.last_sees_all, x.valid_BSC
    q_time = x.q_BHTCE + x.time_bias_HE[:, None, None]
    time_BHNL = torch.einsum("bhtce,hle->bhtcl", q_time, x.time_HLE).flatten(2, 3) * e**-0.5
    channel_BHNC = x.channel_logits(x.q_BHTCE).flatten(2, 3) * e**-0.5

    def of_pair(content: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        lag = query // c + past - key // c
        near = lag <= window
        if sees_all:
            near = near | (query // c == last)
        place = lag.clamp(0, oldest)  # a masked pair is looked up too, before it is masked
        logit = torch.where(near, content, 0.0) + time_BHNL[b, h, query, place]
        logit = logit + channel_BHNC[b, h, query, key % c]
        if valid_BSC is None:
            return logit
        return torch.where(valid_BSC[b, key // c, key % c], logit, -float("inf"))

    return of_pair


def seen(t: int, s: int, c: int, band: int | None) -> Callable[..., Tensor]:
    """Which pairs of a query and a key count: not later ones, none beyond the band."""
    past, width = s - t, band or s

    def pair(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        lag = query // c + past - key // c
        return (lag >= 0) & (lag < width)

    return pair


@lru_cache(maxsize=32)
def block_mask(t: int, s: int, c: int, band: int | None, device: str) -> BlockMask:
    """Blocks of 128 x 128 to visit; kept, because it looks at every pair once (N M bytes)."""
    return create_block_mask(seen(t, s, c, band), None, None, t * c, s * c, device=device)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    return torch.compile(flex_attention)
