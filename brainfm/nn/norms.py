"""Root-mean-square normalisation in float32, also under autocast.

Shapes: D width.
"""

from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * weight over D; computed in float32, returned as it came."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)
