"""How large the next coefficient will be: a small network that reads those already known.

For every integer it gives a mean, a scale and how heavy the tails are, from which the integer's
probability follows, and where inside its cell the coefficient probably lay.

Encoder and decoder must agree to the last bit, whatever the machine and however many coefficients
are computed at once. Sums of rounded numbers are exact in any order: in `exact` form weights,
inputs and hidden values are multiples of powers of two in double precision, logarithms are
piecewise linear, and what leaves is rounded to a grid of distributions (`codecs.arithmetic`).

Shapes: (..., J) neighbours, R references among them, I inputs, H hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.neighbours import EVIDENCE, GEOMETRY, OWN, PER_REFERENCE

WEIGHT_GRID, VALUE_GRID = 2.0**12, 2.0**8
"""Steps in one, of weights, and of inputs and hidden values."""
MOST_ALIKE = 2.0
"""Largest gain from a reference that is believed."""
MOST_DIGITS = 20
"""Binary digits of an integer that likeness looks at."""
TAIL_RATIO = 4.0
"""The second logistic of a distribution is so many times as wide as the first."""
LOWEST, HIGHEST = -4.0, 30.0
"""Of log2 scale, in cells."""
N_BANDS = 64
"""Rows of the frequency table; frequencies between two rows take the lower one."""


class Guess(NamedTuple):
    """What is expected of an integer: mean, log2 of its scale, logit of the tails, all (...).

    `inside` (..., 3) is where in its cell a coefficient lies, in cells: of a zero, away from 0; of
    one and of larger integers, towards 0.
    """

    mean: Tensor
    log_scale: Tensor
    tail: Tensor
    inside: Tensor


@dataclass(frozen=True)
class ContextConfig:
    """Sizes of a `ContextModel`."""

    n_references: int = 3
    """Other channels each channel may look at."""
    width: int = 64
    n_features: int = 8
    """Of each frequency, learned."""


class ContextModel(nn.Module):
    """Two hidden layers over logarithms of neighbours; the mean is a weighted sum of them.

    Parameters
    ----------
    config : ContextConfig
    """

    def __init__(self, config: ContextConfig) -> None:
        super().__init__()
        self.config = config
        r, own = config.n_references, len(OWN)
        # Logarithms of all shown neighbours with and without sign, likeness, size, step, block.
        n_in = 2 * (own + 4 * r) + r + 3 + GEOMETRY * r + config.n_features
        self.band = nn.Parameter(torch.randn(N_BANDS, config.n_features) * 0.5)
        self.enter = nn.Linear(n_in, config.width)
        self.hidden = nn.Linear(config.width, config.width)
        self.n_weights = own + 4 * r
        self.leave = nn.Linear(config.width, self.n_weights + 5)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self,
        near: Tensor,
        geometry: Tensor,
        band: Tensor,
        log_step: Tensor,
        log_block: Tensor,
        exact: bool = False,
    ) -> Guess:
        """Guess integers.

        Parameters
        ----------
        near : (..., J) integers, as `neighbours.Neighbours.index_MJ` finds them
        geometry : (..., R * 5) of the references, see `neighbours.geometry`
        band : (...) int64, row of the frequency table
        log_step : (...) log2 of the cell's width, in units of the signal
        log_block : (...) log2 of the block's length over the usual one
        exact : compute so that any machine gets the same; no gradients
        """
        with torch.autocast(near.device.type, enabled=False):
            near = near.double() if exact else near.float()
            return self._guess(
                near, geometry, band, torch.stack([log_step / 4, log_block], -1), exact
            )

    def _guess(
        self, near: Tensor, geometry: Tensor, band: Tensor, setting: Tensor, exact: bool
    ) -> Guess:
        near, alike_R = self._shown(near)
        sign = near.sign()
        size = plog2(near.abs())
        near_by = plog2(near[..., : len(OWN)].abs().sum(-1) / 4)
        parts = [size, sign * size, alike_R, near_by[..., None], setting, geometry]
        table = rounded(self.band, VALUE_GRID) if exact else self.band
        parts.append(table[band])
        x = torch.cat([p.to(near.dtype) for p in parts], -1)
        for layer in (self.enter, self.hidden):
            x = F.relu(_apply(layer, x, exact))
        out = _apply(self.leave, x, exact)
        weight, rest = out[..., : self.n_weights], out[..., self.n_weights :]
        if exact:
            weight = rounded(weight, VALUE_GRID)
        mean = (weight * near).sum(-1)
        log_scale = (near_by - 2 + rest[..., 0]).clamp(LOWEST, HIGHEST)
        return Guess(mean, log_scale, rest[..., 1], rest[..., 2:])

    def _shown(self, near: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours whose values are used, and the gain from each reference, (..., R).

        The gain is that of a line through what both channels had just before: the reference
        times it is one neighbour more.
        """
        own = near[..., : len(OWN)]
        there = near[..., len(OWN) :].unflatten(-1, (self.config.n_references, PER_REFERENCE))
        here = there[..., EVIDENCE]
        # Squares of what is left after this are summed without a rounding.
        _, digits = torch.frexp(near.abs().amax(-1))
        small = torch.exp2(-(digits - MOST_DIGITS).clamp_min(0).to(near.dtype))[..., None]
        mine = torch.floor(own[..., :EVIDENCE] * small)[..., None, :]
        before = torch.floor(there[..., :EVIDENCE] * small[..., None])
        gain = (mine * before).sum(-1) / (before.square().sum(-1) + 0.5)
        gain = rounded(gain.clamp(-MOST_ALIKE, MOST_ALIKE), VALUE_GRID)
        follows = rounded(gain * here, 16.0)
        shown = (own, there[..., 0], here, there[..., EVIDENCE + 1], follows)
        return torch.cat(shown, -1), gain


def _apply(layer: nn.Linear, x: Tensor, exact: bool) -> Tensor:
    if not exact:
        return layer(x)
    weight = rounded(layer.weight.double(), WEIGHT_GRID)
    bias = rounded(layer.bias.double(), WEIGHT_GRID)
    # The grids keep every partial sum below 2^53 steps, hence exact in any order.
    return F.linear(rounded(x, VALUE_GRID), weight, bias)


def rounded(x: Tensor, grid: float) -> Tensor:
    """To multiples of 1 / `grid`."""
    return torch.round(x * grid) / grid


def plog2(n: Tensor) -> Tensor:
    """log2(1 + n) of n >= 0, exact where 1 + n is a power of two and a line between two of them.

    Nothing but exponent and mantissa is read, so that every machine gets the same.
    """
    mantissa, exponent = torch.frexp(1 + n)
    return exponent + 2 * mantissa - 2


def bits_of(q: Tensor, guess: Guess) -> Tensor:
    """Bits of integers (...) under continuous guesses; what training descends."""
    inverse = torch.exp2(-guess.log_scale)
    log_tail = F.logsigmoid(guess.tail) - log(2)
    away = (q - guess.mean).abs()
    near = _log_cell(away, inverse) + torch.log1p(-log_tail.exp())
    wide = _log_cell(away, inverse / TAIL_RATIO) + log_tail
    return -torch.logaddexp(near, wide) / log(2)


def _log_cell(away: Tensor, inverse: Tensor) -> Tensor:
    """Log of a logistic's mass in a cell of width 1 whose middle is `away` from its mean."""
    below, above = (0.5 - away) * inverse, (-0.5 - away) * inverse
    # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)): no difference of two near numbers.
    return F.logsigmoid(below) + F.logsigmoid(-above) + torch.log(-torch.expm1(-inverse))
