"""How strong each wavelet band of a segment is: numbers without a unit, and without look-ahead.

An encoder that normalises every segment forgets amplitude, and a linear map of coefficients
knows no power; a seizure is a change of both.

Shapes: B batch, T segments, S segments known (the last T of them are asked for), C channels,
F coefficients, L wavelet bands.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

FLAT = 1e-9
"""Root mean square below which a band is flat; normalised signals are about 1."""
MOST = 3.0
"""Decades up or down that are told; a flat band is that far down."""
KINDS = 3
"""Numbers that are told of a band."""


def level(f_BTCF: Tensor, sizes: Sequence[int], valid_BC: Tensor) -> Tensor:
    """(B, T, C, L) log10 of each band's root mean square; NaN where flat or not valid.

    Parameters
    ----------
    f_BTCF : wavelet coefficients, bands side by side
    sizes : coefficients of each band
    """
    bands = f_BTCF.float().split(tuple(sizes), -1)
    rms = torch.stack([band.square().mean(-1).sqrt() for band in bands], -1)
    return torch.where((rms > FLAT) & valid_BC[:, None, :, None], rms.log10(), torch.nan)


def beside_past(
    level_BSCL: Tensor, n: int, band: int | None = None, scale_BTCL: Tensor | None = None
) -> Tensor:
    """(B, T, C, 3 L) decades above three references.

    They are the channel's own past in this wavelet band, the past of all channels in it, and the
    mean of the segment's bands. A past is the mean level of the last `band` segments (None: of
    all) including the own one; what is flat or not valid takes no part in it.

    Parameters
    ----------
    level_BSCL : of `level`
    n : T, how many of the last segments to answer for
    band : segments of the past, the own one included
    scale_BTCL : level of the unit in which a segment's channels are compared with each other (any
        of T and L may be 1); None: they are compared as they are
    """
    s = level_BSCL.shape[1]
    at = torch.arange(s, device=level_BSCL.device)
    lag_TS = at[s - n :, None] - at
    past_TS = ((lag_TS >= 0) & (lag_TS < (band or s))).float()
    counts_BSCL = level_BSCL.isfinite()
    with torch.autocast(level_BSCL.device.type, enabled=False):
        known_BSCL = torch.where(counts_BSCL, level_BSCL, 0.0)
        total_BTCL = torch.einsum("ts,bscl->btcl", past_TS, known_BSCL)
        number_BTCL = torch.einsum("ts,bscl->btcl", past_TS, counts_BSCL.float())
    now_BTCL = level_BSCL[:, s - n :]
    if scale_BTCL is not None:
        now_BTCL = now_BTCL - scale_BTCL
        total_BTCL = total_BTCL - number_BTCL * scale_BTCL
    own_BTCL = total_BTCL / number_BTCL.clamp_min(1)
    all_BT1L = total_BTCL.sum(2, keepdim=True) / number_BTCL.sum(2, keepdim=True).clamp_min(1)
    told = [now_BTCL - own_BTCL, now_BTCL - all_BT1L, now_BTCL - now_BTCL.nanmean(-1, True)]
    return torch.cat(told, -1).nan_to_num(nan=-MOST).clamp(-MOST, MOST)
