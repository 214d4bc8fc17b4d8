"""What pretraining of a stream hides, and what is to be guessed there.

Independent tokens are guessed from their neighbours by smoothness alone; so blocks are hidden:
sensors of a region for the whole window, all sensors for a stretch of time, or both (Brain-JEPA's
cross-region, cross-time and double-cross targets; BaRISTA's spatial masking, arXiv 2512.12135).

Shapes: B batch, C channels, W steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MODES = ("region", "time", "both")


@dataclass(frozen=True)
class HidingConfig:
    """Shares that are hidden, and in what shape."""

    share_sensors: float = 0.5
    """Of valid sensors: those nearest to one of them, drawn anew for every window. Sensors whose
    place is unknown are drawn one by one."""
    share_time: float = 0.4
    """Of steps: one stretch of them."""
    modes: tuple[str, ...] = MODES
    """Each window draws one of these."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", tuple(self.modes))
        unknown = set(self.modes) - set(MODES)
        if unknown or not self.modes:
            raise ValueError(f"modes are {self.modes}; choose some of {MODES}")
        for key in ("share_sensors", "share_time"):
            if not 0 < getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}; it must lie between 0 and 1")


def draw_hidden(
    config: HidingConfig,
    pos_BC3: Tensor,
    valid_BC: Tensor,
    n_steps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Bool (B, C, W), True where a token is hidden; never a channel that is not valid.

    Parameters
    ----------
    config : HidingConfig
    pos_BC3 : metres, NaN where unknown
    valid_BC : bool
    n_steps : W; with one step regions alone are hidden, with one sensor stretches alone
    generator : of the numbers, on the CPU; default: torch's own
    """
    n_batch, n_channels = valid_BC.shape
    region_BC = _regions(config, pos_BC3.cpu(), valid_BC.cpu(), generator)
    length = min(n_steps - 1, max(1, round(config.share_time * n_steps)))
    start_B = torch.randint(n_steps - length + 1, (n_batch,), generator=generator)
    step_W = torch.arange(n_steps)
    time_BW = (step_W >= start_B[:, None]) & (step_W < start_B[:, None] + length)
    mode_B = torch.randint(len(config.modes), (n_batch,), generator=generator)
    names = [config.modes[i] for i in mode_B.tolist()]
    if n_steps == 1:
        names = ["region"] * n_batch
    elif n_channels == 1:
        names = ["time"] * n_batch
    by_region = torch.tensor([n != "time" for n in names])[:, None, None]
    by_time = torch.tensor([n != "region" for n in names])[:, None, None]
    hidden_BCW = (by_region & region_BC[..., None]) | (by_time & time_BW[:, None])
    return (hidden_BCW & valid_BC.cpu()[..., None]).to(valid_BC.device)


def _regions(
    config: HidingConfig, pos_BC3: Tensor, valid_BC: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Sensors (B, C) around a drawn one, as many as the share of the valid ones, at least one."""
    drawn_BC = torch.rand(valid_BC.shape, generator=generator)
    known_BC = torch.isfinite(pos_BC3).all(-1)
    first_B = torch.where(valid_BC, drawn_BC, -1.0).argmax(1)
    rows = torch.arange(len(valid_BC))
    there_B13 = pos_BC3[rows, first_B][:, None]
    distance_BC = (pos_BC3 - there_B13).norm(dim=-1)
    # No place: any order is as good, and beyond all that have one.
    distance_BC = torch.where(known_BC & known_BC[rows, first_B][:, None], distance_BC, 10.0)
    distance_BC = distance_BC + 1e-6 * drawn_BC + torch.where(valid_BC, 0.0, 100.0)
    rank_BC = distance_BC.argsort(1).argsort(1)
    count_B = (config.share_sensors * valid_BC.sum(1)).round().clamp_min(1)
    return rank_BC < count_B[:, None]
