"""MEG-GPT: guess the next token of every channel from the past of all of them.

Tokens come from an EphysTokenizer, one a sample; layers look over channels at each sample and
over time at samples and patches of them (arXiv 2510.18080).

The release turned its attention over channels off, tied channels to their place in a list and
positions to a window of 100, and left the first samples of a patch without anything to look at.
Models trained here look over channels, tell them apart by where they lie, count time by rotary
codes, and see single samples back to where the patches begin; any window and montage will do.

Shapes: B batch, T samples, L positions, C channels, D width, V labels, K raw tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.duin_layers import time_table
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig, Vocabulary
from brainfm.codecs.presets import fill_from_preset
from brainfm.errors import ContractError
from brainfm.models.base import Encoder
from brainfm.models.meggpt_layers import ACTIVATIONS, Layer, LayerConfig
from brainfm.nn.geometry import SensorModule
from brainfm.signals.preprocess import Preprocess
from brainfm.types import N_KINDS, Features, SignalBatch


def _layers(*patches: int, band: int = 8) -> tuple[LayerConfig, ...]:
    """A banded layer of single samples, then patches with the samples since the last one."""
    first = LayerConfig(patch=1, patch_band=band)
    return (first, *(LayerConfig(patch=p, recent=None, recent_band=p - 1) for p in patches))


SIZES: dict[str, dict[str, Any]] = {
    # Width, depth and patches of the release, arXiv 2510.18080.
    "published": dict(
        tokenizer="published", dim=256, n_heads=4, inner=1024, layers=_layers(4, 4, 8, 8)
    ),
    # Trains in minutes on two CPU cores.
    "demo": dict(tokenizer="demo", dim=64, n_heads=4, inner=192, layers=_layers(4, 8, band=16)),
    # For tests.
    "test": dict(tokenizer="test", dim=24, n_heads=2, inner=40, layers=_layers(4)),
}
POSITIONS = ("rope", "absolute", "sinusoidal")
CHANNELS = ("geometry", "list order")
REACHES = ("time", "published")


@dataclass(frozen=True)
class MEGGPTConfig:
    """Sizes of a MEG-GPT. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "published"
    tokenizer: EphysTokenizerConfig | None = None
    n_labels: int | None = None
    """Tokens that it can guess, label 0 (never seen) included. Default: all raw ones and 0."""
    dim: int | None = None
    n_heads: int | None = None
    inner: int | None = None
    layers: tuple[LayerConfig, ...] | None = None
    activation: str = "gelu"
    dropout: float = 0.0
    """Of attention weights and hidden features, while training."""
    embed_dim: int | None = None
    """Width of the sum of embeddings; default `dim`."""
    token_dim: int | None = None
    position_dim: int | None = None
    channel_dim: int | None = None
    """Widths of single embeddings; default `embed_dim`, others are projected to it."""
    n_sessions: int = 0
    """Rows of a table of sessions; 0: none, so that any recording can come."""
    session_dim: int | None = None
    positions: str = "rope"
    """"absolute": a table of `n_positions`; "sinusoidal"; as published."""
    n_positions: int | None = None
    channels: str = "geometry"
    """"list order": a table of `n_channels`, as published; "geometry": from positions."""
    n_channels: int | None = None
    reach: str = "time"
    """"published": bands counted from the first query; see `meggpt_layers`."""
    guessed: int | None = None
    """The last so many positions are guessed in training; None: all. 16 in the release."""
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        fill_from_preset(self, SIZES)
        if not isinstance(self.tokenizer, EphysTokenizerConfig):
            known = self.tokenizer
            known = {"preset": known} if isinstance(known, str) else known
            set_(self, "tokenizer", EphysTokenizerConfig(**known))
        parts = (x if isinstance(x, LayerConfig) else LayerConfig(**x) for x in self.layers)
        set_(self, "layers", tuple(parts))
        if self.n_labels is None:
            set_(self, "n_labels", self.tokenizer.n_tokens + 1)
        if self.embed_dim is None:
            set_(self, "embed_dim", self.dim)
        for key in ("token_dim", "position_dim", "channel_dim", "session_dim"):
            if getattr(self, key) is None:
                set_(self, key, self.embed_dim)
        for key, known in (
            ("positions", POSITIONS),
            ("channels", CHANNELS),
            ("reach", REACHES),
            ("activation", tuple(ACTIVATIONS)),
        ):
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is '{getattr(self, key)}'; it must be one of {known}")
        if self.dim % self.n_heads:
            raise ValueError(f"dim {self.dim} does not split into {self.n_heads} heads")
        if self.positions == "absolute" and not self.n_positions:
            raise ValueError("positions 'absolute' need n_positions")
        needs_list = self.channels == "list order" or any(
            x.channel_keys is not None or x.channel_mask for x in self.layers
        )
        if needs_list and not self.n_channels:
            raise ValueError("channels by list order need n_channels")


