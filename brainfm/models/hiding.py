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

from brainfm.nn.regions import N_PARCELS, lobe_of, parcel_of

SCALES = ("near", "channel", "parcel", "lobe")
MODES = ("region", "time", "both")


@dataclass(frozen=True)
class HidingConfig:
    """Shares that are hidden, and in what shape."""

    share_sensors: float = 0.5
    """Of valid sensors, drawn anew for every window; where no place is known, one by one."""
    share_time: float = 0.4
    """Of steps: one stretch of them."""
    scale: str = "near"
    """What hides together in a region: "near" (a ball), "channel" (each by itself), "parcel" or
    "lobe" (BaRISTA's scales of masking)."""
    modes: tuple[str, ...] = MODES
    """Each window draws one of these."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", tuple(self.modes))
        unknown = set(self.modes) - set(MODES)
        if unknown or not self.modes:
            raise ValueError(f"modes are {self.modes}; choose some of {MODES}")
        if self.scale not in SCALES:
            raise ValueError(f"scale is '{self.scale}'; it must be one of {SCALES}")
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
    count_B = (config.share_sensors * valid_BC.sum(1)).round().clamp_min(1)
    if config.scale != "near":
        return _ranked(_by_region(config.scale, pos_BC3, drawn_BC, generator), valid_BC, count_B)
    known_BC = torch.isfinite(pos_BC3).all(-1)
    first_B = torch.where(valid_BC, drawn_BC, -1.0).argmax(1)
    rows = torch.arange(len(valid_BC))
    there_B13 = pos_BC3[rows, first_B][:, None]
    distance_BC = (pos_BC3 - there_B13).norm(dim=-1)
    # No place: any order is as good, and beyond all that have one.
    distance_BC = torch.where(known_BC & known_BC[rows, first_B][:, None], distance_BC, 10.0)
    return _ranked(distance_BC + 1e-6 * drawn_BC, valid_BC, count_B)


def _by_region(
    scale: str, pos_BC3: Tensor, drawn_BC: Tensor, generator: torch.Generator | None
) -> Tensor:
    """A number for every sensor (B, C): one for all that lie in the same parcel or lobe."""
    if scale == "channel":
        return drawn_BC
    region_BC = parcel_of(pos_BC3)
    if scale == "lobe":
        region_BC = lobe_of(region_BC)
    of_BR = torch.rand((len(pos_BC3), N_PARCELS), generator=generator)
    mine_BC = of_BR.gather(1, region_BC.clamp_min(0)) + 1e-6 * drawn_BC
    return torch.where(region_BC < 0, drawn_BC, mine_BC)


def _ranked(number_BC: Tensor, valid_BC: Tensor, count_B: Tensor) -> Tensor:
    """The valid sensors with the smallest numbers, so many of each row."""
    number_BC = number_BC + torch.where(valid_BC, 0.0, 100.0)
    return number_BC.argsort(1).argsort(1) < count_B[:, None]
