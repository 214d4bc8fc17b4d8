"""Multi-variate parallel attention: content, time and channel terms in one softmax.

For a query (t, c) and a key (s, d) of one head, `lag` = t - s (MVPFormer, arXiv 2506.20354):

    content = (q + u) . k[s, d]           where lag <= window; else 0
    time    = (q + v) . k_time[lag]
    channel = (q + z) . k_channel[r(c, d)]
    weight  = softmax over all keys with 0 <= lag < band of (content + time + channel) / sqrt(E)

Segments are causal, channels of one segment see each other. Outside the window a key is attended
by where it stands alone; outside the band not at all. As published, the queries of the last
segment see the content of all (`last_sees_all`) and there is no band. A query without any key
gets zeros.

`mvpa_dense` writes the formula down and holds all logits. `mvpa_lean` gives the same numbers and
never holds a matrix over all pairs of tokens. `nn/mvpa_flex.py` is the same for GPUs.

Shapes: B batch, T segments that ask, S segments that are asked (the last T of them are those that
ask), C channels, H heads, G groups of heads, E head width, L lags, R channel relations, F = E + 1.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

OUT_OF_SIGHT = -1e30
"""Logit of a channel nobody may look at: nothing after the softmax, finite in every sum."""
KEPT_BYTES = 128 * 2**20
"""Near logits of a layer up to this size are kept for the backward pass (about three times as
much, with what is made of them), larger ones computed again: a step of the 0.13 M preset takes
1.5 times as long with them computed again."""


@dataclass(frozen=True)
class MVPAInputs:
    """What one layer hands to its attention."""

    q_BHTCE: Tensor
    k_BGSCE: Tensor
    """Shared by the H / G heads of a group, which lie side by side."""
    v_BGSCE: Tensor
    time_HLE: Tensor
    """Row d: key of lag d. At least as many rows as there are lags to look back."""
    relation_HRE: Tensor
    """Key of each relation that two channels can have."""
    relation_CC: Tensor
    """int64 (C, C): which relation; or float (B or 1, C, C, R): how much of each."""
    content_bias_HE: Tensor
    time_bias_HE: Tensor
    channel_bias_HE: Tensor
    window: int = 10
    """Segments back to which content counts."""
    band: int | None = None
    """Segments that are attended at all, the own one included; None: all before."""
    last_sees_all: bool = False
    """The last segment's queries see content beyond the window, as published."""
    valid_BSC: Tensor | None = None
    """False for what nobody may look at; None: all may be seen."""

    def channel_logits(self, q_BHtCE: Tensor) -> Tensor:
        """(B, H, t, C, C'): the channel term of some segments' queries."""
        q = q_BHtCE + self.channel_bias_HE[:, None, None]
        by_relation = torch.einsum("bhtce,hre->bhtcr", q, self.relation_HRE)
        if self.relation_CC.is_floating_point():
            share_BCCR = self.relation_CC.to(by_relation.dtype).expand(len(q), -1, -1, -1)
            return torch.einsum("bhtcr,bcdr->bhtcd", by_relation, share_BCCR)
        return by_relation.gather(-1, self.relation_CC.expand(*by_relation.shape[:4], -1))

    def reach(self, t: int) -> tuple[int, int, int]:
        """First segment attended, first one whose content counts, and the own one, of query t."""
        own = self.k_BGSCE.shape[2] - self.q_BHTCE.shape[2] + t
        first = 0 if self.band is None else max(0, own - self.band + 1)
        sees_all = self.last_sees_all and t == self.q_BHTCE.shape[2] - 1
        return first, first if sees_all else max(first, own - self.window), own


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
    (B, H, T, C, E) result, and the weights (B, H, T C, S C)
    """
    b, h, t, c, e = x.q_BHTCE.shape
    g, s = x.k_BGSCE.shape[1:3]
    k_BHSCE, v_BHSCE = (y.repeat_interleave(h // g, 1) for y in (x.k_BGSCE, x.v_BGSCE))
    at = torch.arange(s, device=x.q_BHTCE.device)
    lag_TS = at[s - t :, None] - at
    near_TS = lag_TS <= x.window
    if x.last_sees_all:
        near_TS[-1] = True

    q_content = x.q_BHTCE + x.content_bias_HE[:, None, None]
    content = torch.einsum("bhtce,bhsde->bhtcsd", q_content, k_BHSCE)
    content = torch.where(near_TS[:, None, :, None], content, 0.0)

    q_time = x.q_BHTCE + x.time_bias_HE[:, None, None]
    by_lag = torch.einsum("bhtce,hle->bhtcl", q_time, x.time_HLE)
    row_TS = lag_TS.clamp(0, x.time_HLE.shape[1] - 1)
    time = by_lag.gather(-1, row_TS[:, None].expand(b, h, t, c, s))[..., None]

    channel = x.channel_logits(x.q_BHTCE)[..., None, :]
    logits = (content + time + channel) * e**-0.5
    hidden = (lag_TS < 0) | (lag_TS >= (x.band or s))
    hidden = hidden[:, None, :, None]
    if x.valid_BSC is not None:
        hidden = hidden | ~x.valid_BSC[:, None, None, None]
    lowest = torch.finfo(logits.dtype).min
    weight = logits.masked_fill(hidden, lowest).flatten(4).softmax(-1)
    weight = weight.masked_fill(hidden.expand(b, 1, t, -1, s, c).flatten(4), 0.0).flatten(2, 3)
    out = weight @ v_BHSCE.flatten(2, 3)
    return out.view(b, h, t, c, e), weight


def mvpa_lean(x: MVPAInputs) -> Tensor:
    """The same as `mvpa_dense` in memory that grows with tokens, not with their pairs.

    One segment's queries at a time, recomputed in the backward pass where keeping would cost
    more than `KEPT_BYTES`. Near keys, whose content
    counts, have logits. A far key's weight is a product, exp(time) exp(channel): its channels are
    summed by one C x C matrix for all segments, then its segments, and no logits are needed.
    """
    # A column of ones beside the values: the sum of the weights comes out of the same products.
    v_BGSCF = torch.cat([x.v_BGSCE, torch.ones_like(x.v_BGSCE[..., :1])], -1)
    k_BGSCE = x.k_BGSCE
    if x.valid_BSC is not None:
        valid = x.valid_BSC[:, None, ..., None]
        k_BGSCE, v_BGSCF = torch.where(valid, k_BGSCE, 0.0), torch.where(valid, v_BGSCF, 0.0)
    # Slices of the whole would each be given a gradient of the size of the whole.
    q, k, v = x.q_BHTCE.unbind(2), k_BGSCE.unbind(2), v_BGSCF.unbind(2)
    trained = any(y.requires_grad for y in (x.q_BHTCE, x.k_BGSCE, x.v_BGSCE))
    again = torch.is_grad_enabled() and trained and near_bytes(x) > KEPT_BYTES
    out = []
    for t in range(len(q)):
        first, near, own = x.reach(t)
        args = (x, q[t], k[near : own + 1], v[first:near], v[near : own + 1])
        if again:
            out.append(checkpoint(_one_segment, *args, use_reentrant=False))
        else:
            out.append(_one_segment(*args))
    sums_BHTCF = torch.stack(out, 2)
    total = sums_BHTCF[..., -1:]
    return sums_BHTCF[..., :-1] / torch.where(total > 0, total, 1.0)


def near_bytes(x: MVPAInputs) -> int:
    """Size of all float32 logits of keys whose content counts, at most."""
    b, h, t, c = x.q_BHTCE.shape[:4]
    return 4 * b * h * c * c * sum(own - near + 1 for _, near, own in map(x.reach, range(t)))


def _one_segment(
    x: MVPAInputs,
    q_BHCE: Tensor,
    k_near: tuple[Tensor, ...],
    v_far: tuple[Tensor, ...],
    v_near: tuple[Tensor, ...],
) -> Tensor:
    """(B, H, C, F): weighted sum of the values for one segment's queries, and of the weights.

    The queries of a group's heads stand in one column of Q = C H / G rows: they have the same
    keys.
    """
    (h, c, e), g = q_BHCE.shape[1:], x.k_BGSCE.shape[1]
    far, n = len(v_far), len(v_far) + len(v_near)
    wide = torch.promote_types(q_BHCE.dtype, torch.float32)

    def rows(y_BHCX: Tensor) -> Tensor:
        return (y_BHCX * e**-0.5).unflatten(1, (g, h // g)).flatten(2, 3)

    q_time = q_BHCE + x.time_bias_HE[:, None]
    time_BGQS = rows(q_time @ x.time_HLE[:, :n].flip(1).mT).to(wide)
    channel_BGQC = rows(x.channel_logits(q_BHCE[:, :, None])[:, :, 0]).to(wide)
    if x.valid_BSC is not None:
        channel_BGQC = channel_BGQC.masked_fill(~x.valid_BSC.any(1)[:, None, None], OUT_OF_SIGHT)
    q_content = rows(q_BHCE + x.content_bias_HE[:, None])
    near = (q_content @ torch.stack(k_near, 2).flatten(2, 3).mT).to(wide).unflatten(-1, (-1, c))
    near = near + channel_BGQC[..., None, :]
    # The largest logit is taken out, as in any softmax; what is taken out does not matter.
    time_far, time_near = time_BGQS.split((far, n - far), -1)
    top = (near.detach().amax(-1) + time_near.detach()).amax(-1, keepdim=True)
    sums_far = 0.0
    if far:
        top_time = time_far.detach().amax(-1, keepdim=True)
        top = torch.maximum(top, top_time + channel_BGQC.detach().amax(-1, keepdim=True))
        of_channel = (channel_BGQC + (top_time - top)).exp().to(q_BHCE.dtype)
        of_time = (time_far - top_time).exp().to(q_BHCE.dtype)
        by_segment = of_channel @ torch.stack(v_far, 3).flatten(3)
        by_segment = by_segment.unflatten(-1, (far, -1))
        sums_far = (of_time[..., None, :] @ by_segment)[..., 0, :]
    near += (time_near - top)[..., None]
    weight = near.exp_().flatten(3).to(q_BHCE.dtype)
    # Last, so that this product is not done again in the backward pass.
    sums_BGQF = sums_far + weight @ torch.stack(v_near, 2).flatten(2, 3)
    return sums_BGQF.unflatten(2, (h // g, c)).flatten(1, 2)
