"""Losses of waveform codecs, as pure functions of (reconstruction, target).

Definitions: BrainTokenizer (arXiv 2505.18185). `valid_BC` leaves out channels that are padded
or bad; every loss is a mean over what remains.

Shapes: B batch, C channels, N windows, P samples in a window.
"""

import torch
from torch import Tensor


def normalise_target(x_BCNP: Tensor, epsilon: float = 1e-6) -> Tensor:
    """z-score of each channel and window (unbiased standard deviation + `epsilon`)."""
    mean = x_BCNP.mean(-1, keepdim=True)
    return (x_BCNP - mean) / (x_BCNP.std(-1, keepdim=True) + epsilon)


def _mean(loss: Tensor, valid_BC: Tensor | None) -> Tensor:
    """Mean over valid channels of a (B, C, ...) loss."""
    if valid_BC is None:
        return loss.mean()
    per_channel_BC = loss.flatten(2).mean(-1)
    w = valid_BC.to(loss.dtype)
    # Not 0 * loss: an invalid channel may hold NaN.
    return torch.where(valid_BC, per_channel_BC, 0.0).sum() / w.sum().clamp_min(1.0)


def time_loss(rec: Tensor, target: Tensor, valid_BC: Tensor | None = None) -> Tensor:
    """Mean absolute difference of (B, C, N, P) signals."""
    return _mean((rec - target).abs(), valid_BC)


def correlation(
    rec: Tensor, target: Tensor, valid_BC: Tensor | None = None, epsilon: float = 1e-8
) -> Tensor:
    """Mean Pearson correlation over channels and windows; 0 for a constant window."""
    a = rec - rec.mean(-1, keepdim=True)
    b = target - target.mean(-1, keepdim=True)
    norms = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    r_BCN = (a * b).sum(-1) / (norms + epsilon)
    return _mean(r_BCN, valid_BC)


def spectral_losses(
    rec: Tensor, target: Tensor, valid_BC: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Amplitude and phase loss: mean absolute difference of |rfft| and of angle(rfft).

    Hamming window, orthonormal transform. As published, the phase difference is not wrapped:
    pi and -pi count as far apart.
    """
    n = rec.shape[-1]
    window = torch.hamming_window(n, device=rec.device, dtype=torch.float32)
    f_rec = torch.fft.rfft(rec.float() * window, norm="ortho")
    f_target = torch.fft.rfft(target.float() * window, norm="ortho")
    amplitude = _mean((f_rec.abs() - f_target.abs()).abs(), valid_BC)
    phase = _mean((f_rec.angle() - f_target.angle()).abs(), valid_BC)
    return amplitude, phase


def codec_losses(
    rec: Tensor, target: Tensor, commit: Tensor, valid_BC: Tensor | None = None
) -> dict[str, Tensor]:
    """All terms and their published sum.

    loss = time + exp(-pcc) + commit + amp + 0.5 phase.

    Parameters
    ----------
    rec, target : Tensor (B, C, N, P); the target already z-scored by `normalise_target`
    commit : scalar Tensor of the quantiser
    valid_BC : bool Tensor or None

    Returns
    -------
    dict with scalar Tensors "loss", "time", "pcc", "amp", "phase", "commit"
    """
    rec, target = rec.float(), target.float()
    time = time_loss(rec, target, valid_BC)
    pcc = correlation(rec, target, valid_BC)
    amp, phase = spectral_losses(rec, target, valid_BC)
    loss = time + torch.exp(-pcc) + commit + amp + 0.5 * phase
    return {"loss": loss, "time": time, "pcc": pcc, "amp": amp, "phase": phase, "commit": commit}
