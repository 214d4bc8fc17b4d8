"""MVPFormer: segments of channels, read through wavelets, attended by content, time and channel.

Generative transformer for intracranial recordings (arXiv 2506.20354): every channel's segment is
a token, segments are causal, and the state at one segment predicts the tokens of the next.

Shapes: B batch, T segments, C channels, P samples of a segment, D width, H heads, G key-value
groups, E head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainfm.codecs.presets import fill_from_preset
from brainfm.errors import ContractError
from brainfm.models.base import Encoder
from brainfm.models.presets import MVPFORMER
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.mvpa import (
    MVPAInputs,
    by_distance,
    list_order,
    mvpa_dense,
    mvpa_lean,
    repeat_groups,
)
from brainfm.nn.norms import RMSNorm
from brainfm.nn.wavelet import PeriodicWavelet
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Features, SignalBatch

RELATIONS = ("distance", "list order")
PATHS = ("lean", "dense")
EPS = 1e-5


@dataclass(frozen=True)
class MVPFormerConfig:
    """Sizes of an MVPFormer. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "S"
    window: int | None = None
    """Samples of a segment: 5 s at 512 Hz as published."""
    dim: int | None = None
    depth: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    inner: int | None = None
    """Width between the feed-forward's layers."""
    n_positions: int = 110
    """Rows of the time table: most segments of a window."""
    n_channels: int = 128
    """Rows of the channel table."""
    lookback: int = 10
    """Segments back to which content counts; farther ones are seen by time and channel alone."""
    relation: str = "distance"
    """What tells two channels apart: "distance" in metres, whatever their order, or "list order"
    as published, which is invariant to reversing the list and to no other permutation."""
    reach_m: float = 0.2
    """Distance of the last row but one of the channel table; farther pairs count as that far."""
    path: str = "lean"
    """"dense" holds all logits: the formula, for tests and for looking at weights."""

    def __post_init__(self) -> None:
        fill_from_preset(self, MVPFORMER)
        for name, known in (("relation", RELATIONS), ("path", PATHS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is '{getattr(self, name)}'; it must be one of {known}")
        if self.dim % self.n_heads or self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"dim {self.dim} does not split over {self.n_heads} heads in "
                f"{self.n_kv_heads} groups"
            )

    @property
    def hop(self) -> int:
        """Samples a step of features covers: one segment."""
        return self.window


class WaveletEncoder(nn.Module):
    """A segment of one channel to a token: db4 coefficients, RMS norm, projection."""

    def __init__(self, config: MVPFormerConfig) -> None:
        super().__init__()
        self.wavelet = PeriodicWavelet(config.window)
        self.norm = RMSNorm(self.wavelet.n_coefficients, EPS)
        self.project = nn.Linear(self.wavelet.n_coefficients, config.dim, bias=False)

    def forward(self, x_BTCP: Tensor) -> Tensor:
        """(B, T, C, D); the scale of the signal goes with the norm."""
        f = self.wavelet(x_BTCP.flatten(0, 2)).unflatten(0, x_BTCP.shape[:3])
        return self.project(self.norm(f).to(self.project.weight.dtype))


class Attention(nn.Module):
    """Projections around the multi-variate parallel attention of `brainfm.nn.mvpa`."""

    def __init__(self, config: MVPFormerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.dim // config.n_heads
        kv = config.n_kv_heads * width
        self.query = nn.Linear(config.dim, config.dim, bias=False)
        self.key_value = nn.Linear(config.dim, 2 * kv, bias=False)
        self.time = nn.Linear(config.dim, kv, bias=False)
        self.channel = nn.Linear(config.dim, kv, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)
        self.bias_3GE = nn.Parameter(torch.zeros(3, config.n_kv_heads, width))

    def inputs(
        self,
        x_BTCD: Tensor,
        time_TD: Tensor,
        relation_CC: Tensor,
        relation_RD: Tensor,
        valid_BC: Tensor | None = None,
    ) -> MVPAInputs:
        """Queries, keys and values, groups repeated over heads."""
        c = self.config

        def heads(y_BTCD: Tensor, n: int) -> Tensor:
            return y_BTCD.unflatten(-1, (n, -1)).permute(0, 3, 1, 2, 4)

        def table(y_RD: Tensor) -> Tensor:
            return y_RD.unflatten(-1, (c.n_kv_heads, -1)).transpose(0, 1)

        k, v = self.key_value(x_BTCD).chunk(2, -1)
        grouped = MVPAInputs(
            heads(self.query(x_BTCD), c.n_heads),
            heads(k, c.n_kv_heads),
            heads(v, c.n_kv_heads),
            table(self.time(time_TD)),
            table(self.channel(relation_RD)),
            relation_CC,
            *self.bias_3GE,
            window=c.lookback,
            valid_BC=valid_BC,
        )
        return repeat_groups(grouped, c.n_heads)

    def forward(self, x: MVPAInputs) -> Tensor:
        """(B, T, C, D) after the output projection."""
        y_BHTCE = mvpa_lean(x) if self.config.path == "lean" else mvpa_dense(x)[0]
        return self.out(y_BHTCE.permute(0, 2, 3, 1, 4).flatten(3))


class Block(nn.Module):
    """x + attention(norm(x)) + feed-forward(norm(x)): both read the same normalised input."""

    def __init__(self, config: MVPFormerConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.dim, EPS)
        self.attention = Attention(config)
        self.feedforward = SwiGLU(config.dim, config.inner)


class MVPFormer(Encoder):
    """Causal transformer over segments and channels.

    Parameters
    ----------
    config : MVPFormerConfig
    preprocess : contract of the signals it was trained on
    """

    config_class = MVPFormerConfig

    def __init__(
        self, config: MVPFormerConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        super().__init__(config or MVPFormerConfig(), preprocess)
        c = self.config
        self.encoder = WaveletEncoder(c)
        self.time_table = nn.Embedding(c.n_positions, c.dim)
        self.channel_table = nn.Embedding(c.n_channels, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.depth))
        self.norm = RMSNorm(c.dim, EPS)
        self.head = nn.Linear(c.dim, c.dim, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    @property
    def dim(self) -> int:
        return self.config.dim

    @property
    def n_sources(self) -> None:
        return None

    def segments(self, batch: SignalBatch) -> Tensor:
        """(B, T, C, P) of a batch; samples after the last whole segment are left out.

        Raises
        ------
        ContractError
            If there is no whole segment, or more segments or channels than the tables hold.
        """
        c = self.config
        x_BCT = batch.signal_BCT
        n = x_BCT.shape[2] // c.window
        if not 1 <= n <= c.n_positions:
            raise ContractError(
                f"windows have {x_BCT.shape[2]} samples, {n} segments of {c.window}; the model "
                f"takes 1 to {c.n_positions}"
            )
        if c.relation == "list order" and x_BCT.shape[1] > c.n_channels:
            raise ContractError(
                f"the recording has {x_BCT.shape[1]} channels; in list order the model takes at "
                f"most {c.n_channels}: pick channels, or train with relation 'distance'"
            )
        x = x_BCT[..., : n * c.window].unflatten(-1, (n, c.window))
        return torch.where(batch.valid_BC[..., None, None], x, 0.0).transpose(1, 2)

    def relation(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Which rows of the channel table a pair of channels uses, and these rows (R, D)."""
        c, n = self.config, batch.pos_BC3.shape[1]
        if c.relation == "list order":
            return list_order(n, batch.pos_BC3.device), self.channel_table.weight[:n]
        share = by_distance(batch.pos_BC3.float(), c.n_channels, c.reach_m)
        return share.to(self.channel_table.weight.dtype), self.channel_table.weight

    def run_blocks(
        self,
        x_BTCD: Tensor,
        relation_CC: Tensor,
        relation_RD: Tensor,
        valid_BC: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the last norm, (B, T, C, D)."""
        time_TD = self.time_table.weight[: x_BTCD.shape[1]]
        for block in self.blocks:
            h = block.norm(x_BTCD)
            x = block.attention.inputs(h, time_TD, relation_CC, relation_RD, valid_BC)
            x_BTCD = x_BTCD + block.attention(x) + block.feedforward(h)
        return self.norm(x_BTCD)

    def predict_next(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C, D), and after each of them a guess at the next one, (B, T, C, D)."""
        x_BTCD = self.encoder(self.segments(batch))
        h_BTCD = self.run_blocks(x_BTCD, *self.relation(batch), batch.valid_BC)
        return x_BTCD, self.head(h_BTCD)

    def forward(self, batch: SignalBatch) -> Features:
        """One vector per channel and segment; a channel is its own source."""
        x_BTCD = self.encoder(self.segments(batch))
        h_BTCD = self.run_blocks(x_BTCD, *self.relation(batch), batch.valid_BC)
        step_s = self.config.window / batch.sfreq
        time_W = torch.arange(h_BTCD.shape[1], dtype=torch.float64) * step_s
        return Features(h_BTCD.transpose(1, 2), batch.valid_BC, time_W, step_s)
