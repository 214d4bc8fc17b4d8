"""MVPFormer: segments of channels, read through wavelets, attended by content, time and channel.

Generative transformer for intracranial recordings (arXiv 2506.20354): every channel's segment is
a token, segments are causal, and the state at one segment predicts the tokens of the next.

Shapes: B batch, T segments, S segments known (the last T of them are those at hand), C channels,
P samples of a segment, D width, H heads, G key-value groups, E head width, L lags, R relations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainfm.codecs.presets import fill_from_preset
from brainfm.errors import ContractError
from brainfm.models.base import Encoder
from brainfm.models.presets import MVPFORMER
from brainfm.nn.amplitude import KINDS, beside_past, level
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.mvpa import MVPAInputs, by_distance, list_order, mvpa_dense, mvpa_lean
from brainfm.nn.norms import RMSNorm
from brainfm.nn.wavelet import PeriodicWavelet
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Features, SignalBatch

RELATIONS = ("distance", "list order")
TIME_ROWS = ("lag", "from_end")
PATHS = ("lean", "flex", "auto", "dense")
EPS = 1e-5
INIT_STD = 0.02

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one layer, (B, S, C, G E) each."""


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
    """Rows of the time table: most segments of a window, or of a band."""
    n_channels: int = 128
    """Rows of the channel table."""
    lookback: int = 10
    """Segments back to which content counts; farther ones are seen by time and channel alone."""
    band: int | None = None
    """Segments that are attended at all, the own one included; null: all before, as published."""
    time_rows: str = "lag"
    """What a row of the time table stands for: a "lag", or as published a place counted
    "from_end" of the window, so that the same lag has other rows in windows of other lengths."""
    last_sees_all: bool = False
    """The last segment sees the content of all, beyond `lookback`, as published."""
    amplitude: bool = True
    """Tell tokens how strong each wavelet band is beside its past, which the norm of the
    coefficients forgets; not in the published model."""
    amplitude_past: int | None = None
    """Segments of the past that amplitude is told beside, the own one included; null: those of
    the band. A seizure fills a band of a minute, and would then be its own past."""
    relation: str = "distance"
    """What tells two channels apart: "distance" in metres, whatever their order, or "list order"
    as published, which is invariant to reversing the list and to no other permutation."""
    reach_m: float = 0.2
    """Distance of the last row but one of the channel table; farther pairs count as that far."""
    path: str = "lean"
    """How attention is computed: "lean" anywhere, "flex" fused on CUDA (without gradients on
    CPU), "auto" the one of these two that suits the device, "dense" with all logits held: the
    formula, for tests and for looking at weights."""

    def __post_init__(self) -> None:
        fill_from_preset(self, MVPFORMER)
        known = {"relation": RELATIONS, "path": PATHS, "time_rows": TIME_ROWS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is '{getattr(self, name)}'; it must be one of {values}")
        if self.dim % self.n_heads or self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"dim {self.dim} does not split over {self.n_heads} heads in "
                f"{self.n_kv_heads} groups"
            )
        if self.band is not None and not 1 <= self.band <= self.n_positions:
            raise ValueError(
                f"band is {self.band} segments; it must be null or 1 to n_positions, "
                f"{self.n_positions}"
            )
        if self.amplitude_past is not None and self.amplitude_past < 1:
            raise ValueError(
                f"amplitude_past is {self.amplitude_past} segments; it must be null or at least 1"
            )

    @property
    def past(self) -> int | None:
        """Segments that amplitude is told beside; None: all before."""
        return self.amplitude_past or self.band

    @property
    def hop(self) -> int:
        """Samples a step of features covers: one segment."""
        return self.window

    @property
    def streams(self) -> bool:
        """Whether a recording can be followed segment by segment; see `MVPFormer.advance`."""
        return not self.why_not_streams

    @property
    def why_not_streams(self) -> str:
        """What keeps `MVPFormer.advance` from being the same as `forward`; "" if nothing."""
        if self.time_rows == "from_end":
            return (
                "time_rows is 'from_end', as published: keys of time count from the end of the "
                "window, so those of earlier segments change as it grows"
            )
        if self.last_sees_all:
            return (
                "last_sees_all is true, as published: the last segment is computed in another "
                "way, and stops being the last when the next one comes"
            )
        if self.band is None:
            return "band is null: every segment looks back to the first, so memory would not end"
        return ""


