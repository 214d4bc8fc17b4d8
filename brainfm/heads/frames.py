"""Features to frames: what every head that follows speech in time begins with.

Shapes: B batch, S sources (or sensors), W steps, D width, N frames, H hidden width, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.types import Features

POOLINGS = ("attention", "mean", "flatten")


@dataclass(frozen=True)
class FramesConfig:
    """How features of an encoder become frames.

    Raises
    ------
    ValueError
        If a pooling is unknown, a size is not positive, or steps are both split and joined.
    """

    dim: int | None = None
    """Width of the features; None: the encoder's."""
    n_sources: int | None = None
    """Of "flatten"; None: the encoder's."""
    pooling: str = "attention"
    """Over sources. "mean"; "attention": the mean, and beside it what each of `listeners` hears;
    "flatten": every source has weights of its own, so montages cannot differ."""
    listeners: int = 4
    hidden: int | None = 128
    """Width of each direction of a recurrent layer (GRU) over the steps; None: no such layer, and
    a frame sees what its step sees."""
    per_step: int = 1
    """Frames made of each step."""
    stride: int = 1
    """Steps joined to a frame, at least two of them with `per_step` 1."""
    dropout: float = 0.1
    """Of what goes in and of what goes to the output, while training."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling is '{self.pooling}'; it must be one of {POOLINGS}")
        for key in ("dim", "n_sources", "listeners", "hidden", "per_step", "stride"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} is {value}; it must be at least 1")
        if self.per_step > 1 and self.stride > 1:
            raise ValueError(
                f"per_step is {self.per_step} and stride {self.stride}: steps are split into "
                "frames or joined to them; set one of the two to 1"
            )


class Frames(nn.Module):
    """Pool sources, look over time, and give `n_out` numbers at every frame.

    Parameters
    ----------
    config : FramesConfig with `dim` set
    n_out : numbers a frame
    """

    def __init__(self, config: FramesConfig, n_out: int) -> None:
        super().__init__()
        if config.dim is None:
            raise ValueError("dim is None; give the width of the encoder's features")
        if config.pooling == "flatten" and config.n_sources is None:
            raise ValueError("pooling 'flatten' needs n_sources; this encoder has no fixed number")
        self.config = config
        parts = {"mean": 1, "attention": 1 + config.listeners, "flatten": config.n_sources}
        width = config.dim * (parts[config.pooling] or 1)
        listens = config.pooling == "attention"
        self.listen = nn.Linear(config.dim, config.listeners) if listens else None
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.over_time: nn.Module | None = None
        if config.hidden is not None:
            self.over_time = nn.GRU(width, config.hidden, batch_first=True, bidirectional=True)
            width = 2 * config.hidden
        self.out = nn.Linear(width, n_out * config.per_step)

    def n_frames(self, n_steps: int) -> int:
        """Frames of so many steps; a remainder that fills no frame is left out."""
        return n_steps * self.config.per_step // self.config.stride

    def frame_s(self, step_s: float) -> float:
        """Seconds of a frame, from those of a step."""
        return step_s * self.config.stride / self.config.per_step

    def pool(self, features: Features) -> Tensor:
        """(B, W, H): sources that are not valid have no part; without any the result is 0.

        Raises
        ------
        ContractError
            If sources are flattened, and others than the head was made for.
        """
        valid_BS11 = features.valid_BS[..., None, None]
        h_BSWD = torch.where(valid_BS11, features.h_BSWD, 0.0)
        if self.config.pooling == "flatten":
            if h_BSWD.shape[1] != self.config.n_sources:
                raise ContractError(
                    f"features have {h_BSWD.shape[1]} sources, the head was made for "
                    f"{self.config.n_sources}; use pooling 'attention' where montages differ"
                )
            return h_BSWD.transpose(1, 2).flatten(2)
        mean_BWD = h_BSWD.sum(1) / valid_BS11.sum(1).clamp_min(1)
        if self.listen is None:
            return mean_BWD
        score_BSWL = self.listen(h_BSWD)
        score_BSWL = score_BSWL.masked_fill(~valid_BS11, torch.finfo(score_BSWL.dtype).min)
        heard_BWLD = torch.einsum("bswl,bswd->bwld", score_BSWL.softmax(1), h_BSWD)
        return torch.cat([mean_BWD, heard_BWLD.flatten(2)], -1)

    def forward(self, features: Features) -> Tensor:
        """(B, N, n_out)."""
        h_BWH = self.norm(self.pool(features))
        stride = self.config.stride
        if stride > 1:
            whole = h_BWH.shape[1] // stride * stride
            h_BWH = h_BWH[:, :whole].unflatten(1, (-1, stride)).mean(2)
        h_BWH = self.dropout(h_BWH)
        if self.over_time is not None:
            h_BWH = self.dropout(self.over_time(h_BWH)[0])
        y_BWO = self.out(h_BWH)
        return y_BWO.unflatten(-1, (self.config.per_step, -1)).flatten(1, 2)


def resampled(x_BNF: Tensor, n_frames: int) -> Tensor:
    """So many frames over the same time: means of more, straight lines between fewer."""
    x_BFN = x_BNF.transpose(1, 2)
    if n_frames <= x_BFN.shape[2]:
        return F.adaptive_avg_pool1d(x_BFN, n_frames).transpose(1, 2)
    return F.interpolate(x_BFN, n_frames, mode="linear", align_corners=False).transpose(1, 2)


class Standard(nn.Module):
    """Features of a stimulus, centred and scaled to unit deviation.

    The moments are those of all frames seen while training, in buffers: they travel with the
    weights, and evaluation does not move them.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean_F", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("square_F", torch.ones(n_features, dtype=torch.float64))
        """Mean squared distance from the mean."""

    @torch.no_grad()
    def see(self, x_BNF: Tensor) -> None:
        """Add frames to the moments."""
        self._require(x_BNF)
        x = x_BNF.flatten(0, 1).double()
        total = self.count + len(x)
        share = len(x) / total
        away_F = x.mean(0) - self.mean_F
        here_F = x.var(0, correction=0)
        self.square_F.copy_(
            (1 - share) * self.square_F + share * here_F + share * (1 - share) * away_F.square()
        )
        self.mean_F.add_(share * away_F)
        self.count.copy_(total)

    @property
    def scale_F(self) -> Tensor:
        """Deviations; 1 for a feature that never moved."""
        sd_F = self.square_F.sqrt()
        return torch.where(sd_F > 1e-9, sd_F, 1.0)

    def forward(self, x_BNF: Tensor) -> Tensor:
        """In deviations from the mean.

        Raises
        ------
        ContractError
            If the stimulus has another number of features.
        """
        self._require(x_BNF)
        return ((x_BNF - self.mean_F) / self.scale_F).to(x_BNF.dtype)

    def back(self, z_BNF: Tensor) -> Tensor:
        """In units of the stimulus."""
        return (z_BNF * self.scale_F + self.mean_F).to(z_BNF.dtype)

    def _require(self, x_BNF: Tensor) -> None:
        if x_BNF.shape[-1] != len(self.mean_F):
            raise ContractError(
                f"the stimulus has {x_BNF.shape[-1]} features, the head was made for "
                f"{len(self.mean_F)}; give the features it was trained with"
            )
