"""SpectralCodec: our own codec for few bits; cosine transform, one step, and a learned guess.

Each channel's window is brought to unit size and cut into blocks of about a second, and each block
transformed (DCT-II). One step divides all coefficients before they are rounded. So far this is
classical transform coding. What is learned is what every integer probably is, from the ones a
decoder already has (`codecs.context`): lower frequencies, the two blocks before, and channels near
by. The better the guess, the fewer bits (`codecs.arithmetic`); it also tells where inside its cell
a coefficient probably lay, and which integers are not worth their bits. One set of weights serves
every step, hence every rate. The idea is that of learned image coding (arXiv 1802.01436, recalled).

Codes are the integers: sources are channels, steps are blocks, levels are frequencies. They have no
vocabulary, and no sum of their levels is a latent, so that token models do not take them.

Shapes: B windows, C channels, T samples, F blocks, K frequencies (T = F K), M coefficients of a
window, J neighbours, R references.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log2
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainfm.codecs import arithmetic
from brainfm.codecs.base import Codec
from brainfm.codecs.context import (
    N_BANDS,
    VALUE_GRID,
    ContextConfig,
    ContextModel,
    Guess,
    bits_of,
    rounded,
)
from brainfm.codecs.neighbours import Neighbours, geometry, neighbours_of
from brainfm.codecs.transform import block_of, cosines, placed, quantise
from brainfm.errors import ContractError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Codes, SignalBatch

CHUNK = 1 << 15
"""Coefficients that are guessed at a time; memory is a few hundred numbers each."""
FLATTEST = 2.0**-40
"""Size of a channel that does not move."""
GAIN_BITS, GAIN_ZERO = 8, 192
"""A channel's size, in half octaves below and above the batch's unit."""
USUAL, COARSE_SHARE = 2.0**-7, 0.75
"""Training draws so large a share of steps above this one."""
LOW_RATE, LEAST_BITS = 0.35, 0.02
"""A bit saved at a low rate is worth more decibels: about 1 + .35 / bits times as many."""


@dataclass(frozen=True)
class SpectralCodecConfig:
    """Sizes of a SpectralCodec and the rates it is trained for."""

    context: ContextConfig = field(default_factory=ContextConfig)
    block: int = 256
    """Samples of a block; a window takes the nearest length of which it is a multiple."""
    step: float = 0.25
    """Where none is asked for, in standard deviations of a channel's window."""
    finest: float = 2.0**-18
    coarsest: float = 8.0
    """Steps that training draws from; see `log_step`."""
    saving: float = 0.1155
    """Squared error (in cells) that a bit is worth when integers are chosen: 2 ln(2) / 12, what
    a bit saves at a high rate. 0: every coefficient is simply rounded."""
    rounding: float = 1 / 3
    """Added before a coefficient is rounded down: less than a half, because zeros are cheap."""
    sampled: int = 16384
    """Coefficients of a window that a training step guesses, at most."""

    def __post_init__(self) -> None:
        if not 0 < self.finest <= self.step <= self.coarsest:
            raise ValueError(
                f"step is {self.step}, finest {self.finest} and coarsest {self.coarsest}; they "
                "must be positive and step must lie between the other two"
            )
        if not 0 < self.rounding <= 0.5:
            raise ValueError(f"rounding is {self.rounding}; it must lie in (0, 0.5]")

    def log_step(self, share: Tensor) -> Tensor:
        """log2 of the step below which a share of training draws lies, that share from 0 to 1.

        Most draws are coarse, where statistics change with the step; below `USUAL` one step is
        much like another.
        """
        low, high = log2(self.finest), log2(self.coarsest)
        middle = min(max(log2(USUAL), low), high)
        rest = 1 - COARSE_SHARE if middle > low else 0.0
        fine = low + (middle - low) * share / max(rest, 1e-9)
        return torch.where(
            share < rest, fine, middle + (high - middle) * (share - rest) / (1 - rest)
        )

    hop: ClassVar[int] = 1
    """Windows of any length are coded whole."""


class SpectralForward(NamedTuple):
    """One training pass: scalars, and a picture's worth of signal."""

    bits: Tensor
    """Mean of a coefficient."""
    loss: Tensor
    inside: Tensor
    """Mean squared distance from the decoded place, in cells."""


