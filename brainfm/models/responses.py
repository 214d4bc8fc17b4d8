"""From what was shown to what a brain does: an encoding model with one query a region.

Stimulus features of the last seconds are tokens; each region, known by its place and by what was
learned of it, asks them its own question (transformer brain encoders, Adeli et al. 2025; one
embedding a voxel: Universal Brain-Encoder, arXiv 2406.12179). Widths and depth are ours.

Shapes: N frames, L lags, K features, C regions, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brainfm.nn.attention import attend
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.geometry import PositionCode, PositionCodeConfig
from brainfm.nn.norms import RMSNorm


class ResponseModel(nn.Module):
    """Features before a frame -> the frame: (N, L, K) -> (N, C).

    Parameters
    ----------
    n_features, n_lags : K, L
    pos_C3 : places of the regions, metres in MNI space; NaN where unknown
    dim, n_heads : D, heads
    dropout : of tokens, while training
    """

    def __init__(
        self,
        n_features: int,
        n_lags: int,
        pos_C3: Tensor,
        dim: int = 32,
        n_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        n = len(pos_C3)
        self.n_heads = n_heads
        self.enter = nn.Linear(n_features, dim)
        self.lag_LD = nn.Parameter(torch.randn(n_lags, dim) * 0.5)
        self.mix_norm = RMSNorm(dim)
        self.mix = nn.ModuleList(nn.Linear(dim, dim) for _ in range(4))
        self.place = PositionCode(PositionCodeConfig(dim))
        self.register_buffer("pos_C3", pos_C3.float(), persistent=False)
        self.asks_CD = nn.Parameter(torch.randn(n, dim) * 0.5)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm, self.feed = RMSNorm(dim), SwiGLU(dim, 2 * dim)
        self.read_CD = nn.Parameter(torch.randn(n, dim) * dim**-0.5)
        self.bias_C = nn.Parameter(torch.zeros(n))
        self.drop = nn.Dropout(dropout)

    def tokens(self, x_NLK: Tensor) -> Tensor:
        """Features of the last seconds after they have seen one another, (N, L, D)."""
        h_NLD = self.drop(self.enter(x_NLK) + self.lag_LD)
        ask, key, value, out = self.mix
        z = self.mix_norm(h_NLD)
        return h_NLD + out(attend(ask(z), key(z), value(z), self.n_heads))

    def forward(self, x_NLK: Tensor) -> Tensor:
        """(N, C) responses, in units of the regions' spread."""
        h_NLD = self.tokens(x_NLK)
        ask_CD = (
            self.asks_CD + self.place(self.pos_C3[None], torch.zeros_like(self.pos_C3)[None])[0]
        )
        ask_NCD = self.query(ask_CD).expand(len(x_NLK), -1, -1)
        found_NCD = attend(ask_NCD, self.key(h_NLD), self.value(h_NLD), self.n_heads)
        found_NCD = found_NCD + self.feed(self.norm(found_NCD))
        return torch.einsum("ncd,cd->nc", found_NCD, self.read_CD) + self.bias_C
