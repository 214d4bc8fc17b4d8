"""The feed-forward block of BrainOmni: widen four times, SELU, narrow again.

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