@dataclass(frozen=True)
class Past:
    """What segments to come need of the last band - 1, and levels of the last `past` - 1 ones."""

    keys_values: tuple[KeysValues, ...]
    """One pair a layer."""
    level_BSCL: Tensor
    """log10 of the root mean square of each wavelet band, in SI units; NaN where flat or not
    valid. Empty where amplitude is not told."""
    valid_BSC: Tensor


@dataclass(frozen=True)
class Geometry:
    """What all layers are told of lags, of pairs of channels, and of what may be seen."""

    time_LD: Tensor
    relation_CC: Tensor
    relation_RD: Tensor
    valid_BSC: Tensor | None = None


class WaveletEncoder(nn.Module):
    """A segment of one channel to a token: db4 coefficients, RMS norm, projection."""

    def __init__(self, config: MVPFormerConfig) -> None:
        super().__init__()
        self.wavelet = PeriodicWavelet(config.window)
        self.norm = RMSNorm(self.wavelet.n_coefficients, EPS)
        self.project = nn.Linear(self.wavelet.n_coefficients, config.dim, bias=False)
        told = KINDS * len(self.wavelet.sizes)
        self.amplitude = nn.Linear(told, config.dim, bias=False) if config.amplitude else None

    def coefficients(self, x_BTCP: Tensor) -> Tensor:
        """(B, T, C, F) wavelet coefficients."""
        return self.wavelet(x_BTCP.flatten(0, 2)).unflatten(0, x_BTCP.shape[:3])

    def forward(self, f_BTCF: Tensor, beside_BTCM: Tensor | None = None) -> Tensor:
        """(B, T, C, D); the scale of the signal goes with the norm, and may be told besides."""
        token = self.project(self.norm(f_BTCF).to(self.project.weight.dtype))
        if self.amplitude is None:
            return token
        return token + self.amplitude(beside_BTCM.to(self.amplitude.weight.dtype))


