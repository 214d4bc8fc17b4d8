"""The classical half of a SpectralCodec: cosine transform, blocks, and a quantiser of one step.

Shapes: T samples, F blocks, K frequencies, as many as samples in a block.
"""

from functools import lru_cache
from math import log2

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def cosines(k: int) -> Tensor:
    """Orthonormal DCT-II, (K, samples), double precision."""
    n = torch.arange(k, dtype=torch.float64)
    waves = torch.cos(torch.pi / k * n[:, None] * (n + 0.5)) * (2 / k) ** 0.5
    waves[0] /= 2**0.5
    return waves


def block_of(n_samples: int, wanted: int) -> int:
    """The divisor of `n_samples` that is nearest to `wanted` (in ratio)."""
    divisors = [d for d in range(1, n_samples + 1) if n_samples % d == 0]
    return min(divisors, key=lambda d: abs(log2(d / wanted)))


def lengths_of(n_samples: int, longest: int, shortest: int) -> list[int]:
    """Blocks that so many samples may be cut into: `block_of`, its half, ... down to `shortest`."""
    lengths = [block_of(n_samples, longest)]
    while lengths[-1] % 2 == 0 and lengths[-1] // 2 >= shortest:
        lengths.append(lengths[-1] // 2)
    return lengths


def transformed(x: Tensor, k: int) -> Tensor:
    """Coefficients (..., F, K) of samples (..., T) in blocks of K."""
    return x.unflatten(-1, (-1, k)) @ cosines(k).T.to(x.device)


def quantise(coefficient: Tensor, step: float | Tensor, rounding: float) -> Tensor:
    """Whole numbers of steps, with a dead zone around zero."""
    return coefficient.sign() * torch.floor(coefficient.abs() / step + rounding)


def placed(q: Tensor, inside: Tensor) -> Tensor:
    """Coefficients in steps: integers (...) moved to where in their cells (..., 3) they lie."""
    size = q.abs()
    moved = torch.where(size > 1, inside[..., 2], inside[..., 1])
    return torch.where(size == 0, inside[..., 0], q + q.sign() * moved)