class Table(nn.Module):
    """An embedding, projected where its width is not that of the sum."""

    def __init__(self, n: int, width: int, dim: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.02 * torch.randn(n, width)) if n else None
        self.project = nn.Identity() if width == dim else nn.Linear(width, dim)

    def forward(self, index: Tensor | None = None) -> Tensor:
        """Vectors of `index`, or all."""
        return self.project(self.rows if index is None else F.embedding(index, self.rows))


class MEGGPT(Encoder):
    """Encoder over tokens, causal in time. The tokenizer inside is frozen.

    Parameters
    ----------
    config : MEGGPTConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = MEGGPTConfig

    def __init__(
        self, config: MEGGPTConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        c = config or MEGGPTConfig()
        super().__init__(c, preprocess)
        self.tokenizer = EphysTokenizer(c.tokenizer, self.preprocess).requires_grad_(False)
        self.tokenizer.eval()
        k = c.tokenizer.n_tokens
        plain = c.n_labels == k + 1  # else a vocabulary has to come first
        self.register_buffer("label_K", (torch.arange(k) + 1) * int(plain))
        self.token_table = Table(c.n_labels, c.token_dim, c.embed_dim)
        if c.positions == "absolute":
            self.position_table = Table(c.n_positions, c.position_dim, c.embed_dim)
        elif c.positions == "sinusoidal":
            self.position_table = Table(0, c.position_dim, c.embed_dim)
        if c.channels == "geometry":
            self.sensors = SensorModule(c.embed_dim, N_KINDS, "metric")
        else:
            self.channel_table = Table(c.n_channels, c.channel_dim, c.embed_dim)
        if c.n_sessions:
            self.session_table = Table(c.n_sessions, c.session_dim, c.embed_dim)
        same = c.embed_dim == c.dim
        self.project = nn.Identity() if same else nn.Linear(c.embed_dim, c.dim)
        self.layers = nn.ModuleList(
            Layer(
                layer,
                c.dim,
                c.n_heads,
                c.inner,
                activation=c.activation,
                dropout=c.dropout,
                n_channels=c.n_channels,
                rope=c.positions == "rope",
                reach=c.reach,
            )
            for layer in c.layers
        )
        self.head = nn.Linear(c.dim, c.n_labels)

    @property
    def dim(self) -> int:
        return self.config.dim

    @property
    def n_sources(self) -> None:
        """Every channel is its own source."""
        return None

    def train(self, mode: bool = True) -> "MEGGPT":
        super().train(mode)
        self.tokenizer.eval()
        return self

    def use_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Guess the labels of a vocabulary instead of raw tokens.

        Raises
        ------
        ContractError
            If it has another number of labels than the model.
        """
        if len(vocabulary) != self.config.n_labels:
            raise ContractError(
                f"the vocabulary has {len(vocabulary)} labels, the model guesses "
                f"{self.config.n_labels}; build the model with n_labels={len(vocabulary)}"
            )
        self.label_K.copy_(vocabulary.label_K)

    @torch.no_grad()
    def tokenize(self, batch: SignalBatch) -> Tensor:
        """Labels (B, T, C) of a batch."""
        ids_BCT = self.tokenizer.encode(batch).ids_BSWQ[..., 0]
        return self.label_K[ids_BCT].transpose(1, 2)

    def embed(
        self,
        label_BLC: Tensor,
        sensor_BCD: Tensor | None = None,
        session_BL: Tensor | None = None,
    ) -> Tensor:
        """Sum of what is known of each token, (B, L, C, embed_dim).

        Parameters
        ----------
        sensor_BCD : vectors of `sensors`, where channels are told apart by geometry
        session_BL : rows of the table of sessions, where there is one

        Raises
        ------
        ContractError
            If the tables are too small for the input, or the session is missing.
        """
        c, (n, n_channels) = self.config, label_BLC.shape[1:]
        x = self.token_table(label_BLC)
        if c.positions == "absolute":
            if n > c.n_positions:
                raise ContractError(
                    f"the window has {n} samples, but these weights know {c.n_positions} "
                    "positions; make window_s shorter, or train with positions 'rope'"
                )
            x = x + self.position_table()[:n, None]
        elif c.positions == "sinusoidal":
            table = time_table(n, c.position_dim, x.device).to(x.dtype)
            x = x + self.position_table.project(table)[:, None]
        if sensor_BCD is not None:
            x = x + sensor_BCD[:, None]
        elif n_channels != c.n_channels:
            raise ContractError(
                f"the batch has {n_channels} channels, but these weights know a list of "
                f"{c.n_channels}; pick those, or train with channels 'geometry'"
            )
        else:
            x = x + self.channel_table()
        if c.n_sessions:
            if session_BL is None:
                raise ContractError(
                    f"these weights know {c.n_sessions} sessions; say which this is (session_BL)"
                )
            x = x + self.session_table(session_BL)[:, :, None]
        return x

    def run_layers(self, x_BLCD: Tensor, valid_BC: Tensor | None = None) -> Tensor:
        """All layers; the last positions remain."""
        x = self.project(x_BLCD)
        for layer in self.layers:
            x = layer(x, valid_BC)
        return x

    def states(
        self, batch: SignalBatch, label_BLC: Tensor, session_BL: Tensor | None = None
    ) -> Tensor:
        """(B, L', C, D) of labels at the sensors of a batch."""
        sensor = None
        if self.config.channels == "geometry":
            sensor = self.sensors(batch.pos_BC3, batch.ori_BC3, batch.kind_BC, batch.valid_BC)
        return self.run_layers(self.embed(label_BLC, sensor, session_BL), batch.valid_BC)

    def forward(self, batch: SignalBatch, session_BL: Tensor | None = None) -> Features:
        """Features (B, C, L', D); where layers shorten, of the last positions."""
        h = self.states(batch, self.tokenize(batch), session_BL).transpose(1, 2)
        n_in, n_out = batch.signal_BCT.shape[-1], h.shape[2]
        time_W = torch.arange(n_in - n_out, n_in, device=h.device).double() / batch.sfreq
        return Features(h, batch.valid_BC, time_W, 1 / batch.sfreq)

    def next_logits(
        self, batch: SignalBatch, label_BTC: Tensor, session_BL: Tensor | None = None
    ) -> Tensor:
        """Guesses (B, L, C, V) at the last labels from all but the last; see `losses`."""
        return self.head(self.states(batch, label_BTC[:, :-1], session_BL))

    def losses(
        self, logits_BLCV: Tensor, label_BTC: Tensor, valid_BC: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Cross-entropy "loss" and "accuracy" over the guessed positions of valid channels.

        Parameters
        ----------
        label_BTC : the truth; logits belong to the last L of it
        """
        n = min(self.config.guessed or logits_BLCV.shape[1], logits_BLCV.shape[1])
        logits = logits_BLCV[:, logits_BLCV.shape[1] - n :].float()
        label = label_BTC[:, label_BTC.shape[1] - n :]
        loss_BLC = F.cross_entropy(
            logits.permute(0, 3, 1, 2),
            label,
            reduction="none",
            label_smoothing=self.config.label_smoothing,
        )
        hit_BLC = (logits.argmax(-1) == label).float()
        if valid_BC is None:
            return {"loss": loss_BLC.mean(), "accuracy": hit_BLC.mean()}
        w = valid_BC[:, None].expand_as(loss_BLC).to(loss_BLC.dtype)
        n_valid = w.sum().clamp_min(1.0)
        return {"loss": (loss_BLC * w).sum() / n_valid, "accuracy": (hit_BLC * w).sum() / n_valid}
