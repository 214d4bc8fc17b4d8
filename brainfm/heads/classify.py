"""One label a window: features to class logits and a cross-entropy.

Shapes: B batch, S sources (or sensors), W steps, D width, A queries, F flat features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.types import Features, HeadOutput

POOLINGS = ("flatten", "time_mean", "mean", "attend")
ANY_SOURCES = ("mean", "attend")
"""Poolings whose weights do not know sources by their place: one head for many montages."""


@dataclass(frozen=True)
class ClassifyConfig:
    """What the head sees and how it guesses.

    Raises
    ------
    ValueError
        If a pooling is unknown or a size is not positive.
    """

    n_classes: int
    n_sources: int | None
    """None: any number, a different one in each batch; for "mean" and "attend"."""
    n_steps: int
    dim: int
    pooling: str = "flatten"
    """"flatten": every source and step has weights of its own (when matters). "time_mean":
    steps are averaged, as published for BrainOmni. "mean": sources are averaged too. "attend":
    sources are averaged with weights that the features themselves earn, steps are kept."""
    n_queries: int = 4
    """Averages over sources that "attend" takes, each with weights of its own."""
    dropout: float = 0.1
    """Of the pooled features, while training; BrainOmni's downstream head, arXiv 2505.18185."""
    hidden: int | None = None
    """Width of a SELU layer before the logits; None is a linear head."""
    label_smoothing: float = 0.1
    """As in BrainOmni's downstream training."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling is '{self.pooling}'; it must be one of {POOLINGS}")
        if self.n_sources is None and self.pooling not in ANY_SOURCES:
            raise ValueError(
                f"pooling '{self.pooling}' has weights of their own for every source; give "
                f"n_sources, or one of {ANY_SOURCES}"
            )
        for key in ("n_classes", "n_sources", "n_steps", "dim", "n_queries"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} is {getattr(self, key)}; it must be at least 1")

    @property
    def n_features(self) -> int:
        """Length F of the pooled vector."""
        n_steps = 1 if self.pooling in ("mean", "time_mean") else self.n_steps
        sources = {"mean": 1, "attend": self.n_queries}.get(self.pooling, self.n_sources)
        return sources * self.dim * n_steps


class Classify(nn.Module):
    """Pool, centre and scale, drop out, and map to logits.

    Centre and scale are buffers, 0 and 1 until `calibrate`; with them a linear head can start
    from a logistic regression on frozen features (`start_from`), which keeps the features from
    being distorted by a random head (Kumar et al. 2022, arXiv 2202.10054).

    Parameters
    ----------
    config : ClassifyConfig
    """

    def __init__(self, config: ClassifyConfig) -> None:
        super().__init__()
        self.config = config
        n = config.n_features
        self.register_buffer("centre_F", torch.zeros(n))
        self.register_buffer("scale", torch.ones(()))
        if config.pooling == "attend":
            # Zeros: every source counts the same until some turn out to tell more.
            self.query_AD = nn.Parameter(torch.zeros(config.n_queries, config.dim))
        self.dropout = nn.Dropout(config.dropout)
        if config.hidden is None:
            self.out: nn.Module = nn.Linear(n, config.n_classes)
        else:
            self.out = nn.Sequential(
                nn.Linear(n, config.hidden), nn.SELU(), nn.Linear(config.hidden, config.n_classes)
            )

    def pool(self, features: Features) -> Tensor:
        """(B, F) centred and scaled; sources that are not valid count as zeros.

        Raises
        ------
        ContractError
            If the features have other sizes than the head was made for.
        """
        c = self.config
        found = tuple(features.h_BSWD.shape[1:])
        if found != (found[0] if c.n_sources is None else c.n_sources, c.n_steps, c.dim):
            raise ContractError(
                f"features are {found} (sources, steps, width), the "
                f"head was made for {(c.n_sources, c.n_steps, c.dim)}; give windows of the length "
                "it was made for, or set the head's n_sources and n_steps (n_sources null, with "
                "pooling 'attend', for montages of any number)"
            )
        if c.pooling == "attend":
            pooled_BF = self._attended(features).flatten(1)
        elif c.pooling == "mean":
            pooled_BF = features.pooled()
        else:
            h = torch.where(features.valid_BS[..., None, None], features.h_BSWD, 0.0)
            pooled_BF = (h if c.pooling == "flatten" else h.mean(2)).flatten(1)
        return (pooled_BF - self.centre_F) * self.scale

    def _attended(self, features: Features) -> Tensor:
        """(B, A, W, D) averages over valid sources, weighted by how each looks over time."""
        h = torch.where(features.valid_BS[..., None, None], features.h_BSWD, 0.0)
        score_BSA = h.mean(2) @ self.query_AD.T * self.config.dim**-0.5
        weight_BSA = score_BSA.masked_fill(~features.valid_BS[..., None], -1e9).softmax(1)
        # Without any valid source all is zero, as in the other poolings.
        return torch.einsum("bswd,bsa->bawd", h, weight_BSA)

    @torch.no_grad()
    def calibrate(self, features: Features) -> None:
        """Set centre and scale from a training set, so that a pooled vector has norm 1.

        With unit spread instead, one Adam step on a head of ten thousand weights moves a logit
        by up to ten thousand times the rate, and undoes what the head started from.
        """
        self.centre_F.zero_()
        self.scale.fill_(1.0)
        pooled_BF = self.pool(features)
        self.centre_F.copy_(pooled_BF.mean(0))
        spread = (pooled_BF - self.centre_F).square().sum(1).mean().sqrt()
        self.scale.copy_(1.0 / spread.clamp_min(1e-12))

    @torch.no_grad()
    def start_from(self, weight_KF: Tensor, bias_K: Tensor) -> None:
        """Copy a linear classifier of the pooled features into a linear head."""
        if not isinstance(self.out, nn.Linear):
            raise ValueError("only a linear head can start from a linear classifier")
        self.out.weight.copy_(weight_KF)
        self.out.bias.copy_(bias_K)

    def forward(self, features: Features, target_B: Tensor | None = None) -> HeadOutput:
        """Logits, and ``losses["cross_entropy"]`` where a target is given.

        Parameters
        ----------
        features : Features
        target_B : (B,) int64 classes, or (B, K) shares that sum to 1 (mixed trials)
        """
        logits_BK = self.out(self.dropout(self.pool(features)))
        if target_B is None:
            return HeadOutput(logits_BK)
        return HeadOutput(logits_BK, {"cross_entropy": self.loss(logits_BK, target_B)})

    def loss(self, logits_BK: Tensor, target_B: Tensor) -> Tensor:
        """Cross-entropy with the configured label smoothing."""
        return F.cross_entropy(logits_BK, target_B, label_smoothing=self.config.label_smoothing)
