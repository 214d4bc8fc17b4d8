"""What the speech sounded like: features to mel bands (or other speech features) at every frame.

Shapes: B batch, N frames, F speech features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainfm.heads.frames import Frames, FramesConfig, Standard, resampled
from brainfm.types import Features, HeadOutput


@dataclass(frozen=True)
class RegressConfig(FramesConfig):
    """Frames, and what is counted as wrong."""

    n_features: int | None = None
    """F; None: must be given before the head is made."""
    correlation_weight: float = 0.5
    """Of 1 - r beside the squared error: it keeps the size of the answer from shrinking to the
    mean, which the squared error alone rewards where little is known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.correlation_weight >= 0:
            raise ValueError(
                f"correlation_weight is {self.correlation_weight}; it must not be negative"
            )


class Regress(nn.Module):
    """Speech features in their own units, learned as standardised ones.

    Parameters
    ----------
    config : RegressConfig with `dim` and `n_features` set
    """

    def __init__(self, config: RegressConfig) -> None:
        super().__init__()
        if config.n_features is None:
            raise ValueError("n_features is None; give the number of speech features a frame")
        self.config = config
        self.frames = Frames(config, config.n_features)
        self.standard = Standard(config.n_features)

    def forward(self, features: Features, stimulus_BNF: Tensor | None = None) -> HeadOutput:
        """Speech features (B, N, F); losses where they are given, at their frames.

        ``losses["mse"]`` is of standardised features; ``losses["decorrelation"]`` is the weight
        times 1 - r, r over the frames of a window, the mean of features that move in it.
        """
        z_BNF = self.frames(features).float()
        if stimulus_BNF is None:
            return HeadOutput(self.standard.back(z_BNF))
        if self.training:
            self.standard.see(stimulus_BNF)
        y_BNF = self.standard(stimulus_BNF.float())
        z_BNF = resampled(z_BNF, y_BNF.shape[1])
        losses = {"mse": (z_BNF - y_BNF).square().mean()}
        if self.config.correlation_weight:
            r = correlation(z_BNF, y_BNF)
            losses["decorrelation"] = self.config.correlation_weight * (1 - r)
        return HeadOutput(self.standard.back(z_BNF), losses)


def correlation(x_BNF: Tensor, y_BNF: Tensor) -> Tensor:
    """Mean Pearson correlation over frames, of features whose target moves; 0 without any."""
    x, y = (v - v.mean(1, keepdim=True) for v in (x_BNF.float(), y_BNF.float()))
    size_BF = x.square().sum(1) * y.square().sum(1)
    r_BF = (x * y).sum(1) / size_BF.clamp_min(1e-12).sqrt()
    moves_BF = y.square().mean(1) > 1e-9
    return torch.where(moves_BF, r_BF, 0.0).sum() / moves_BF.sum().clamp_min(1)
