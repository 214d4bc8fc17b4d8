"""BrainOmni: a masked-code transformer over the latent sources of a BrainTokenizer.

Each block attends over time with one half of the features and over sources with the other
(arXiv 2505.18185).

Shapes: B batch, S latent sources, W steps, D width, T codec width, Q levels, K codes,
M hidden positions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.presets import fill_from_preset
from brainfm.models.base import Encoder
from brainfm.models.masking import MaskPlan, draw_plan, hidden_positions, hide, masked_loss
from brainfm.models.presets import BRAINOMNI
from brainfm.nn.attention import SelfAttention
from brainfm.nn.feedforward import FeedForward
from brainfm.nn.norms import RMSNorm
from brainfm.nn.rope import MODES as ROPE_MODES
from brainfm.nn.rope import Rotary
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Codes, Features, SignalBatch


@dataclass(frozen=True)
class BrainOmniConfig:
    """Sizes of a BrainOmni. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "tiny"
    tokenizer: BrainTokenizerConfig | None = None
    dim: int | None = None
    n_heads: int | None = None
    """Heads of both branches together; each branch has half."""
    depth: int | None = None
    dropout: float = 0.0
    """Of attention weights and feed-forward outputs, while training. 0.1 as published."""
    overlap: float = 0.25
    """Share of a codec window that the next window sees again."""
    mask_ratio: float = 0.5
    n_levels_used: int | None = None
    """Levels the head predicts; default: all of the codec."""
    rope: str = "real"
    """"cosine": the table of released checkpoints, which lost its sine."""
    balance_input: bool = True
    """Bring features to RMS 1 before the learned source vectors are added. As published
    (False) features have norm 1 and source vectors norm ~16, which slows all training."""
    dropout_at_eval: bool = False
    """The published program leaves attention dropout on at evaluation; kept as a name only."""

    def __post_init__(self) -> None:
        fill_from_preset(self, BRAINOMNI)
        if not isinstance(self.tokenizer, BrainTokenizerConfig):
            known = (
                {"preset": self.tokenizer} if isinstance(self.tokenizer, str) else self.tokenizer
            )
            object.__setattr__(self, "tokenizer", BrainTokenizerConfig(**known))
        if self.n_levels_used is None:
            object.__setattr__(self, "n_levels_used", self.tokenizer.n_quantizers)
        if self.rope not in ROPE_MODES:
            raise ValueError(f"rope is '{self.rope}'; it must be one of {ROPE_MODES}")
        if self.dim % 4 or self.n_heads % 2 or (self.dim // 2) % (self.n_heads // 2):
            raise ValueError(f"dim {self.dim} does not split over {self.n_heads} heads")


class Block(nn.Module):
    """Time attention on the first half of the features, source attention on the second.

    The halves come out swapped (sources first), as published.
    """

    def __init__(self, config: BrainOmniConfig) -> None:
        super().__init__()
        half, heads = config.dim // 2, config.n_heads // 2
        p, at_eval = config.dropout, config.dropout_at_eval
        self.attention_norm = RMSNorm(config.dim)
        self.over_time = SelfAttention(half, heads, p, Rotary(half, config.rope), at_eval)
        self.over_sources = SelfAttention(half, heads, p, None, at_eval)
        self.feed_norm = RMSNorm(config.dim)
        self.feed = FeedForward(config.dim, p)

    def mix(self, x_BSWD: Tensor) -> tuple[Tensor, Tensor]:
        """Both attentions of a normalised input: (over time, over sources)."""
        b, s, w, _ = x_BSWD.shape
        in_time, in_sources = x_BSWD.chunk(2, -1)
        time = self.over_time(in_time.reshape(b * s, w, -1)).view(b, s, w, -1)
        rows = in_sources.transpose(1, 2).reshape(b * w, s, -1)
        sources = self.over_sources(rows).view(b, w, s, -1).transpose(1, 2)
        return time, sources

    def forward(self, x_BSWD: Tensor) -> Tensor:
        time, sources = self.mix(self.attention_norm(x_BSWD))
        x = x_BSWD + torch.cat((sources, time), -1)
        return x + self.feed(self.feed_norm(x))


class BrainOmni(Encoder):
    """Encoder over codec features. The tokenizer inside is frozen and always evaluates.

    Parameters
    ----------
    config : BrainOmniConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = BrainOmniConfig

    def __init__(
        self, config: BrainOmniConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        config = config or BrainOmniConfig()
        super().__init__(config, preprocess)
        codec_dim = config.tokenizer.dim
        self.tokenizer = BrainTokenizer(config.tokenizer, self.preprocess).requires_grad_(False)
        self.tokenizer.eval()
        self.mask_token_T = nn.Parameter(torch.randn(codec_dim) * codec_dim**-0.5)
        same = codec_dim == config.dim
        self.project = nn.Identity() if same else nn.Linear(codec_dim, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.dim, config.n_levels_used * config.tokenizer.codebook_size)

    @property
    def dim(self) -> int:
        return self.config.dim

    @property
    def n_sources(self) -> int:
        return self.config.tokenizer.n_sources

    @property
    def n_encoder_parameters(self) -> int:
        """Parameters without the tokenizer's."""
        return self.n_parameters - self.tokenizer.n_parameters

    def train(self, mode: bool = True) -> "BrainOmni":
        super().train(mode)
        self.tokenizer.eval()
        return self

    @torch.no_grad()
    def tokenize(self, batch: SignalBatch) -> Codes:
        """Codes and dequantised features with 25 % overlap (`config.overlap`)."""
        return self.tokenizer.encode(batch, self.config.overlap)

    def embed(self, latent_BSWT: Tensor) -> Tensor:
        """Input of the first block: features + source vectors, projected to D."""
        x = latent_BSWT
        if self.config.balance_input:
            x = x * x.shape[-1] ** 0.5
        x = x + self.tokenizer.source_SD.to(x.dtype)[:, None]
        return self.project(x)

    def run_blocks(self, x_BSWD: Tensor, skip_last: int = 0) -> Tensor:
        """All blocks but the last `skip_last`."""
        for block in self.blocks[: len(self.blocks) - skip_last]:
            x_BSWD = block(x_BSWD)
        return x_BSWD

    def forward(
        self,
        batch: SignalBatch,
        *,
        codes: Codes | None = None,
        skip_last: int = 1,
        normalise: bool = True,
    ) -> Features:
        """Features of a batch.

        Parameters
        ----------
        batch : SignalBatch
        codes : of `tokenize`, if they are at hand already
        skip_last : blocks left out at the end; 1 as published (the last one serves the head)
        normalise : give unit vectors, as published

        Returns
        -------
        Features (B, S, W, D)
        """
        codes = codes or self.tokenize(batch)
        h = self.run_blocks(self.embed(codes.latent_BSWD), skip_last)
        h = F.normalize(h, dim=-1) if normalise else h
        valid_BS = batch.valid_BC.any(1, keepdim=True).expand(-1, h.shape[1])
        return Features(h, valid_BS, codes.time_W, codes.duration_s)

    def masked_logits(self, codes: Codes, plan: MaskPlan) -> tuple[Tensor, Tensor]:
        """Guesses at the hidden positions: logits (M, Q, K) and true ids (M, Q)."""
        c = self.config
        x = hide(codes.latent_BSWD, self.mask_token_T, plan, c.mask_ratio)
        hidden = hidden_positions(plan, c.mask_ratio)
        h = self.run_blocks(self.embed(x))
        logits = self.head(h[hidden]).unflatten(-1, (c.n_levels_used, -1))
        return logits, codes.ids_BSWQ[hidden][:, : c.n_levels_used]

    def masked_forward(
        self,
        codes: Codes,
        plan: MaskPlan | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Masked-code losses of `codes`; random numbers drawn unless `plan` is given.

        Returns
        -------
        dict of `masked_loss`
        """
        ids = codes.ids_BSWQ
        plan = plan or draw_plan(tuple(ids.shape[:3]), ids.device, generator)
        return masked_loss(*self.masked_logits(codes, plan))