class SpectralCodec(Codec):
    """A codec of any rate; `step` is chosen when it encodes.

    Parameters
    ----------
    config : SpectralCodecConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = SpectralCodecConfig
    per_channel: ClassVar[bool] = True

    def __init__(
        self, config: SpectralCodecConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        super().__init__(config or SpectralCodecConfig(), preprocess)
        self.context = ContextModel(self.config.context)
        # Bits a coefficient at each whole octave of steps, as training saw them; NaN: not yet.
        self.register_buffer("rate_N", torch.full((len(self._octaves()),), torch.nan))

    @property
    def rates(self) -> tuple[float, ...]:
        """Steps that show what the codec can do, coarse to fine."""
        c = self.config
        fine = [2.0 ** (k / 2) for k in range(12, -9, -1)] + [2.0**k for k in range(-5, -40, -1)]
        return tuple(s for s in fine if c.finest <= s <= c.coarsest)

    def encode(self, batch: SignalBatch, step: float | None = None) -> Codes:
        """Integers of each channel and block, at a step in units of the channel's deviation.

        Raises
        ------
        ContractError
            If the step is not one the codec was trained for.
        """
        step = self.checked(step)
        coefficient, half_BC = self._coefficients(batch)
        q_BCFK = quantise(coefficient, step, self.config.rounding)
        if self.config.saving:
            q_BCFK = self._cheaper(q_BCFK, coefficient / step, batch, step)
        return self.codes(q_BCFK, half_BC, step, batch)

    def codes(self, q_BCFK: Tensor, half_BC: Tensor, step: float, batch: SignalBatch) -> Codes:
        """Codes of integers, their channels' sizes (half octaves) and their step."""
        inside = torch.cat([g.inside for _, g in self.guesses(q_BCFK, batch, step)], 1)
        value = placed(q_BCFK, inside.double().unflatten(1, q_BCFK.shape[1:])) * step
        half_BC = torch.where(batch.valid_BC, half_BC, 0)
        size_BC11 = torch.where(batch.valid_BC, torch.exp2(half_BC.double() / 2), 0.0)[
            ..., None, None
        ]
        k = q_BCFK.shape[-1]
        start_W = torch.arange(q_BCFK.shape[2], dtype=torch.float64, device=value.device) * k
        return Codes(
            ids_BSWQ=q_BCFK.long(),
            latent_BSWD=value * size_BC11,
            time_W=start_W / batch.sfreq,
            duration_s=k / batch.sfreq,
            step=step,
            size_BS=half_BC.long(),
        )

    def decode(self, codes: Codes, batch: SignalBatch) -> Tensor:
        """Signal (B, C, T) in the units of `batch`."""
        x_BCFP = codes.latent_BSWD.double() @ cosines(codes.latent_BSWD.shape[-1]).to(
            codes.latent_BSWD.device
        )
        return x_BCFP.flatten(2).to(batch.signal_BCT.dtype)

    def code(self, batch: SignalBatch, step: float) -> tuple[Tensor, NDArray[np.float64]]:
        """Reconstruction (B, C, T), and the bits of each window (B,), without writing them.

        The length is that of `pack`, less what a range coder adds once a file.
        """
        codes = self.encode(batch, step)
        q_BM = codes.ids_BSWQ.flatten(1).cpu().numpy()
        valid_BM = np.repeat(
            batch.valid_BC.cpu().numpy(), q_BM.shape[1] // batch.valid_BC.shape[1], 1
        )
        bits_B = GAIN_BITS * batch.valid_BC.sum(1).double().cpu().numpy()
        for some, guess in self.guesses(codes.ids_BSWQ, batch, self.checked(step), exact=True):
            q = q_BM[:, some.numpy()]
            made = arithmetic.take_apart(q.reshape(-1), arithmetic.place(guess))
            length = arithmetic.length_bits(made).reshape(q.shape)
            bits_B += np.where(valid_BM[:, some.numpy()], length, 0.0).sum(1)
        return self.decode(codes, batch), bits_B

    def bits_per_second(self, sfreq: float, step: float | None = None) -> float:
        """Rate of one channel, as training data had it at this step; NaN before training."""
        rate_N, octave_N = self.rate_N.cpu().numpy(), np.array(self._octaves())
        known = np.isfinite(rate_N)
        if not known.any():
            return float("nan")
        where = log2(self.checked(step))
        return float(np.interp(where, octave_N[known], rate_N[known])) * sfreq

    @property
    def n_levels(self) -> int:
        """One: another rate is another `step`, not fewer levels."""
        return 1

    def lookup(self, ids_BSWQ: Tensor) -> Tensor:
        raise ContractError(
            "integers of a SpectralCodec mean nothing without their step and their neighbours; "
            "decode them with the codec"
        )

    def keep_levels(self, codes: Codes, n: int) -> Codes:
        if n == 1:
            return codes
        raise ContractError("a SpectralCodec has no levels to drop; encode with a larger step")

    def pack(self, codes: Codes, batch: SignalBatch) -> bytes:
        """Codes as bytes; see `codecs.spectral_bytes.pack`."""
        from brainfm.codecs.spectral_bytes import pack

        return pack(self, codes, batch)

    def unpack(self, content: bytes, batch: SignalBatch) -> Codes:
        """Codes of such bytes; see `codecs.spectral_bytes.unpack`."""
        from brainfm.codecs.spectral_bytes import unpack

        return unpack(self, content, batch)

    def training_forward(
        self, batch: SignalBatch, *, generator: torch.Generator | None = None
    ) -> SpectralForward:
        """Bits of some coefficients of each window, at a step of its own.

        Parameters
        ----------
        batch : SignalBatch
        generator : of steps and of the coefficients looked at; default: torch's global one
        """
        c = self.config
        coefficient, _ = self._coefficients(batch)
        b, device = len(batch), coefficient.device
        where = generator.device if generator is not None else torch.device("cpu")
        drawn_B = torch.rand(b, generator=generator, device=where).to(device)
        log_step_B = torch.as_tensor(c.log_step(drawn_B))
        step_B111 = torch.exp2(log_step_B.double())[:, None, None, None]
        q_BCFK = quantise(coefficient, step_B111, c.rounding)
        box = self.neighbours(batch, q_BCFK.shape)
        some = torch.randperm(len(box), generator=generator, device=where)[: c.sampled].cpu()
        guess = self.guess(box, q_BCFK, batch, log_step_B, some)
        q_BM = q_BCFK.flatten(1)[:, some.to(device)]
        valid_BM = batch.valid_BC[:, (some // (len(box) // len(batch.valid_BC[0]))).to(device)]
        seen_B = valid_BM.sum(1).clamp_min(1)
        bits_BM = torch.where(valid_BM, bits_of(q_BM, guess), 0.0)
        bits_B = bits_BM.sum(1) / seen_B
        true_BM = (coefficient / step_B111).flatten(1)[:, some.to(device)]
        # Of a large integer, single precision would keep no fraction.
        away_BM = ((true_BM - q_BM) - (placed(q_BM, guess.inside.double()) - q_BM)).float()
        inside = (torch.where(valid_BM, away_BM.square(), 0.0).sum(1) / seen_B).mean()
        self._remember(log_step_B, bits_B.detach())
        loss = (bits_B + LOW_RATE * torch.log(bits_B + LEAST_BITS)).mean() + inside
        return SpectralForward(bits_B.mean(), loss, inside)

    def forward(self, batch: SignalBatch) -> SpectralForward:
        return self.training_forward(batch)

    def neighbours(self, batch: SignalBatch, shape: torch.Size) -> Neighbours:
        """Order and neighbours of a window's (.., C, F, K) coefficients."""
        pos_C3 = np.ascontiguousarray(batch.pos_BC3[0].float().cpu().numpy())
        usable_C = batch.valid_BC.any(0).cpu().numpy()
        n = self.config.context.n_references
        return neighbours_of(pos_C3.tobytes(), usable_C.tobytes(), n, *shape[2:])

    def guess(
        self,
        box: Neighbours,
        q_BCFK: Tensor,
        batch: SignalBatch,
        log_step_B: Tensor,
        some: Tensor,
        exact: bool = False,
    ) -> Guess:
        """Guess the coefficients `some` (m,) of every window from those around them: (B, m)."""
        device = q_BCFK.device
        padded = box.pad(q_BCFK)
        near = padded[:, box.index_MJ[some].to(device)]
        return self.guess_near(near, box, batch, log_step_B, some, exact)

    def guess_near(
        self,
        near: Tensor,
        box: Neighbours,
        batch: SignalBatch,
        log_step_B: Tensor,
        some: Tensor,
        exact: bool = False,
    ) -> Guess:
        """The same from neighbours (B, m, J) that were looked up."""
        n_channels, n_blocks, k = box.shape
        dtype = torch.float64 if exact else torch.float32
        geometry_CX = geometry(batch.pos_BC3[0], box.reference_CR).to(near.device, dtype)
        shape = near.shape[:2]
        geometry_MX = geometry_CX[some.to(near.device) // (n_blocks * k)].expand(*shape, -1)
        band_M = ((some % k) * N_BANDS // k).to(near.device)
        log_step = rounded(log_step_B.to(near.device, dtype), VALUE_GRID)[:, None].expand(shape)
        return self.context(near.to(dtype), geometry_MX, band_M.expand(shape), log_step, exact)

    @torch.no_grad()
    def guesses(
        self, q_BCFK: Tensor, batch: SignalBatch, step: float, exact: bool = False
    ) -> Iterator[tuple[Tensor, Guess]]:
        """(numbers of coefficients, guess) in parts, all coefficients of the windows in the end."""
        box = self.neighbours(batch, q_BCFK.shape)
        log_step_B = torch.full((len(q_BCFK),), log2(step), dtype=torch.float64)
        q = q_BCFK.cpu().double() if exact else q_BCFK
        for some in torch.arange(len(box)).split(max(1, CHUNK // max(1, len(q)))):
            yield some, self.guess(box, q, batch, log_step_B, some, exact)

    def checked(self, step: float | None) -> float:
        """The step asked for, or the configured one."""
        c = self.config
        step = c.step if step is None else float(step)
        if not c.finest <= step <= c.coarsest:
            raise ContractError(
                f"step is {step:g}; this SpectralCodec was trained for {c.finest:g} to "
                f"{c.coarsest:g} standard deviations of a channel's window"
            )
        return step

    def _coefficients(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Coefficients (B, C, F, K) of unit channels, and their sizes in half octaves."""
        x_BCT = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0).double()
        size_BC = x_BCT.std(-1, correction=0).clamp_min(FLATTEST)
        half_BC = (2 * torch.log2(size_BC)).round().clamp(-GAIN_ZERO, 2**GAIN_BITS - 1 - GAIN_ZERO)
        x_BCT = x_BCT * torch.exp2(-half_BC / 2)[..., None]
        k = block_of(x_BCT.shape[-1], self.config.block)
        return x_BCT.unflatten(-1, (-1, k)) @ cosines(k).T.to(x_BCT.device), half_BC

    def _cheaper(
        self, q_BCFK: Tensor, true_BCFK: Tensor, batch: SignalBatch, step: float
    ) -> Tensor:
        """Integers, some of them one nearer to zero where the bits saved are worth the error.

        Each is judged as if its neighbours stayed; they are context of others too, which is
        left aside.
        """
        true_BM, q_BM = true_BCFK.flatten(1), q_BCFK.flatten(1)
        out = q_BM.clone()
        for some, guess in self.guesses(q_BCFK, batch, step):
            q = q_BM[:, some]
            less = q - q.sign()
            cost = [
                (true_BM[:, some] - placed(n, guess.inside.double())).square()
                + self.config.saving * bits_of(n, guess)
                for n in (q, less)
            ]
            out[:, some] = torch.where(cost[1] < cost[0], less, q)
        return out.view_as(q_BCFK)

    @torch.no_grad()
    def _remember(self, log_step_B: Tensor, bits_B: Tensor) -> None:
        if not self.training:
            return
        first = self._octaves()[0]
        for log_step, bits in zip(log_step_B.tolist(), bits_B.tolist(), strict=True):
            n = round(log_step) - first
            old = float(self.rate_N[n])
            self.rate_N[n] = bits if old != old else old + 0.02 * (bits - old)

    def _octaves(self) -> list[int]:
        c = self.config
        return list(range(int(np.floor(log2(c.finest))), int(np.ceil(log2(c.coarsest))) + 1))
