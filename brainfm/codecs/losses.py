"""Losses of waveform codecs, as pure functions of (reconstruction, target).

Definitions: BrainTokenizer (arXiv 2505.18185) and BioCodec (arXiv 2510.09095). `valid_BC` leaves
out channels that are padded or bad; every loss is a mean over what remains.

Shapes: B batch, C channels, N windows, P samples in a window, K frequencies, F frames.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.errors import ContractError


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


def phasors(x: Tensor, n_fft: int) -> Tensor:
    """log(1 + |S|), cos and sin of the phase of a short-time spectrum: (..., P) -> (..., 3, K, F).

    Hann window of `n_fft` samples, an eighth of it from frame to frame, ends reflected. Where
    nothing is, the phase is 0.
    """
    hop = n_fft // 8
    pad = (n_fft - hop) // 2
    flat_MP = F.pad(x.flatten(0, -2)[:, None], (pad, pad), mode="reflect")[:, 0]
    window = torch.hann_window(n_fft, device=x.device)
    s_MKF = torch.stft(flat_MP, n_fft, hop, n_fft, window, center=False, return_complex=True)
    size = s_MKF.abs()
    empty = size == 0
    safe = size.masked_fill(empty, 1.0)
    cos, sin = (s_MKF.real / safe).masked_fill(empty, 1.0), s_MKF.imag / safe
    return torch.stack((size.log1p(), cos, sin), 1).unflatten(0, x.shape[:-1])


PHASE_WEIGHT = 0.2
"""Of cosine and sine beside the log amplitude (BioCodec, arXiv 2510.09095)."""


def multiscale_loss(
    rec: Tensor, target: Tensor, n_ffts: tuple[int, ...], valid_BC: Tensor | None = None
) -> Tensor:
    """Sum over window lengths of mean |d| + mean d^2 of weighted `phasors`.

    Lengths whose reflected ends are longer than the signal are left out.

    Raises
    ------
    ContractError
        If no length is short enough.
    """
    n = rec.shape[-1]
    fitting = [k for k in n_ffts if (k - k // 8) // 2 < n]
    if not fitting:
        raise ContractError(
            f"windows of {n} samples are too short for spectra of {min(n_ffts)} and more; "
            "take longer windows or smaller n_ffts"
        )
    weight = torch.tensor([1.0, PHASE_WEIGHT, PHASE_WEIGHT], device=rec.device)[:, None, None]
    total = rec.new_zeros(())
    for k in fitting:
        d = (phasors(rec, k) - phasors(target, k)) * weight
        total = total + _mean(d.abs(), valid_BC) + _mean(d.square(), valid_BC)
    return total


def signal_to_distortion(
    rec: Tensor, target: Tensor, valid_BC: Tensor | None = None, epsilon: float = 1e-8
) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, mean over channels and windows."""
    a = rec - rec.mean(-1, keepdim=True)
    b = target - target.mean(-1, keepdim=True)
    gain = (a * b).sum(-1, keepdim=True) / (b.square().sum(-1, keepdim=True) + epsilon)
    part = gain * b
    ratio = part.square().sum(-1) / ((a - part).square().sum(-1) + epsilon)
    return _mean(10 * torch.log10(ratio + epsilon), valid_BC)


class CodecLoss(ABC):
    """What a codec descends; one class a publication, its weights as arguments."""

    @abstractmethod
    def __call__(
        self, rec: Tensor, target: Tensor, commit: Tensor, valid_BC: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Named scalars of (B, C, N, P) signals and the quantiser's `commit`; "loss" counts."""


class BrainTokenizerLoss(CodecLoss):
    """`codec_losses`: time + exp(-pcc) + commit + amp + 0.5 phase (arXiv 2505.18185)."""

    def __call__(
        self, rec: Tensor, target: Tensor, commit: Tensor, valid_BC: Tensor | None = None
    ) -> dict[str, Tensor]:
        return codec_losses(rec, target, commit, valid_BC)


class DistortionLoss(CodecLoss):
    """Squared error in decibels below the signal, plus commit: what rate-distortion curves show.

    A decibel is a decibel at any rate, so that one model of many rates serves none of them at
    the cost of another; a plain squared error would see the lowest rate alone.

    Parameters
    ----------
    floor : share of the signal's variance below which nothing more is gained
    """

    def __init__(self, floor: float = 1e-4) -> None:
        if not 0 < floor < 1:
            raise ContractError(f"floor is {floor}; it is a share of the variance, 0 to 1")
        self.floor = floor

    def __call__(
        self, rec: Tensor, target: Tensor, commit: Tensor, valid_BC: Tensor | None = None
    ) -> dict[str, Tensor]:
        rec, target = rec.float(), target.float()
        # A flat channel has no variance to compare with; a thousandth of a unit stands in.
        variance_BCN = target.var(-1, correction=0) + 1e-6
        nmse_BCN = (rec - target).square().mean(-1) / variance_BCN
        decibel = _mean(10 * torch.log10(nmse_BCN + self.floor), valid_BC)
        pcc = correlation(rec, target, valid_BC)
        parts = {"nmse": _mean(nmse_BCN, valid_BC), "pcc": pcc, "commit": commit}
        return {"loss": decibel + commit} | parts


class BioCodecLoss(CodecLoss):
    """0.2 time + spectral + commit (BioCodec, arXiv 2510.09095).

    `time` is a smooth absolute difference (square below .7), `spectral` is `multiscale_loss`;
    correlation and signal-to-distortion ratio are shown beside them.

    Parameters
    ----------
    n_ffts : window lengths in samples; published: these for EEG, 128 to 1024 for EMG
    commit_weight : 1 by the paper's sum. The published trainer goes backward through the
        commitment a second time, which makes it 2
    """

    def __init__(
        self, n_ffts: tuple[int, ...] = (32, 64, 128, 256), commit_weight: float = 1.0
    ) -> None:
        if not n_ffts or any(k < 8 or k % 8 for k in n_ffts):
            raise ContractError(f"n_ffts is {tuple(n_ffts)}; window lengths are multiples of 8")
        self.n_ffts, self.commit_weight = tuple(n_ffts), commit_weight

    def __call__(
        self, rec: Tensor, target: Tensor, commit: Tensor, valid_BC: Tensor | None = None
    ) -> dict[str, Tensor]:
        rec, target = rec.float(), target.float()
        time = _mean(F.smooth_l1_loss(rec, target, reduction="none", beta=0.7), valid_BC)
        spectral = multiscale_loss(rec, target, self.n_ffts, valid_BC)
        loss = 0.2 * time + spectral + self.commit_weight * commit
        pcc = correlation(rec, target, valid_BC)
        sdr = signal_to_distortion(rec, target, valid_BC)
        parts = {"time": time, "spectral": spectral, "pcc": pcc, "sdr": sdr, "commit": commit}
        return {"loss": loss} | parts
