"""Feed-forward blocks: SELU of four widths (BrainOmni), gated SiLU (MVPFormer).

Shapes: D width.
"""

from torch import Tensor, nn


class FeedForward(nn.Module):
    """Linear, SELU, Linear, dropout: (..., D) -> (..., D)."""

    def __init__(self, dim: int, dropout: float = 0.0, widen: int = 4) -> None:
        super().__init__()
        self.widen = nn.Linear(dim, widen * dim)
        self.narrow = nn.Linear(widen * dim, dim)
        self.act = nn.SELU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.act(self.widen(x))))


class SwiGLU(nn.Module):
    """Gated feed-forward without biases, (..., D) -> (..., D); Shazeer 2020, arXiv 2002.05202."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, inner, bias=False)
        self.up = nn.Linear(dim, inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))
