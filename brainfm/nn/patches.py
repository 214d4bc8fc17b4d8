"""What one sensor did during one step, as numbers that do not depend on the sampling rate.

Two families. Electrophysiology is fast: the waveform below some edge and the logarithm of power in
bands above one another, both from a cosine transform of the step, so that 128, 256 and 512 Hz give
the same numbers. fMRI is slow: frames are brought to a fixed number of points a step by time, so
that every TR gives the same points; or the points' weights are brought to the frames instead
(FlexiViT, arXiv 2212.08013; BrainHarmonix does so for the TR).

Shapes: B batch, C channels, T samples, W steps, P samples in a step, K features, D width.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from brainfm.types import N_KINDS

QUIETEST = 1e-4
"""Added to power before its logarithm, in units of the normalised signal."""


def whole_steps(n_samples: int, sfreq: float, step_s: float) -> int:
    """Steps in a window: as many as come nearest to `step_s` each, at least one."""
    return max(1, round(n_samples / sfreq / step_s))


@lru_cache(maxsize=64)
def cosines(n_samples: int) -> Tensor:
    """(P, P) orthonormal cosine transform over sqrt(P): a constant of 1 has a coefficient of 1."""
    t = (np.arange(n_samples) + 0.5) / n_samples
    made_KP = np.cos(np.pi * np.arange(n_samples)[:, None] * t) * 2**0.5
    made_KP[0] = 1.0
    return torch.from_numpy((made_KP / n_samples).astype(np.float32))


@lru_cache(maxsize=64)
def bands(n_samples: int, sfreq: float, edges_hz: tuple[float, ...]) -> Tensor:
    """(F, P) which cosines belong to which band; bands above half the rate are empty rows."""
    hz_K = np.arange(n_samples) * sfreq / (2 * n_samples)
    low, high = (np.asarray(e)[:, None] for e in (edges_hz[:-1], edges_hz[1:]))
    return torch.from_numpy(((hz_K >= low) & (hz_K < high)).astype(np.float32))


@lru_cache(maxsize=64)
def to_points(n_frames: int, n_points: int, n_steps: int | None = None, finer: int = 8) -> Tensor:
    """(T, M) weights that turn frames into means over M equal cells of the same stretch of time.

    Between the middles of two frames the signal is taken as a straight line; a cell's value is its
    mean, which also keeps what is faster than a point from folding down.

    Parameters
    ----------
    n_steps : where given, cells of a step see no frame that ends after it, and go on as the last
        one that they see; before any frame has ended they are 0
    """
    at_frames = (np.arange(n_frames) + 0.5) / n_frames
    at = (np.arange(n_points * finer) + 0.5) / (n_points * finer)
    each = np.zeros((n_frames, len(at)))
    for cells in np.split(np.arange(len(at)), n_steps or 1):
        end = (at[cells[-1]] + 0.5 / len(at)) if n_steps else 1.0
        seen = int(np.floor(end * n_frames + 1e-6))
        for k in range(seen):
            each[k, cells] = np.interp(at[cells], at_frames[:seen], np.eye(seen)[k])
    return torch.from_numpy(each.reshape(n_frames, n_points, finer).mean(-1).astype(np.float32))


class FastPatch(nn.Module):
    """A step of electrophysiology: waveform and band powers, each through a layer of its own.

    All kinds share these layers, and each adds what only it needs: contacts show power at high
    frequencies that never reaches the scalp, and layers that EEG and MEG shape would drop it.

    Parameters
    ----------
    dim : D
    step_s : seconds of a step
    slow_hz : below it the waveform itself is shown
    edges_hz : of the bands whose power is shown
    """

    def __init__(
        self, dim: int, step_s: float, slow_hz: float, edges_hz: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.step_s, self.edges_hz = step_s, edges_hz
        self.n_slow = max(1, round(2 * slow_hz * step_s))
        self.wave = nn.Linear(self.n_slow, dim)
        self.power = nn.Sequential(nn.Linear(self.n_bands, dim), nn.GELU(), nn.Linear(dim, dim))
        # Nothing at first, and for kinds that are never seen.
        self.own_JKD = nn.Parameter(torch.zeros(N_KINDS, self.n_features, dim))

    @property
    def n_bands(self) -> int:
        return len(self.edges_hz) - 1

    @property
    def n_features(self) -> int:
        """K: cosines of the waveform, then powers."""
        return self.n_slow + self.n_bands

    def features(self, x_BCT: Tensor, sfreq: float) -> Tensor:
        """(B, C, W, K) float32; steps share the window equally."""
        n_steps = whole_steps(x_BCT.shape[-1], sfreq, self.step_s)
        p = max(2, x_BCT.shape[-1] // n_steps)
        n_steps = x_BCT.shape[-1] // p
        x_BCWP = x_BCT[..., : n_steps * p].float().unflatten(-1, (n_steps, p))
        cosine_BCWK = x_BCWP @ cosines(p).to(x_BCT.device).T
        band_FP = bands(p, sfreq, self.edges_hz).to(x_BCT.device)
        power_BCWF = cosine_BCWK.square() @ band_FP.T
        slow_BCWK = torch.zeros(*x_BCWP.shape[:3], self.n_slow, device=x_BCT.device)
        n = min(p, self.n_slow)
        slow_BCWK[..., :n] = cosine_BCWK[..., :n]
        return torch.cat((slow_BCWK, torch.log10(power_BCWF + QUIETEST) + 2), -1)

    def forward(self, features_BCWK: Tensor, kind_BC: Tensor) -> Tensor:
        """(B, C, W, D) of `features` and the kinds of the sensors."""
        slow, power = features_BCWK.split((self.n_slow, self.n_bands), -1)
        h_BCWD = self.wave(slow) + self.power(power)
        for kind in kind_BC.unique().tolist():
            own_BCWD = features_BCWK @ self.own_JKD[kind]
            h_BCWD = h_BCWD + torch.where((kind_BC == kind)[..., None, None], own_BCWD, 0.0)
        return h_BCWD


class BoldPatch(nn.Module):
    """A step of fMRI: a fixed number of points in time, whatever the TR.

    Parameters
    ----------
    dim : D
    step_s : seconds of a step
    n_points : points in it
    resize : "data" takes points from frames by straight lines, over the whole window; "kernel"
        resizes the weights to the frames of a step (see `from_frames`)
    causal : a step sees no frame that ends after it
    """

    def __init__(
        self, dim: int, step_s: float, n_points: int, resize: str = "data", causal: bool = False
    ) -> None:
        super().__init__()
        if resize not in ("data", "kernel"):
            raise ValueError(f"resize is '{resize}'; it must be 'data' or 'kernel'")
        self.step_s, self.n_points, self.resize = step_s, n_points, resize
        self.causal = causal
        self.enter = nn.Linear(n_points, dim)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(dim, dim))

    @property
    def n_features(self) -> int:
        """K: points."""
        return self.n_points

    def features(self, x_BCT: Tensor, sfreq: float) -> Tensor:
        """(B, C, W, K) float32; steps share the window equally."""
        n_steps = whole_steps(x_BCT.shape[-1], sfreq, self.step_s)
        if self.resize == "data":
            many = n_steps * self.n_points
            at_TM = to_points(x_BCT.shape[-1], many, n_steps if self.causal else None)
            return (x_BCT.float() @ at_TM.to(x_BCT.device)).unflatten(-1, (n_steps, self.n_points))
        p = x_BCT.shape[-1] // n_steps
        x_BCWP = x_BCT[..., : n_steps * p].float().unflatten(-1, (n_steps, p))
        return x_BCWP @ from_frames(p, self.n_points).to(x_BCT.device)

    def forward(self, features_BCWK: Tensor, kind_BC: Tensor | None = None) -> Tensor:
        """(B, C, W, D) of `features`; there is one kind."""
        h = self.enter(features_BCWK)
        return h + self.mix(h)


@lru_cache(maxsize=64)
def from_frames(n_frames: int, n_points: int) -> Tensor:
    """(P, M) of the points whose frames come nearest, in squares, to those there are.

    Weights w over points then answer to frames as w @ pinv(points to frames) would: what FlexiViT
    calls resizing the kernel.
    """
    return torch.linalg.pinv(to_points(n_points, n_frames).T.double()).float().T.contiguous()
