"""BandEncoder: how strong every channel is in every frequency band, mixed person by person.

What depth electrodes tell of speech lies in the power of their high gamma, a hundredth of the
signal's. A network that is fed the signal spends itself on slow waves; this one is fed power in
decibels beside them. Contacts of two people share no place and no tuning, so every person has a
matrix (as in Du-IN, arXiv 2405.11459, and a day in Willett et al., Nature 620, 2023), and what
comes after it is shared. The matrix sees features without correlations (`models.whitening`).

Pretraining hides channels and stretches of time and guesses what they showed: noise of single
contacts cannot be guessed from others, what many contacts answer to can.

Shapes: B batch, C channels, T samples, W steps, K features of a channel (bands, slow waves),
M = C K, R regions, D width, P persons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.models.base import Encoder
from brainfm.models.whitening import Whitening
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Features, SignalBatch, subject_id

QUIETEST = 1e-4
"""Added to power before its logarithm, in units of the normalised signal."""


@dataclass(frozen=True)
class BandEncoderConfig:
    """Sizes of a BandEncoder and the people it knows."""

    subjects: tuple[str, ...] = ()
    """People with a matrix, as "dataset/subject". Of others it knows nothing."""
    n_channels: int = 64
    """Most channels of a person."""
    bands_hz: tuple[tuple[float, float], ...] = (
        (2.0, 6.0),
        (6.0, 12.0),
        (12.0, 24.0),
        (24.0, 48.0),
        (48.0, 70.0),
        (70.0, 96.0),
        (96.0, 122.0),
    )
    """High gamma in two bands: power is the surer, the more of it is looked at."""
    slow_hz: float = 12.0
    """Below this the signal itself is shown, not only its power."""
    sfreq: float = 256.0
    window: int = 64
    """Samples that power is weighed over, at most; as many as a band is narrow."""
    hop: int = 8
    """Samples a step covers."""
    whiten: float | None = 0.003
    """`ridge` of `models.whitening`; None leaves features correlated."""
    n_regions: int = 128
    dim: int = 128
    depth: int = 4
    """Residual convolutions over time, the spread of each twice that of the one before."""
    kernel: int = 5
    dropout: float = 0.1
    hidden_channels: float = 0.5
    hidden_time: float = 0.25
    """Shares that pretraining hides."""
    hidden_steps: int = 8
    """Length of a hidden stretch."""

    def __post_init__(self) -> None:
        bands = tuple(tuple(float(v) for v in band) for band in self.bands_hz)
        object.__setattr__(self, "bands_hz", bands)
        for low, high in bands:
            if not 0 < low < high <= self.sfreq / 2:
                raise ValueError(
                    f"the band {low:g} to {high:g} Hz is empty or above {self.sfreq / 2:g} Hz, "
                    "half the sampling rate"
                )
        if len(set(self.subjects)) != len(self.subjects):
            raise ValueError("subjects repeat; name each once")

    @property
    def n_features(self) -> int:
        """K: bands, and the slow signal."""
        return len(self.bands_hz) + 1


class Residual(nn.Module):
    """A convolution over time beside the way around it."""

    def __init__(self, config: BandEncoderConfig, dilation: int) -> None:
        super().__init__()
        reach = (config.kernel - 1) // 2 * dilation
        self.norm = nn.LayerNorm(config.dim)
        self.conv = nn.Conv1d(
            config.dim, config.dim, config.kernel, padding=reach, dilation=dilation
        )
        self.out = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h_BWD: Tensor) -> Tensor:
        h = self.conv(self.norm(h_BWD).transpose(1, 2)).transpose(1, 2)
        return h_BWD + self.out(self.dropout(F.gelu(h)))


class BandEncoder(Encoder):
    """Band powers of single channels, a matrix a person, convolutions over time.

    Parameters
    ----------
    config : BandEncoderConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = BandEncoderConfig

    def __init__(
        self, config: BandEncoderConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        c = config or BandEncoderConfig()
        super().__init__(c, preprocess)
        people, many = max(1, len(c.subjects)), c.n_channels * c.n_features
        self.register_buffer("filter_K1T", filters(c), persistent=False)
        self.whitening = Whitening(c.subjects, many, c.whiten)
        self.mix_PMR = nn.Parameter(torch.randn(people, many, c.n_regions) * many**-0.5)
        self.bias_PR = nn.Parameter(torch.zeros(people, c.n_regions))
        self.enter = nn.Linear(c.n_regions, c.dim)
        self.blocks = nn.ModuleList(Residual(c, 2**i) for i in range(c.depth))
        self.last = nn.LayerNorm(c.dim)
        self.leave = nn.Linear(c.dim, c.n_regions)
        self.unmix_PRM = nn.Parameter(torch.randn(people, c.n_regions, many) * c.n_regions**-0.5)

    @property
    def dim(self) -> int:
        return self.config.dim

    @property
    def n_sources(self) -> int:
        return 1

    def powers(self, batch: SignalBatch) -> Tensor:
        """(B, C, W, K) logarithms of power in each band, and the slow signal, in SI units.

        0 where a channel is not valid.

        Raises
        ------
        ContractError
            If the batch has another rate than the bands were made for.
        """
        c = self.config
        if abs(batch.sfreq - c.sfreq) > 1e-6:
            raise ContractError(
                f"the batch has {batch.sfreq:g} Hz, the bands were made for {c.sfreq:g} Hz; "
                "prepare the data at that rate"
            )
        x_BCT = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0).float()
        with torch.autocast(x_BCT.device.type, enabled=False):
            before = (c.window - c.hop) // 2
            padded = F.pad(x_BCT.flatten(0, 1)[:, None], (before, c.window - c.hop - before))
            made_MXW = F.conv1d(padded, self.filter_K1T, stride=c.hop)
            n = len(c.bands_hz)
            power_MKW = made_MXW[:, :n].square() + made_MXW[:, n : 2 * n].square()
            # A short window's own scale is noise; levels are those of the recording.
            scale_M11 = batch.scale_BC.flatten()[:, None, None].float().clamp_min(1e-30)
            level_MKW = torch.cat(
                [
                    torch.log(power_MKW + QUIETEST) + 2 * torch.log(scale_M11),
                    made_MXW[:, 2 * n :] * scale_M11,
                ],
                1,
            )
        level_BCWK = level_MKW.unflatten(0, x_BCT.shape[:2]).transpose(2, 3)
        return torch.where(batch.valid_BC[:, :, None, None], level_BCWK, 0.0)

    def shown(self, batch: SignalBatch, person_B: Tensor) -> Tensor:
        """(B, W, C K) powers of unit size, as they are for each person; 0 if invalid.

        Raises
        ------
        ContractError
            If the network has met others, but not one of these.
        """
        level_BWM = self.powers(batch).transpose(1, 2).flatten(2)
        z_BWM = self.whitening.standardised(level_BWM, person_B)
        return torch.where(self._valid(batch)[:, None], z_BWM, 0.0)

    def meet(self, batches: Iterable[SignalBatch]) -> None:
        """Mean, scale and correlations of people's features, from as many batches as it takes."""
        for batch in batches:
            if self.whitening.has_enough():
                break
            level_BWM = self.powers(batch).transpose(1, 2).flatten(2)
            self.whitening.add(level_BWM, self._valid(batch), self.persons(batch))
        self.whitening.learn()

    def _valid(self, batch: SignalBatch) -> Tensor:
        """(B, C K)."""
        return batch.valid_BC.repeat_interleave(self.config.n_features, 1)

    def forward(self, batch: SignalBatch) -> Features:
        person_B = self.persons(batch)
        h_BWD = self.over_time(self.shown(batch, person_B), person_B)
        w = h_BWD.shape[1]
        step_s = self.config.hop / self.config.sfreq
        return Features(
            h_BSWD=h_BWD[:, None],
            valid_BS=batch.valid_BC.any(1, keepdim=True),
            time_W=torch.arange(w, dtype=torch.float64, device=h_BWD.device) * step_s,
            duration_s=step_s,
        )

    def over_time(self, shown_BWM: Tensor, person_B: Tensor) -> Tensor:
        """Features (B, W, D) of band powers."""
        mix_BMR = self.mix_PMR[person_B, : shown_BWM.shape[-1]]
        region_BWR = self.whitening(shown_BWM, person_B) @ mix_BMR
        h_BWD = self.enter(region_BWR + self.bias_PR[person_B][:, None])
        for block in self.blocks:
            h_BWD = block(h_BWD)
        return self.last(h_BWD)

    def masked_losses(
        self, batch: SignalBatch, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Hide channels and stretches, guess what they showed: "loss" and share "explained".

        Parameters
        ----------
        batch : SignalBatch
        generator : of what is hidden; default: torch's global one
        """
        c, person_B = self.config, self.persons(batch)
        shown_BWM = self.shown(batch, person_B)
        w, k = shown_BWM.shape[1], c.n_features
        where = generator.device if generator is not None else torch.device("cpu")

        def drawn(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=where).to(shown_BWM.device)

        channel_BC = drawn(*batch.valid_BC.shape) < c.hidden_channels
        stretches = drawn(len(batch), -(-w // c.hidden_steps)) < c.hidden_time
        time_BW = stretches.repeat_interleave(c.hidden_steps, 1)[:, :w]
        hidden_BWM = channel_BC.repeat_interleave(k, 1)[:, None] | time_BW[..., None]
        hidden_BWM = hidden_BWM & self._valid(batch)[:, None]
        h_BWD = self.over_time(torch.where(hidden_BWM, 0.0, shown_BWM), person_B)
        guess_BWM = self.leave(h_BWD) @ self.unmix_PRM[person_B, :, : shown_BWM.shape[-1]]
        error = (guess_BWM - shown_BWM).square()[hidden_BWM]
        truth = shown_BWM.square()[hidden_BWM]
        loss = error.sum() / max(1, error.numel())
        explained = 1 - error.detach().sum() / truth.sum().clamp_min(1e-9)
        return {"loss": loss, "explained": explained}

    def persons(self, batch: SignalBatch) -> Tensor:
        """Row of the mixing table of each window, (B,).

        Raises
        ------
        ContractError
            If somebody has no matrix, or more channels than a matrix has rows.
        """
        c = self.config
        n = batch.valid_BC.shape[1]
        if n > c.n_channels:
            raise ContractError(
                f"the batch has {n} channels, a matrix of this BandEncoder {c.n_channels}; "
                "raise n_channels and train again"
            )
        if not c.subjects:
            return torch.zeros(len(batch), dtype=torch.long, device=batch.valid_BC.device)
        if batch.subject_B is None:
            raise ContractError(
                "the batch does not say who was recorded (subject_B), and this BandEncoder has a "
                "matrix a person; read windows through brainfm.data"
            )
        known = torch.tensor([subject_id(s) for s in c.subjects], device=batch.subject_B.device)
        match_BP = batch.subject_B[:, None] == known
        if not bool(match_BP.any(1).all()):
            raise ContractError(
                f"somebody in this batch is none of the {len(known)} people that this BandEncoder "
                f"has a matrix of ({', '.join(c.subjects[:3])}, ...); name them in `subjects` and "
                "train their matrices"
            )
        return match_BP.long().argmax(1)


def filters(c: BandEncoderConfig) -> Tensor:
    """(2 bands + 1, 1, T): cosine and sine of each band's middle, and a low-pass, under Hann.

    Those of a band are as short as the band is wide, so that together they cover it.
    """
    t = (torch.arange(c.window, dtype=torch.float64) - (c.window - 1) / 2) / c.sfreq
    hann = torch.hann_window(c.window + 2, periodic=False, dtype=torch.float64)[1:-1]
    cos, sin = [], []
    for low, high in c.bands_hz:
        # A Hann window of L seconds passes about 2 / L Hz.
        width = min(1.0, 2.0 / (high - low) * c.sfreq / c.window)
        short = torch.where(t.abs() * 2 * c.sfreq / c.window <= width, 1.0, 0.0)
        weight = short * torch.cos(pi * t * c.sfreq / c.window / width).square()
        weight = weight / weight.sum() * 2**0.5
        middle = 2 * pi * (low + high) / 2 * t
        cos.append(weight * torch.cos(middle))
        sin.append(weight * torch.sin(middle))
    slow = hann * torch.sinc(2 * c.slow_hz * t)
    rows = [*cos, *sin, slow / slow.sum()]
    return torch.stack(rows).float()[:, None]