class Attention(nn.Module):
    """Projections around the multi-variate parallel attention of `brainfm.nn.mvpa`."""

    def __init__(self, config: MVPFormerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.dim // config.n_heads
        kv = config.n_kv_heads * width
        self.query = nn.Linear(config.dim, config.dim, bias=False)
        self.key = nn.Linear(config.dim, kv, bias=False)
        self.value = nn.Linear(config.dim, kv, bias=False)
        self.time = nn.Linear(config.dim, kv, bias=False)
        self.channel = nn.Linear(config.dim, kv, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)
        self.bias_3GE = nn.Parameter(torch.zeros(3, config.n_kv_heads, width))

    def keys_values(self, x_BTCD: Tensor) -> KeysValues:
        """Of segments, groups not yet repeated over heads."""
        return self.key(x_BTCD), self.value(x_BTCD)

    def inputs(self, x_BTCD: Tensor, keys_values: KeysValues, where: Geometry) -> MVPAInputs:
        """Queries of segments T; keys and values of S, of which the last T are the same ones."""
        c = self.config

        def heads(y_BTCD: Tensor, n: int) -> Tensor:
            return y_BTCD.unflatten(-1, (n, -1)).permute(0, 3, 1, 2, 4)

        def table(y_RD: Tensor) -> Tensor:
            return every_head(y_RD.unflatten(-1, (c.n_kv_heads, -1)).transpose(0, 1))

        def every_head(y_GXE: Tensor) -> Tensor:
            return y_GXE.repeat_interleave(c.n_heads // c.n_kv_heads, 0)

        k, v = keys_values
        return MVPAInputs(
            heads(self.query(x_BTCD), c.n_heads),
            heads(k, c.n_kv_heads),
            heads(v, c.n_kv_heads),
            table(self.time(where.time_LD)),
            table(self.channel(where.relation_RD)),
            where.relation_CC,
            *map(every_head, self.bias_3GE),
            window=c.lookback,
            band=c.band,
            last_sees_all=c.last_sees_all,
            valid_BSC=where.valid_BSC,
        )

    def forward(self, x: MVPAInputs) -> Tensor:
        """(B, T, C, D) after the output projection."""
        y_BHTCE = attend(x, self.config.path)
        return self.out(y_BHTCE.permute(0, 2, 3, 1, 4).flatten(3))


def attend(x: MVPAInputs, path: str) -> Tensor:
    """(B, H, T, C, E), by one of `PATHS`."""
    if path == "dense":
        return mvpa_dense(x)[0]
    if path == "flex" or (path == "auto" and x.q_BHTCE.is_cuda):
        from brainfm.nn.mvpa_flex import NARROWEST, mvpa_flex  # half a second

        if path == "flex" or x.q_BHTCE.shape[-1] >= NARROWEST:
            return mvpa_flex(x)
    return mvpa_lean(x)


class Block(nn.Module):
    """x + attention(norm(x)) + feed-forward(norm(x)): both read the same normalised input."""

    def __init__(self, config: MVPFormerConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.dim, EPS)
        self.attention = Attention(config)
        self.feedforward = SwiGLU(config.dim, config.inner)

    def forward(
        self, x_BTCD: Tensor, where: Geometry, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """States of segments T, and the keys and values of these and the `past` ones."""
        h = self.norm(x_BTCD)
        k, v = self.attention.keys_values(h)
        if past is not None:
            k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
        attended = self.attention(self.attention.inputs(h, (k, v), where))
        return x_BTCD + attended + self.feedforward(h), (k, v)


class MVPFormer(Encoder):
    """Causal transformer over segments and channels.

    Trained here, a key of time belongs to a lag and every segment is computed alike, so that with
    a `band` a recording can be followed without end (`advance`). With the published settings
    (`time_rows="from_end"`, `last_sees_all=True`, `amplitude=False`, `relation="list order"`; what
    `brainfm.compat` sets) a segment's features depend on how many others the window holds.

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
                nn.init.normal_(module.weight, std=INIT_STD)
        if self.encoder.amplitude is not None:
            # A quarter of a decade in all bands moves a fresh token as much as its shape does:
            # with a decade, a detector had learned a third less in its first 300 steps.
            told = self.encoder.amplitude.in_features
            std = 4 * INIT_STD * (self.encoder.wavelet.n_coefficients / told) ** 0.5
            nn.init.normal_(self.encoder.amplitude.weight, std=std)

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
        # In a band lags end, and a table of lags then holds windows of any length.
        endless = c.band is not None and c.time_rows == "lag"
        if n < 1 or (n > c.n_positions and not endless):
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

    def tokens(
        self, batch: SignalBatch, past: Past | None = None, scale_BCW: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C, D), and levels (B, S, C, L) in SI units, the `past` ones included."""
        f_BTCF = self.encoder.coefficients(self.segments(batch))
        if not self.config.amplitude:
            return self.encoder(f_BTCF), f_BTCF[..., :0]
        scale_BCW = batch.scale_BC[..., None] if scale_BCW is None else scale_BCW
        scale_BTC1 = scale_BCW.float().log10().mT[..., None]
        level_BSCL = level(f_BTCF, self.encoder.wavelet.sizes, batch.valid_BC) + scale_BTC1
        if past is not None:
            level_BSCL = torch.cat([past.level_BSCL, level_BSCL], 1)
        # The past is told in the scale of the segment that asks: no such, where it is not valid.
        told_BSCL = level_BSCL.masked_fill(~batch.valid_BC[:, None, :, None], torch.nan)
        beside = beside_past(told_BSCL, f_BTCF.shape[1], self.config.past, scale_BTC1)
        return self.encoder(f_BTCF, beside), level_BSCL

    def relation(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Which rows of the channel table a pair of channels uses, and these rows (R, D)."""
        c, n = self.config, batch.pos_BC3.shape[1]
        if c.relation == "list order":
            return list_order(n, batch.pos_BC3.device), self.channel_table.weight[:n]
        share = by_distance(batch.pos_BC3.float(), c.n_channels, c.reach_m)
        return share.to(self.channel_table.weight.dtype), self.channel_table.weight

    def time_keys(self, n_segments: int) -> Tensor:
        """(L, D): row d belongs to lag d, in windows of so many segments."""
        if self.config.time_rows == "from_end":
            return self.time_table.weight[:n_segments].flip(0)
        return self.time_table.weight[: min(n_segments, self.config.band or n_segments)]

    def run_blocks(self, x_BTCD: Tensor, where: Geometry) -> Tensor:
        """Hidden states after the last norm, (B, T, C, D)."""
        for block in self.blocks:
            x_BTCD, _ = block(x_BTCD, where)
        return self.norm(x_BTCD)

    def predict_next(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C, D), and after each of them a guess at the next one, (B, T, C, D)."""
        x_BTCD, _ = self.tokens(batch)
        return x_BTCD, self.head(self._hidden(x_BTCD, batch))

    def forward(self, batch: SignalBatch) -> Features:
        """One vector per channel and segment; a channel is its own source."""
        return self._features(self._hidden(self.tokens(batch)[0], batch), batch)

    @torch.no_grad()
    def advance(
        self, batch: SignalBatch, past: Past | None = None, scale_BCW: Tensor | None = None
    ) -> tuple[Features, Past]:
        """Features of the next segments of a recording that is followed as it comes.

        The same as `forward` of everything so far, to rounding, however the recording is cut
        into pieces; time and memory depend on the piece and the band, not on what went before.
        A channel may be valid in one piece and not in the next.

        Parameters
        ----------
        batch : one or more whole segments
        past : what the last call returned; None at the start, and behind a gap
        scale_BCW : of each segment, where each was normalised by itself. None: `batch.scale_BC`

        Returns
        -------
        Features of these segments (`time_W` from the piece's start), and the past of the next

        Raises
        ------
        ContractError
            If geometry ties features to the length of the window, if the piece is not of whole
            segments, or if it has other windows or channels than the past.
        """
        c = self.config
        if c.why_not_streams:
            raise ContractError(
                f"this model cannot follow a recording, because its {c.why_not_streams}; give it "
                "whole windows, or train one with time_rows 'lag', last_sees_all false and a band"
            )
        if batch.signal_BCT.shape[2] % c.window:
            raise ContractError(
                f"a piece has {batch.signal_BCT.shape[2]} samples; it must be whole segments of "
                f"{c.window}: keep the rest for the next piece"
            )
        if past is not None and past.valid_BSC.shape[::2] != batch.valid_BC.shape:
            raise ContractError(
                f"a piece has (windows, channels) {tuple(batch.valid_BC.shape)}, the past "
                f"{tuple(past.valid_BSC.shape[::2])}; begin again with past=None"
            )
        x_BTCD, level_BSCL = self.tokens(batch, past, scale_BCW)
        valid_BSC = batch.valid_BC[:, None].expand(x_BTCD.shape[:3])
        if past is not None:
            valid_BSC = torch.cat([past.valid_BSC, valid_BSC], 1)
        where = Geometry(self.time_keys(valid_BSC.shape[1]), *self.relation(batch), valid_BSC)

        def keep(y_BSC: Tensor, segments: int = c.band) -> Tensor:
            return y_BSC[:, max(0, y_BSC.shape[1] - (segments - 1)) :].clone()

        kept = []
        for i, block in enumerate(self.blocks):
            x_BTCD, (k, v) = block(x_BTCD, where, past and past.keys_values[i])
            kept.append((keep(k), keep(v)))
        features = self._features(self.norm(x_BTCD), batch)
        return features, Past(tuple(kept), keep(level_BSCL, c.past), keep(valid_BSC))

    def _hidden(self, x_BTCD: Tensor, batch: SignalBatch) -> Tensor:
        valid_BTC = batch.valid_BC[:, None].expand(x_BTCD.shape[:3])
        where = Geometry(self.time_keys(x_BTCD.shape[1]), *self.relation(batch), valid_BTC)
        return self.run_blocks(x_BTCD, where)

    def _features(self, h_BTCD: Tensor, batch: SignalBatch) -> Features:
        step_s = self.config.window / batch.sfreq
        time_W = torch.arange(h_BTCD.shape[1], dtype=torch.float64) * step_s
        return Features(h_BTCD.transpose(1, 2), batch.valid_BC, time_W, step_s)
