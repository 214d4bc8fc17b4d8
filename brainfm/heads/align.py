"""Which stretch of speech was heard: brain segments beside speech features of the same stretch.

Cosine between what the brain tells of the features and the features weighs all of them alike,
those that no brain answers to and those that repeat each other too. With `width` both sides go
through a matrix that is learned, which leaves out what tells no two stretches apart.

Shapes: B batch, N frames, F speech features, Q queries, M candidates, E numbers of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import DataError
from brainfm.heads.frames import Frames, FramesConfig, Standard, resampled
from brainfm.types import Features, HeadOutput

DIRECTIONS = ("brain", "both")
SAME = 1 - 1e-5
"""Speech whose cosine is above is the same speech."""


@dataclass(frozen=True)
class AlignConfig(FramesConfig):
    """Frames, and how pairs are told from other pairs."""

    n_features: int | None = None
    """F; None: must be given before the head is made."""
    n_frames: int = 30
    """N that a segment is compared by; brain and speech are resampled to it."""
    direction: str = "both"
    """"brain": each brain segment among all speech (Defossez et al., Nature Machine Intelligence
    5, 2023); "both": and each speech among all brain segments (CLIP, arXiv 2103.00020)."""
    width: int | None = None
    """E, when brain and speech each go through a matrix of their own to vectors of that size; None:
    the brain tells the N F speech features themselves."""
    speech_dropout: float = 0.0
    """Of speech features while training, with `width`: few stretches are learned by heart else."""
    temperature: float = 0.07
    """To begin with, as CLIP's (recalled); it is learned, never below 0.01."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction is '{self.direction}'; it must be one of {DIRECTIONS}")
        if not self.temperature >= 0.01:
            raise ValueError(f"temperature is {self.temperature}; it must be at least 0.01")
        if self.width is not None and self.width < 1:
            raise ValueError(f"width is {self.width}; it must be at least 1, or null")
        if not 0 <= self.speech_dropout < 1 or (self.speech_dropout and self.width is None):
            raise ValueError(
                f"speech_dropout is {self.speech_dropout} with width {self.width}; it must lie in "
                "[0, 1) and needs a width"
            )


class Align(nn.Module):
    """Speech as the brain features tell it, compared with speech as it was.

    Parameters
    ----------
    config : AlignConfig with `dim` and `n_features` set
    """

    def __init__(self, config: AlignConfig) -> None:
        super().__init__()
        if config.n_features is None:
            raise ValueError("n_features is None; give the number of speech features a frame")
        self.config = config
        n, f, e = config.n_frames, config.n_features, config.width
        self.frames = Frames(config, f if e is None else e)
        self.standard = Standard(f)
        self.of_brain = nn.Identity() if e is None else nn.Linear(n * e, e)
        self.of_speech = (
            nn.Identity()
            if e is None
            else nn.Sequential(nn.Dropout(config.speech_dropout), nn.Linear(n * f, e))
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def brain(self, features: Features) -> Tensor:
        """(B, E) unit vectors of brain segments."""
        told_BNO = resampled(self.frames(features).float(), self.config.n_frames)
        return F.normalize(self.of_brain(told_BNO.flatten(1)), dim=-1)

    def speech(self, stimulus_BNF: Tensor) -> Tensor:
        """(B, E) unit vectors of stretches of speech."""
        return F.normalize(self.of_speech(self._heard(stimulus_BNF)), dim=-1)

    def _heard(self, stimulus_BNF: Tensor) -> Tensor:
        """(B, N F) standardised features."""
        return resampled(self.standard(stimulus_BNF.float()), self.config.n_frames).flatten(1)

    def forward(self, features: Features, stimulus_BNF: Tensor | None = None) -> HeadOutput:
        """Unit vectors (B, E) of brain segments; losses where speech is given.

        ``losses["contrastive"]`` has the other windows of the batch as its candidates, without
        those in which the same speech was heard.
        """
        z_BE = self.brain(features)
        if stimulus_BNF is None:
            return HeadOutput(z_BE)
        if self.training:
            self.standard.see(stimulus_BNF)
        y_BE = self.speech(stimulus_BNF)
        score_BB = z_BE @ y_BE.T * self.log_scale.clamp(max=math.log(100)).exp()
        own_BB = torch.eye(len(z_BE), dtype=torch.bool, device=z_BE.device)
        heard_BE = F.normalize(self._heard(stimulus_BNF), dim=-1)
        score_BB = score_BB.masked_fill((heard_BE @ heard_BE.T > SAME) & ~own_BB, -torch.inf)
        own_B = torch.arange(len(z_BE), device=z_BE.device)
        loss = F.cross_entropy(score_BB, own_B)
        if self.config.direction == "both":
            loss = (loss + F.cross_entropy(score_BB.T, own_B)) / 2
        return HeadOutput(z_BE, {"contrastive": loss})


def refuse_duplicates(pool_ME: Tensor, names: Sequence[str] | None = None) -> None:
    """Raise where two candidates are the same speech: neither could be found.

    Parameters
    ----------
    pool_ME : unit vectors of `Align.speech`, or any features of the candidates
    names : what to call them
    """
    unit_ME = F.normalize(pool_ME.flatten(1).float(), dim=-1)
    for first, rows in zip(range(0, len(unit_ME), 512), unit_ME.split(512), strict=True):
        same = (rows @ unit_ME.T > SAME).triu(first + 1).nonzero()
        if len(same):
            i, j = int(same[0, 0]) + first, int(same[0, 1])
            a, b = (names[i], names[j]) if names is not None else (f"number {i}", f"number {j}")
            raise DataError(
                f"of {len(unit_ME)} candidates, {a} and {b} are the same speech; keep one of each "
                "stretch that was heard"
            )


def ranks(score_QM: Tensor, target_Q: Tensor) -> Tensor:
    """(Q,) place of each query's own candidate, 1 the best; ties count against it."""
    own_Q1 = score_QM.gather(1, target_Q[:, None])
    return (score_QM >= own_Q1).sum(1)


def retrieval(score_QM: Tensor, target_Q: Tensor, top: tuple[int, ...] = (1, 10)) -> dict[str, Any]:
    """How often the own candidate is among the best, and what guessing would reach.

    Parameters
    ----------
    score_QM : of each query with each candidate of a pool without duplicates
    target_Q : int64, each query's own candidate
    top : how many best ones

    Returns
    -------
    {"pool": M, "queries": Q, "top1", "chance_top1", ..., "median_rank", "rank_Q": list}

    Raises
    ------
    DataError
        If there is no query, a score is no number, or a target is not in the pool.
    """
    n_queries, pool = score_QM.shape
    if not n_queries or not bool(torch.isfinite(score_QM).all()):
        raise DataError(f"{n_queries} queries with scores that are not all numbers; none counts")
    if not bool(((target_Q >= 0) & (target_Q < pool)).all()):
        raise DataError(f"a query's own candidate is not among the {pool} of the pool; add it")
    rank_Q = ranks(score_QM, target_Q)
    found: dict[str, Any] = {"pool": pool, "queries": n_queries}
    for k in top:
        found[f"top{k}"] = float((rank_Q <= k).double().mean())
        found[f"chance_top{k}"] = min(k / pool, 1.0)
    found["median_rank"] = float(rank_Q.double().quantile(0.5))
    found["rank_Q"] = [int(r) for r in rank_Q]
    return found
