"""UnifiedEncoder: one encoder for EEG, MEG, intracranial EEG and fMRI.

Sensors differ in number and place from recording to recording; learned queries look at all sensors
of one step and leave a fixed number of latent sources (as in BrainOmni, arXiv 2505.18185).
Sources of all steps then attend to one another with rotary codes of seconds, so that a step of 20 s
of fMRI may stand beside steps of 1 s of EEG. No published model covers these four kinds; this one
is ours, and is to be read so.

Shapes: B batch, N tokens, G slots (steps), S sources, C sensors in a slot, D width, H heads, E
pairs of a head or its width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from brainfm.codecs.presets import fill_from_preset
from brainfm.models.across import BloodLag, Matcher
from brainfm.models.base import Encoder
from brainfm.models.guessing import Guesser
from brainfm.models.presets import UNIFIED
from brainfm.models.stream import StreamConfig, StreamEmbedding
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.leadfield import LeadField
from brainfm.nn.norms import RMSNorm
from brainfm.nn.seconds import TimedAttention, turns
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Features, SignalBatch, TokenStream

SHARPNESS = 6.0
"""Makes the first attention's logits spread by about 2."""
ATTENTION = ("packed", "factorised")
REDUCE = ("inverse", "queries")


@dataclass(frozen=True)
class UnifiedEncoderConfig:
    """Sizes of a UnifiedEncoder. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "tiny"
    dim: int | None = None
    n_heads: int | None = None
    depth: int | None = None
    n_sources: int | None = None
    """Learned queries: latent sources a step."""
    stream: StreamConfig = field(default_factory=StreamConfig)
    reduce: str = "inverse"
    """How sensors of a step become sources. "inverse": a learned lead field and its minimum-norm
    inverse. "queries": learned queries look at the sensors."""
    attention: str = "packed"
    """"packed": every source of every step sees all others. "factorised": steps of its source, then
    sources of its step; cheaper where windows are long."""
    causal: bool = False
    """See nothing that ends later than oneself: a step of 20 s would tell one of 1 s the future.
    The units of a window are still those of all of it; normalise by the past where that counts."""
    dropout: float = 0.0
    """Of attention weights, while training."""

    def __post_init__(self) -> None:
        fill_from_preset(self, UNIFIED)
        if isinstance(self.stream, dict):
            object.__setattr__(self, "stream", StreamConfig(**self.stream))
        for key, known in (("attention", ATTENTION), ("reduce", REDUCE)):
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is '{getattr(self, key)}'; it must be one of {known}")


class Inverse(nn.Module):
    """Sources of a step by a learned lead field: (B, G, C, D) -> (B, G, S, D)."""

    def __init__(self, dim: int, n_sources: int) -> None:
        super().__init__()
        self.field = LeadField(n_sources)
        self.source_SD = nn.Parameter(torch.randn(n_sources, dim) * 0.1)
        self.enter = nn.Linear(dim + 1, dim)
        self.code = nn.Linear(dim, dim)
        self.feed_norm, self.feed = RMSNorm(dim), SwiGLU(dim, dim)

    def rows(self, pos_BC3: Tensor, ori_BC3: Tensor, kind_BC: Tensor) -> Tensor:
        """Rows of the lead field (B, C, S)."""
        return self.field(pos_BC3, ori_BC3, kind_BC)

    def forward(self, part: TokenStream, seen_BGC: Tensor) -> Tensor:
        n_slots = seen_BGC.shape[1]
        # Every slot has the same sensors, in the same order or another; each has its own rows.
        row_BNS = self.field(part.pos_BN3, part.ori_BN3, part.kind_BN)
        b, n, s = row_BNS.shape
        row_MCS = row_BNS.reshape(b * n_slots, n // n_slots, s)
        shown_M1CD = part.h_BND.reshape(b * n_slots, 1, n // n_slots, -1)
        kind_MC = part.kind_BN.reshape(b * n_slots, n // n_slots)
        found = self.field.inverse(row_MCS, kind_MC, seen_BGC.flatten(0, 1)[:, None], shown_M1CD)
        found_BGSD = self.enter(found[:, 0].unflatten(0, (b, n_slots)).to(part.h_BND.dtype))
        # Kind, scale and length of the step, as the mean of the sensors that are seen.
        weight_BGC1 = seen_BGC[..., None].to(part.h_BND.dtype)
        code_BGCD = part.code_BND.unflatten(1, (n_slots, -1))
        mean_BGD = (code_BGCD * weight_BGC1).sum(2) / weight_BGC1.sum(2).clamp_min(1)
        x_BGSD = found_BGSD + self.source_SD + self.code(mean_BGD)[:, :, None]
        return x_BGSD + self.feed(self.feed_norm(x_BGSD))


class Queries(nn.Module):
    """Learned queries look at the sensors of a step: (B, G, C, D) -> (B, G, S, D).

    One more key, learned, is always there: a step that is hidden whole still has sources.
    """

    def __init__(self, dim: int, n_heads: int, n_sources: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.asks_SD = nn.Parameter(torch.randn(n_sources, dim))
        self.source_SD = nn.Parameter(torch.randn(n_sources, dim) * 0.1)
        self.nothing_D = nn.Parameter(torch.randn(dim) * 0.02)
        self.norm = RMSNorm(dim)
        self.query, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.feed_norm, self.feed = RMSNorm(dim), SwiGLU(dim, dim)
        # Every source begins by looking at a region of its own. A mean over all sensors, which is
        # what small weights would begin with, has lost what the sensors showed.
        with torch.no_grad():
            self.query.weight *= SHARPNESS

    def rows(self, pos_BC3: Tensor, ori_BC3: Tensor, kind_BC: Tensor) -> None:
        """There is no lead field."""

    def forward(self, part: TokenStream, seen_BGC: Tensor) -> Tensor:
        n_slots = seen_BGC.shape[1]
        h_BND = part.h_BND + part.code_BND.to(part.h_BND.dtype)
        h_MCD = h_BND.unflatten(1, (n_slots, -1)).flatten(0, 1)
        return self.look(h_MCD, seen_BGC.flatten(0, 1)).unflatten(0, (-1, n_slots))

    def look(self, h_MCD: Tensor, seen_MC: Tensor) -> Tensor:
        """(M, S, D) of the sensors of M steps."""
        h = torch.cat((self.nothing_D.to(h_MCD.dtype).expand(len(h_MCD), 1, -1), h_MCD), 1)
        h = self.norm(h)
        seen_MC = torch.cat((seen_MC.new_ones(len(seen_MC), 1), seen_MC), 1)
        # Few queries, many sensors: keys are folded into the queries, and values are made of what
        # was found, so that no sensor is multiplied by a D x D matrix. A key's bias would add the
        # same to all sensors, and the softmax would forget it.
        asked_HSE = self.query(self.asks_SD).unflatten(-1, (self.n_heads, -1)).transpose(0, 1)
        key_HED = self.key.weight.unflatten(0, (self.n_heads, -1))
        asked_HSD = asked_HSE @ key_HED * asked_HSE.shape[-1] ** -0.5
        logits_MHSC = torch.einsum("hsd,mcd->mhsc", asked_HSD.to(h.dtype), h)
        unseen = ~seen_MC[:, None, None]
        weight_MHSC = logits_MHSC.float().masked_fill(unseen, -torch.inf).softmax(-1)
        found_MHSD = torch.einsum("mhsc,mcd->mhsd", weight_MHSC.to(h.dtype), h)
        value_HED = self.value.weight.unflatten(0, (self.n_heads, -1)).to(h.dtype)
        found_MSHE = torch.einsum("mhsd,hed->mshe", found_MHSD, value_HED)
        found_MSD = found_MSHE.flatten(-2) + self.value.bias.to(h.dtype)
        x_MSD = self.source_SD.to(h.dtype) + self.out(found_MSD)
        return x_MSD + self.feed(self.feed_norm(x_MSD))


class Block(nn.Module):
    """Attention over seconds (and, factorised, over sources of a step), then feed-forward."""

    def __init__(self, config: UnifiedEncoderConfig) -> None:
        super().__init__()
        self.factorised = config.attention == "factorised"
        self.time_norm = RMSNorm(config.dim)
        self.over_time = TimedAttention(config.dim, config.n_heads, config.dropout)
        if self.factorised:
            self.source_norm = RMSNorm(config.dim)
            self.over_sources = TimedAttention(config.dim, config.n_heads, config.dropout)
        self.feed_norm = RMSNorm(config.dim)
        self.feed = SwiGLU(config.dim, 8 * config.dim // 3)

    def forward(self, x_BGSD: Tensor, turns_BGE: Tensor, see_BGG: Tensor | None) -> Tensor:
        b, g, s, _ = x_BGSD.shape
        x = self.time_norm(x_BGSD)
        if self.factorised:
            rows = x.transpose(1, 2).flatten(0, 1)
            see = None if see_BGG is None else see_BGG.repeat_interleave(s, 0)
            seen = self.over_time(rows, turns_BGE.repeat_interleave(s, 0), see)
            x_BGSD = x_BGSD + seen.unflatten(0, (b, s)).transpose(1, 2)
            rows = self.source_norm(x_BGSD).flatten(0, 1)
            still = turns_BGE.new_ones(1, 1, turns_BGE.shape[-1])
            x_BGSD = x_BGSD + self.over_sources(rows, still).unflatten(0, (b, g))
        else:
            see = None
            if see_BGG is not None:
                see = see_BGG.repeat_interleave(s, 1).repeat_interleave(s, 2)
            seen = self.over_time(x.flatten(1, 2), turns_BGE.repeat_interleave(s, 1), see)
            x_BGSD = x_BGSD + seen.unflatten(1, (g, s))
        return x_BGSD + self.feed(self.feed_norm(x_BGSD))


class UnifiedEncoder(Encoder):
    """Encoder of token streams, with what pretraining asks of it: guesses, matches, blood's lag.

    Parameters
    ----------
    config : UnifiedEncoderConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = UnifiedEncoderConfig

    def __init__(
        self, config: UnifiedEncoderConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        c = config or UnifiedEncoderConfig()
        super().__init__(c, preprocess)
        self.embedding = StreamEmbedding(c.stream, c.dim, c.causal)
        self.reduce: nn.Module = (
            Inverse(c.dim, c.n_sources)
            if c.reduce == "inverse"
            else Queries(c.dim, c.n_heads, c.n_sources)
        )
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.depth))
        self.last = RMSNorm(c.dim)
        families = (self.embedding.fast.n_features, self.embedding.bold.n_features)
        self.guesser = Guesser(c.dim, c.n_heads, *families)
        self.matcher = Matcher(c.dim, c.n_sources)
        self.lag = BloodLag(c.dim, c.n_heads)

    @property
    def dim(self) -> int:
        return int(self.config.dim)

    @property
    def n_sources(self) -> int:
        return int(self.config.n_sources)

    def meet(self, batches: Iterable[SignalBatch]) -> None:
        """Units of features, from training windows; see `models.standard`."""
        self.embedding.meet(batches)

    def forward(self, batch: SignalBatch) -> Features:
        """Features (B, S, W, D), a step of the family's length each."""
        stream = self.embedding(batch)
        h_BGSD = self.encode(stream)
        duration_s = float(stream.duration_N[0])
        return Features(
            h_BSWD=h_BGSD.transpose(1, 2),
            valid_BS=batch.valid_BC.any(1, keepdim=True).expand(-1, self.n_sources),
            time_W=torch.arange(h_BGSD.shape[1], dtype=torch.float64, device=h_BGSD.device)
            * duration_s,
            duration_s=duration_s,
        )

    def encode(self, stream: TokenStream, hidden_BN: Tensor | None = None) -> Tensor:
        """Sources of every slot, (B, G, S, D).

        Parameters
        ----------
        stream : of one recording or of several made at once
        hidden_BN : bool, tokens that are not to be seen
        """
        seen_BN = stream.valid_BN if hidden_BN is None else stream.valid_BN & ~hidden_BN
        x_BGSD, slot = self.sources(stream, seen_BN)
        start_BG = stream.time_BN[:, slot]
        duration_G = stream.duration_N[slot].double()
        # Angles from the first start on: relative times are all that attention sees anyway.
        middle_BG = start_BG - start_BG[:, :1] + duration_G / 2
        turns_BGE = turns(middle_BG, self.blocks[0].over_time.n_pairs)
        see_BGG = None
        if self.config.causal:
            end_BG = start_BG + duration_G
            see_BGG = end_BG[:, None, :] <= end_BG[:, :, None] + 1e-6
        for block in self.blocks:
            x_BGSD = block(x_BGSD, turns_BGE, see_BGG)
        return self.last(x_BGSD)

    def sources(self, stream: TokenStream, seen_BN: Tensor) -> tuple[Tensor, Tensor]:
        """What the queries find in each slot: (B, G, S, D), and the first token of each slot.

        Slots of as many tokens go together, so that nothing is padded.
        """
        order_N = torch.argsort(stream.slot_N, stable=True)
        count_G = torch.bincount(stream.slot_N, minlength=stream.n_slots)
        first_G = count_G.cumsum(0) - count_G
        found: dict[int, Tensor] = {}
        for count in count_G.unique().tolist():
            slots = torch.nonzero(count_G == count).flatten()
            index_GC = order_N[first_G[slots, None] + torch.arange(count, device=slots.device)]
            flat = index_GC.flatten()
            part_BGSD = self.reduce(stream.take(flat), seen_BN[:, flat].unflatten(1, (-1, count)))
            found |= dict(zip(slots.tolist(), part_BGSD.unbind(1), strict=True))
        x_BGSD = torch.stack([found[g] for g in range(len(count_G))], 1)
        return x_BGSD, order_N[first_G]
