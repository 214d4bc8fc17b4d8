"""A learned lead field: how strongly each sensor sees each latent source, and its inverse.

Sensors of any montage are different mixtures of the same sources. A lead field that is a smooth
function of position, direction and kind of a sensor, learned, says which; the sources behind the
sensors at hand follow by the minimum-norm inverse (Hamalainen and Ilmoniemi, Med Biol Eng Comput
32, 1994), with signs, for any number of sensors, and what a missing sensor would show follows
forward. Attention, whose weights are positive and sum to one, can only average.

Shapes: B batch, G slots, C sensors, S sources, D width, F Fourier features, J kinds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.types import N_KINDS

WAVES_M = (0.5, 0.25, 0.125, 0.0625, 0.03)
"""Longest to shortest: a lead field varies over centimetres. (The centre of the head to its
surface is 0.09 m.)"""


class LeadField(nn.Module):
    """Rows of a lead field, (B, C, S).

    Parameters
    ----------
    n_sources : S
    """

    def __init__(self, n_sources: int) -> None:
        super().__init__()
        wave_W = torch.tensor(WAVES_M)
        self.register_buffer("turn_W", 2 * torch.pi / wave_W, persistent=False)
        # Short waves begin small: a field that is smooth lets sensors speak for their neighbours.
        self.register_buffer("size_W", wave_W / wave_W[0], persistent=False)
        n = 1 + 3 + 2 * 3 * len(WAVES_M)
        # Of the sensor itself, and of what it sees along x, y and z.
        self.weight_JFS = nn.Parameter(torch.randn(1, 4 * n, n_sources).repeat(N_KINDS, 1, 1))
        self.unknown_JS = nn.Parameter(0.1 * torch.randn(N_KINDS, n_sources))
        self.log_noise_J = nn.Parameter(torch.full((N_KINDS,), -2.0))

    def forward(self, pos_BC3: Tensor, ori_BC3: Tensor, kind_BC: Tensor) -> Tensor:
        """Rows of sensors; those whose place is unknown share one a kind.

        Parameters
        ----------
        pos_BC3 : metres in MNI space, NaN where unknown
        ori_BC3 : unit vectors, zeros where a sensor has no direction
        kind_BC : values of `Kind`
        """
        known_BC1 = torch.isfinite(pos_BC3).all(-1, keepdim=True)
        pos = torch.where(known_BC1, pos_BC3, 0.0)
        phase_BC3W = pos[..., None] * self.turn_W
        waves = [(f * self.size_W).flatten(-2) for f in (phase_BC3W.sin(), phase_BC3W.cos())]
        each = torch.cat((torch.ones_like(pos[..., :1]), 10 * pos, *waves), -1)
        along = (ori_BC3[..., None] * each[..., None, :]).flatten(-2)
        # A directed sensor is described by what it sees along its direction, others by themselves.
        directed_BC1 = (ori_BC3.abs().sum(-1, keepdim=True) > 0).to(each.dtype)
        feature_BCF = torch.cat(((1 - directed_BC1) * each, along), -1)
        row_BCS = torch.zeros(*pos.shape[:2], self.weight_JFS.shape[-1], device=pos.device)
        for kind in kind_BC.unique().tolist():
            mine = torch.where(
                known_BC1,
                feature_BCF @ self.weight_JFS[kind] / each.shape[-1] ** 0.5,
                self.unknown_JS[kind],
            )
            row_BCS = torch.where((kind_BC == kind)[..., None], mine, row_BCS)
        return row_BCS

    def inverse(
        self, row_BCS: Tensor, kind_BC: Tensor, seen_BGC: Tensor, shown_BGCD: Tensor
    ) -> Tensor:
        """Sources behind what the seen sensors show, (B, G, S, D + 1).

        The last number says how well a source is seen, 0 (not at all) to 1.

        Parameters
        ----------
        row_BCS, kind_BC : of `forward`
        seen_BGC : bool
        shown_BGCD : what every sensor shows; where it is not seen it does not matter
        """
        with torch.autocast(row_BCS.device.type, enabled=False):
            row = row_BCS.float()
            seen = seen_BGC.float()
            shown_BGCD = shown_BGCD.float() * seen[..., None]
            back_BGSD = torch.einsum("bcs,bgcd->bgsd", row, shown_BGCD)
            gram_BGSS = torch.einsum("bcs,bgc,bct->bgst", row, seen, row)
            size_BG = gram_BGSS.diagonal(dim1=-2, dim2=-1).mean(-1)
            # Noise in units of what a source gives on the average; a hair where nothing is seen.
            # Parcels of fMRI say much of their place, contacts little of any other's: each kind has
            # noise of its own; sensors of two kinds in one step share the mean of theirs.
            noise_BC = F.softplus(self.log_noise_J)[kind_BC]
            share_BG = (noise_BC[:, None] * seen).sum(-1) / seen.sum(-1).clamp_min(1)
            noise_BG = share_BG * size_BG + 1e-3
            eye_SS = torch.eye(row.shape[-1], device=row.device)
            factor = torch.linalg.cholesky(gram_BGSS + noise_BG[..., None, None] * eye_SS)
            both = torch.cat((back_BGSD, gram_BGSS), -1)
            found = torch.cholesky_solve(both, factor)
            source, resolution = found.split((back_BGSD.shape[-1], row.shape[-1]), -1)
            how_well = resolution.diagonal(dim1=-2, dim2=-1)[..., None]
            return torch.cat((source, how_well), -1)
