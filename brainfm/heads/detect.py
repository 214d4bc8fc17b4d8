"""One verdict a step: channel features to seizure or not, at every step of a window.

Shapes: B batch, C channels, W steps, D width, K classes (0 background, 1 seizure).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.types import Features, HeadOutput

POOLINGS = ("mean", "attention")
READS = ("every", "last")
NOT_JUDGED = -1
"""Label of a step that nobody annotated."""


@dataclass(frozen=True)
class DetectConfig:
    """What the head looks at.

    Raises
    ------
    ValueError
        If a pooling or a reading is unknown.
    """

    dim: int | None = None
    """Width of the features; None: the encoder's."""
    pooling: str = "attention"
    """"mean" over channels as published for MVPFormer; "attention" adds what the channels that
    the head listens to say, so that a focal seizure is not averaged away."""
    read: str = "every"
    """Steps that are trained: "every", or the "last" of a window as published."""
    seizure_weight: float = 1.0
    """Weight of seizure steps in the cross-entropy."""
    dropout: float = 0.1
    """Of the pooled features, while training."""

    def __post_init__(self) -> None:
        for key, known in (("pooling", POOLINGS), ("read", READS)):
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is '{getattr(self, key)}'; it must be one of {known}")
        if not self.seizure_weight > 0:
            raise ValueError(f"seizure_weight is {self.seizure_weight}; it must be positive")


class Detect(nn.Module):
    """Pool channels, then a linear map to two logits (MVPFormer, arXiv 2506.20354).

    A step's verdict uses the features of that step only, so it looks as far ahead as they do:
    behind a causal encoder the head is causal.

    Parameters
    ----------
    config : DetectConfig with `dim` set
    """

    def __init__(self, config: DetectConfig) -> None:
        super().__init__()
        if config.dim is None:
            raise ValueError("dim is None; give the width of the encoder's features")
        self.config = config
        listens = config.pooling == "attention"
        self.listen = nn.Linear(config.dim, 1) if listens else None
        self.dropout = nn.Dropout(config.dropout)
        # The published head has no bias; a rare class wants one.
        self.out = nn.Linear(config.dim * (1 + listens), 2, bias=listens)

    def pool(self, features: Features) -> Tensor:
        """(B, W, F): channels that are not valid have no part; without any the result is 0."""
        valid_BC11 = features.valid_BS[..., None, None]
        h_BCWD = torch.where(valid_BC11, features.h_BSWD, 0.0)
        mean_BWD = h_BCWD.sum(1) / valid_BC11.sum(1).clamp_min(1)
        if self.listen is None:
            return mean_BWD
        score_BCW1 = self.listen(h_BCWD).masked_fill(~valid_BC11, torch.finfo(h_BCWD.dtype).min)
        heard_BWD = (score_BCW1.softmax(1) * h_BCWD).sum(1)
        return torch.cat([mean_BWD, heard_BWD], -1)

    def forward(self, features: Features, label_BW: Tensor | None = None) -> HeadOutput:
        """Logits (B, W, 2), and ``losses["cross_entropy"]`` where labels are given.

        Parameters
        ----------
        features : per channel and step
        label_BW : int64, 1 seizure, 0 not, -1 not judged
        """
        logits_BW2 = self.out(self.dropout(self.pool(features)))
        if label_BW is None:
            return HeadOutput(logits_BW2)
        if self.config.read == "last":
            logits, label = logits_BW2[:, -1:], label_BW[:, -1:]
        else:
            logits, label = logits_BW2, label_BW
        weight_K = logits.new_tensor([1.0, self.config.seizure_weight])
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(),
            label.flatten(),
            weight_K.float(),
            ignore_index=NOT_JUDGED,
            reduction="sum",
        )
        # A batch in which nothing was judged costs nothing, instead of 0 / 0.
        judged = label[label != NOT_JUDGED]
        return HeadOutput(
            logits_BW2, {"cross_entropy": loss / weight_K.float()[judged].sum().clamp_min(1e-6)}
        )
