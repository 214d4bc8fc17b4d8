"""Time in seconds: rotary codes of continuous time, codes of duration and rate, and attention.

Steps of one recording last 0.2 s, those of another 20 s. Positions in a sequence mean nothing
then; seconds do. Rotary angles of real time stamps (as in POYO, arXiv 2310.16046) tell attention
how far apart two tokens are, never when the session began.

Shapes: B batch, N tokens, D width, H heads, E = D / H / 2 pairs, F frequencies.
"""

from __future__ import annotations

from math import log, log10

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERIODS_S = (0.01, 10.0, 1000.0)
"""Half of the pairs turn once in 10 ms to 10 s, half in 10 s to 1000 s: from evoked potentials to
the haemodynamic response and beyond."""


DURATION_DECADES = (8.0, 4.0, 2.0, 1.0)
RATE_DECADES = (16.0,)
"""Periods of the waves over log10 of seconds and of Hz."""


def periods(n_pairs: int) -> Tensor:
    """(E,) float64 seconds, geometric in both halves of `PERIODS_S`."""
    shortest, middle, longest = (log(p) for p in PERIODS_S)
    fast = n_pairs - n_pairs // 2
    first = torch.linspace(shortest, middle, fast + 1, dtype=torch.float64)[:-1]
    second = torch.linspace(middle, longest, n_pairs // 2, dtype=torch.float64)
    return torch.cat((first, second)).exp()


def turns(time_BN: Tensor, n_pairs: int) -> Tensor:
    """Rotations of tokens at some times, (B, N, E) complex64.

    Angles are computed in float64: at 10,000 s float32 knows a time to a millisecond, a tenth of
    the shortest period.

    Parameters
    ----------
    time_BN : float64 seconds, from any origin
    n_pairs : E
    """
    cycles_BNE = time_BN.double()[..., None] / periods(n_pairs).to(time_BN.device)
    angle_BNE = 2 * torch.pi * (cycles_BNE - cycles_BNE.floor())
    return torch.polar(torch.ones_like(angle_BNE), angle_BNE).to(torch.complex64)


def rotate(x_BHND: Tensor, turns_BNE: Tensor) -> Tensor:
    """Rotate adjacent pairs of every head; computed in float32, returned in the dtype of x."""
    pairs = torch.view_as_complex(x_BHND.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns_BNE[:, None]).flatten(-2).to(x_BHND.dtype)


class SpanCode(nn.Module):
    """Duration and rate of a token as a vector: Fourier features of their logarithms.

    Duration finely, rate coarsely: 256 Hz is to be told from 1 Hz, but a TR of 0.7 s from one of
    2 s no more than what is seen at both differs.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(2 * (len(DURATION_DECADES) + len(RATE_DECADES)), dim)

    def forward(self, duration_s: float, rate_hz: float) -> Tensor:
        """(D,) of tokens that last so long and were sampled so fast."""
        cycles = [log10(duration_s) / d for d in DURATION_DECADES]
        cycles += [log10(rate_hz) / d for d in RATE_DECADES]
        phase = 2 * torch.pi * torch.tensor(cycles, dtype=torch.float64)
        features = torch.cat((phase.sin(), phase.cos()))
        return self.out(features.to(self.out.weight.device, self.out.weight.dtype))


class TimedAttention(nn.Module):
    """Self-attention that knows how far apart in seconds its tokens are.

    Parameters
    ----------
    dim, n_heads : D and H
    dropout : of attention weights, while training
    """

    def __init__(self, dim: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % (2 * n_heads):
            raise ValueError(f"width {dim} does not split into {n_heads} heads of even width")
        self.n_heads, self.dropout = n_heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    @property
    def n_pairs(self) -> int:
        """E, for `turns`."""
        return self.out.in_features // self.n_heads // 2

    def forward(self, x_BND: Tensor, turns_BNE: Tensor, see_BNN: Tensor | None = None) -> Tensor:
        """Attend.

        Parameters
        ----------
        x_BND : tokens
        turns_BNE : of `turns`, at the middle of each token
        see_BNN : bool, (B or 1, N queries, N keys); None: everything sees everything
        """
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in self.qkv(x_BND).chunk(3, -1)
        )
        out = F.scaled_dot_product_attention(
            rotate(q, turns_BNE),
            rotate(k, turns_BNE),
            v,
            attn_mask=None if see_BNN is None else see_BNN[:, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(out.transpose(1, 2).flatten(-2))
