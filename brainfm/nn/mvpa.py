"""Multi-variate parallel attention: content, time and channel terms in one softmax.

For a query (t, c) and a key (t', c') of one head (MVPFormer, arXiv 2506.20354):

    content = (q + u) . k[t', c']        where t - t' <= window, or t is the last segment; else 0
    time    = (q + v) . k_time[T - 1 - (t - t')]
    channel = (q + z) . k_channel[r(c, c')]
    weight  = softmax over all keys with t' <= t of (content + time + channel) / sqrt(E)

Segments are causal, channels of one segment see each other. Relative times and channels are
counted from the end of their tables, as published; outside the window a key is attended by where
it stands alone.

`mvpa_dense` writes the formula down and holds all logits. `mvpa_lean` gives the same numbers and
never holds a matrix over all pairs of tokens: for the queries of one segment, the time keys fold
into the content keys, what does not depend on the query becomes a bias a key, the channel term is
a C x C table, and plain scaled-dot-product attention does the rest. Segments are recomputed in
the backward pass.

Shapes: B batch, T segments, C channels, H heads, G key-value groups, E head width, R channel
relations.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class MVPAInputs:
    """What one layer hands to its attention; groups already repeated over their heads."""

    q_BHTCE: Tensor
    k_BHTCE: Tensor
    v_BHTCE: Tensor
    time_HTE: Tensor
    """Key of relative time: row T - 1 - lag."""
    relation_HRE: Tensor
    """Key of each relation that two channels can have."""
    relation_CC: Tensor
    """int64 (C, C): which relation; or float (B or 1, C, C, R): how much of each."""
    content_bias_HE: Tensor
    time_bias_HE: Tensor
    channel_bias_HE: Tensor
    window: int = 10
    """Segments back to which content counts."""
    valid_BC: Tensor | None = None
    """False for channels that nobody may look at; None: all may be seen."""

    def channel_logits(self, q_BHtCE: Tensor) -> Tensor:
        """(B, H, t, C, C'): the channel term of some segments' queries."""
        q = q_BHtCE + self.channel_bias_HE[:, None, None]
        by_relation = torch.einsum("bhtce,hre->bhtcr", q, self.relation_HRE)
        if self.relation_CC.is_floating_point():
            share_BCCR = self.relation_CC.expand(len(q), -1, -1, -1)
            return torch.einsum("bhtcr,bcdr->bhtcd", by_relation, share_BCCR)
        return by_relation.gather(-1, self.relation_CC.expand(*by_relation.shape[:4], -1))


def list_order(n_channels: int, device: Any = None) -> Tensor:
    """(C, C) relation by place in the list, as published: row C - 1 - |c - c'| of the table."""
    c = torch.arange(n_channels, device=device)
    return n_channels - 1 - (c[:, None] - c).abs()


def by_distance(pos_BC3: Tensor, n_relations: int, reach_m: float) -> Tensor:
    """(B, C, C, R) relation by distance in metres: two neighbouring rows share each pair.

    Row r stands for r / (R - 1) of `reach_m`, the last but one for everything farther; the last
    row for pairs of which one position is unknown. The order of channels then means nothing.
    """
    known_BC = pos_BC3.isfinite().all(-1)
    pos = torch.where(known_BC[..., None], pos_BC3, 0.0)
    apart = (pos[:, :, None] - pos[:, None]).norm(dim=-1)
    place = (apart / reach_m).clamp(max=1.0) * (n_relations - 2)
    rows = torch.arange(n_relations, device=pos.device)
    share = (1 - (place[..., None] - rows).abs()).clamp(min=0.0)
    unknown = F.one_hot(rows[-1], n_relations).to(share.dtype)
    both = known_BC[:, :, None] & known_BC[:, None]
    return torch.where(both[..., None], share, unknown)


def mvpa_dense(x: MVPAInputs) -> tuple[Tensor, Tensor]:
    """The formula, term by term.

    Returns
    -------
    (B, H, T, C, E) result, and the weights (B, H, T C, T C)
    """
    b, h, t, c, e = x.q_BHTCE.shape
    lag = torch.arange(t, device=x.q_BHTCE.device)
    lag_TT = lag[:, None] - lag
    seen_TT = (lag_TT <= x.window) | (lag[:, None] == t - 1)

    q_content = x.q_BHTCE + x.content_bias_HE[:, None, None]
    content = torch.einsum("bhtce,bhsde->bhtcsd", q_content, x.k_BHTCE)
    content = torch.where(seen_TT[:, None, :, None], content, 0.0)

    row_TT = (t - 1 - lag_TT).clamp(max=t - 1)
    q_time = x.q_BHTCE + x.time_bias_HE[:, None, None]
    by_row = torch.einsum("bhtce,hre->bhtcr", q_time, x.time_HTE)
    time = by_row.gather(-1, row_TT[:, None].expand(b, h, t, c, t))[..., None]

    channel = x.channel_logits(x.q_BHTCE)[..., None, :]
    logits = (content + time + channel) * e**-0.5
    lowest = torch.finfo(logits.dtype).min
    logits = logits.masked_fill((lag_TT < 0)[:, None, :, None], lowest)
    if x.valid_BC is not None:
        logits = logits.masked_fill(~x.valid_BC[:, None, None, None, None], lowest)
    weight = logits.reshape(b, h, t * c, t * c).softmax(-1)
    out = weight @ x.v_BHTCE.reshape(b, h, t * c, e)
    return out.view(b, h, t, c, e), weight


def mvpa_lean(x: MVPAInputs) -> Tensor:
    """The same as `mvpa_dense` in memory that grows with tokens, not with their pairs."""
    again = torch.is_grad_enabled() and x.q_BHTCE.requires_grad
    out = []
    for t in range(x.q_BHTCE.shape[2]):
        if again:
            out.append(checkpoint(_one_segment, x, t, use_reentrant=False))
        else:
            out.append(_one_segment(x, t))
    return torch.stack(out, 2)


def _one_segment(x: MVPAInputs, t: int) -> Tensor:
    """(B, H, C, E): result of the queries of segment t."""
    b, h, n, c, e = x.q_BHTCE.shape
    q_BHCE = x.q_BHTCE[:, :, t]
    first = 0 if t == n - 1 else max(0, t - x.window)  # the last segment sees all content
    near = x.k_BHTCE[:, :, first : t + 1]
    # (q + u) . k + (q + v) . kt  =  q . (k + kt)  +  (u . k + v . kt), the second without q.
    time_HSE = x.time_HTE[:, n - 1 - t : n]
    key = time_HSE[:, :, None].expand(b, h, t + 1, c, e)
    bias = torch.einsum("he,hse->hs", x.time_bias_HE, time_HSE)[:, :, None].expand(b, h, t + 1, c)
    key = torch.cat([key[:, :, :first], key[:, :, first:] + near], 2)
    content = torch.einsum("he,bhsce->bhsc", x.content_bias_HE, near)
    bias = torch.cat([bias[:, :, :first], bias[:, :, first:] + content], 2)
    channel_BHCC = x.channel_logits(x.q_BHTCE[:, :, t : t + 1])[:, :, 0]
    mask = (bias[:, :, None] + channel_BHCC[:, :, :, None]) * e**-0.5
    if x.valid_BC is not None:
        mask = mask.masked_fill(~x.valid_BC[:, None, None, None], torch.finfo(mask.dtype).min)
    return F.scaled_dot_product_attention(
        q_BHCE,
        key.flatten(2, 3),
        x.v_BHTCE[:, :, : t + 1].flatten(2, 3),
        attn_mask=mask.flatten(3),
        scale=e**-0.5,
    )


def repeat_groups(x: MVPAInputs, n_heads: int) -> MVPAInputs:
    """Every field over G groups repeated for the heads that share it."""
    times = n_heads // x.time_HTE.shape[0]
    if times == 1:
        return x
    return replace(
        x,
        k_BHTCE=x.k_BHTCE.repeat_interleave(times, 1),
        v_BHTCE=x.v_BHTCE.repeat_interleave(times, 1),
        **{
            name: getattr(x, name).repeat_interleave(times, 0)
            for name in (
                "time_HTE",
                "relation_HRE",
                "content_bias_HE",
                "time_bias_HE",
                "channel_bias_HE",
            )
        },
    )
