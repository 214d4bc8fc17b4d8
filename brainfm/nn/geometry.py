"""Where a sensor is and what it measures, as a vector a network can use.

Two position codes: "published" centres and scales positions per modality and feeds them to
an MLP (BrainOmni); "metric" keeps metres, as Fourier features, with a learned vector for
sensors whose position nobody knows.

Shapes: B batch, C channels, F frequencies, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainfm.nn.feedforward import FeedForward
from brainfm.nn.norms import RMSNorm
from brainfm.types import Kind

MODES = ("published", "metric")


def centre_positions(pos_BC3: Tensor, kind_BC: Tensor, valid_BC: Tensor) -> Tensor:
    """Positions relative to the centre of their modality, in units of its spread.

    As BrainOmni prepares them: within the MEG sensors, and within all others, subtract the
    mean and divide by sqrt(3 mean |xyz|^2). Only valid channels with a known position count.
    An unknown position becomes the centre (zeros): the published module has no other word
    for it.

    Parameters
    ----------
    pos_BC3 : Tensor, metres, NaN where unknown
    kind_BC : int Tensor, values of `Kind`
    valid_BC : bool Tensor

    Returns
    -------
    Tensor (B, C, 3), finite
    """
    known_BC = torch.isfinite(pos_BC3).all(-1)
    pos = torch.where(known_BC[..., None], pos_BC3, 0.0)
    is_meg_BC = (kind_BC == Kind.MAG) | (kind_BC == Kind.GRAD)
    out = torch.zeros_like(pos)
    for group_BC in (is_meg_BC, ~is_meg_BC):
        counts = (group_BC & known_BC & valid_BC)[..., None].to(pos.dtype)
        n = counts.sum(1, keepdim=True).clamp_min(1.0)
        centred = pos - (pos * counts).sum(1, keepdim=True) / n
        power = ((centred * counts).square().sum(-1, keepdim=True)).sum(1, keepdim=True) / n
        scale = (3.0 * power).sqrt()
        # One sensor, or all in one place, has no spread: it stays at the centre.
        placed = torch.where(scale > 1e-9, centred / scale.clamp_min(1e-9), 0.0)
        out = torch.where((group_BC & known_BC)[..., None], placed, out)
    return out


@dataclass(frozen=True)
class PositionCodeConfig:
    """Sizes of `PositionCode`."""

    width: int = 256
    n_frequencies: int = 8
    longest_m: float = 0.25
    """Longest wavelength in metres: about a head."""
    shortest_m: float = 0.008
    """Shortest wavelength in metres: below the pitch of depth-electrode contacts."""


class PositionCode(nn.Module):
    """Fourier features of sensor position and orientation (cf. REVE, arXiv 2510.21585).

    Unknown positions (NaN) get one learned vector, so a recording without a montage is
    still readable, and the model can tell "unknown" from "at the origin".
    """

    def __init__(self, config: PositionCodeConfig) -> None:
        super().__init__()
        self.config = config
        wavelength_F = torch.logspace(0, 1, config.n_frequencies, dtype=torch.float64)
        span = torch.log(torch.tensor(config.longest_m / config.shortest_m)).double()
        wavelength_F = config.longest_m * torch.exp(-span * torch.log10(wavelength_F))
        self.register_buffer("wave_F", (2 * torch.pi / wavelength_F).float(), persistent=False)
        n_features = 3 * (2 * config.n_frequencies + 1) + 3
        self.features = nn.Sequential(
            nn.Linear(n_features, config.width // 2),
            nn.SELU(),
            nn.Linear(config.width // 2, config.width),
        )
        self.unknown_D = nn.Parameter(0.02 * torch.randn(config.width))

    def forward(self, pos_BC3: Tensor, ori_BC3: Tensor) -> Tensor:
        """Code of each sensor.

        Parameters
        ----------
        pos_BC3 : Tensor, metres, NaN where unknown
        ori_BC3 : Tensor, unit vectors, zeros where a sensor has no direction

        Returns
        -------
        Tensor (B, C, D)
        """
        known_BC1 = torch.isfinite(pos_BC3).all(-1, keepdim=True)
        pos = torch.where(known_BC1, pos_BC3, 0.0)
        phase = (pos[..., None] * self.wave_F).flatten(-2)
        # The plain coordinate in units of the longest wavelength keeps left apart from right.
        plain = pos / self.config.longest_m
        code = self.features(torch.cat((phase.sin(), phase.cos(), plain, ori_BC3), -1))
        return torch.where(known_BC1, code, self.unknown_D.to(code.dtype))


class SensorModule(nn.Module):
    """Position, orientation and kind of each sensor as one vector.

    Position code + kind table, a residual feed-forward block, RMSNorm (BrainOmni).

    Parameters
    ----------
    dim : D
    n_kinds : rows of the kind table; released weights have 3 (EEG, MAG, GRAD)
    position : "published" or "metric"
    """

    def __init__(self, dim: int, n_kinds: int, position: str = "published") -> None:
        super().__init__()
        if position not in MODES:
            raise ValueError(f"position is '{position}'; it must be one of {MODES}")
        self.mode = position
        self.kind = nn.Embedding(n_kinds, dim)
        self.position: nn.Module
        if position == "published":
            self.position = nn.Sequential(
                nn.Linear(6, dim // 2), nn.SELU(), nn.Linear(dim // 2, dim)
            )
        else:
            self.position = PositionCode(PositionCodeConfig(width=dim))
        self.mix = FeedForward(dim)
        self.norm = RMSNorm(dim)

    def forward(
        self, pos_BC3: Tensor, ori_BC3: Tensor, kind_BC: Tensor, valid_BC: Tensor
    ) -> Tensor:
        """Embed sensors given in metres; see `SignalBatch` for the arguments. (B, C, D)."""
        if self.mode == "published":
            centred = centre_positions(pos_BC3, kind_BC, valid_BC)
            return self.embed(torch.cat((centred, ori_BC3), -1), kind_BC)
        return self._finish(self.position(pos_BC3, ori_BC3), kind_BC)

    def embed(self, pos_BC6: Tensor, kind_BC: Tensor) -> Tensor:
        """Embed sensors whose positions are already centred and scaled ("published" only)."""
        return self._finish(self.position(pos_BC6), kind_BC)

    def _finish(self, code_BCD: Tensor, kind_BC: Tensor) -> Tensor:
        h = code_BCD + self.kind(kind_BC).to(code_BCD.dtype)
        return self.norm(h + self.mix(h))
