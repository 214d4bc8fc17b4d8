"""Small batches with known content for tests of layers, codecs and encoders."""

import torch

from brainfm.types import SignalBatch


def make_batch(b=2, c=6, t=128, kind=0, seed=0, sfreq=256.0):
    """Random signals at random places on a head."""
    g = torch.Generator().manual_seed(seed)
    pos = torch.randn(b, c, 3, generator=g)
    return SignalBatch(
        x_BCWP=torch.randn(b, c, 1, t, generator=g),
        pos_BC3=0.09 * pos / pos.norm(dim=-1, keepdim=True),
        ori_BC3=torch.zeros(b, c, 3),
        kind_BC=torch.full((b, c), kind),
        valid_BC=torch.ones(b, c, dtype=torch.bool),
        time_BW=torch.zeros(b, 1, dtype=torch.float64),
        scale_BC=torch.ones(b, c),
        offset_BC=torch.zeros(b, c),
        sfreq=sfreq,
    )


def channels(batch, index):
    """The batch with its channels at `index`."""
    fields = ("x_BCWP", "pos_BC3", "ori_BC3", "kind_BC", "valid_BC", "scale_BC", "offset_BC")
    return SignalBatch(
        **{f: getattr(batch, f)[:, index] for f in fields},
        time_BW=batch.time_BW,
        sfreq=batch.sfreq,
    )


def with_bad_channels(batch, n=3):
    """The batch with `n` invalid channels of NaN and junk put in front."""
    junk = make_batch(len(batch), n, batch.x_BCWP.shape[-1], seed=99)
    junk.x_BCWP[:, 0] = torch.nan
    junk.x_BCWP[:, 1:] *= 1e4
    junk.pos_BC3[:, -1] = torch.nan
    junk.valid_BC[:] = False
    fields = ("x_BCWP", "pos_BC3", "ori_BC3", "kind_BC", "valid_BC", "scale_BC", "offset_BC")
    return SignalBatch(
        **{f: torch.cat((getattr(junk, f), getattr(batch, f)), 1) for f in fields},
        time_BW=batch.time_BW,
        sfreq=batch.sfreq,
    )
