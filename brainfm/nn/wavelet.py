"""Discrete wavelet transform with circular ends, as an encoder of short stretches of signal.

Shapes: N stretches, T samples, F coefficients.
"""

from math import floor, log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DB4_LOW = (
    -0.010597401784997278,
    0.032883011666982945,
    0.030841381835986965,
    -0.18703481171888114,
    -0.02798376941698385,
    0.6308807679295904,
    0.7148465705525415,
    0.23037781330885523,
)
"""Decomposition low-pass of four vanishing moments: Daubechies, Ten Lectures on Wavelets, 1992,
table 6.1, reversed in time."""


def levels_of(n_samples: int, taps: int = len(DB4_LOW)) -> int:
    """Levels until the low-pass band is shorter than the filter."""
    return max(0, floor(log2(n_samples / (taps - 1)))) if n_samples >= taps - 1 else 0


def sizes_of(n_samples: int, taps: int = len(DB4_LOW)) -> tuple[int, ...]:
    """Coefficients of each band, coarsest approximation first, finest detail last."""
    details = []
    n = n_samples
    for _ in range(levels_of(n_samples, taps)):
        n = (n + taps - 1) // 2
        details.append(n)
    return (n, *reversed(details))


class PeriodicWavelet(nn.Module):
    """db4 to the deepest level, ends continued circularly, bands side by side.

    The convention of PyWavelets' mode "periodic": each level has (n + 7) // 2 coefficients, a few
    more than half, since the ends are seen twice. Filters are constants, not parameters, and
    arithmetic is float32 whatever comes in: coefficients of slow bands are large.

    Parameters
    ----------
    n_samples : length of a stretch
    """

    def __init__(self, n_samples: int) -> None:
        super().__init__()
        if levels_of(n_samples) < 1:
            raise ValueError(f"a stretch of {n_samples} samples is too short for one level of db4")
        # Always on the CPU and in float32: no buffer, which model.bfloat16() would round.
        low = torch.tensor(DB4_LOW, dtype=torch.float64, device="cpu")
        sign = (-1.0) ** torch.arange(1, len(low) + 1, device="cpu")
        self.n_samples = n_samples
        self.sizes = sizes_of(n_samples)
        # Convolution in PyTorch does not reverse its kernel; a wavelet transform does.
        self.kernel_21K = torch.stack([low.flip(0), sign.flip(0) * low])[:, None].float()

    @property
    def n_coefficients(self) -> int:
        """Width of the result."""
        return sum(self.sizes)

    def forward(self, x_NT: Tensor) -> Tensor:
        """(N, F) coefficients: [approximation, coarsest detail, ..., finest detail]."""
        if x_NT.shape[-1] != self.n_samples:
            raise ValueError(f"stretches have {x_NT.shape[-1]} samples, not {self.n_samples}")
        with torch.autocast(x_NT.device.type, enabled=False):
            low_NT, details, kernel = x_NT.float(), [], self.kernel_21K.to(x_NT.device)
            for _ in range(len(self.sizes) - 1):
                low_NT, detail = _split(low_NT, kernel)
                details.append(detail)
        return torch.cat([low_NT, *reversed(details)], -1)


def _split(x_NT: Tensor, kernel_21K: Tensor) -> tuple[Tensor, Tensor]:
    """Slow and fast half of a band."""
    taps = kernel_21K.shape[-1]
    n = x_NT.shape[-1]
    out = (n + taps - 1) // 2
    # Coefficient o sees samples 2 o + 2 - taps to 2 o + 1, counted round the circle.
    around = torch.arange(2 - taps, 2 * out, device=x_NT.device) % n
    y_N2F = F.conv1d(x_NT[:, None, around], kernel_21K, stride=2)
    return y_N2F[:, 0], y_N2F[:, 1]
