"""SpectralCodec: our own codec for few bits; cosine transform, one step, and a learned guess.

Each channel's window is brought to unit size and cut into blocks of a second or, where that costs
less (spikes, bursts), shorter ones, and each block is transformed (DCT-II). One step divides all
coefficients before they are rounded. So far this is classical transform coding. What is learned is
what every integer probably is, from the ones a decoder already has (`codecs.context`): lower
frequencies, the two blocks before, and channels near by. The better the guess, the fewer bits
(`codecs.arithmetic`); it also tells where inside its cell a coefficient probably lay, and which
integers are not worth their bits. One set of weights serves every step, hence every rate, and every
length of blocks. The idea is that of learned image coding (arXiv 1802.01436, recalled).

Codes are the integers: sources are channels, steps are blocks, levels are frequencies. They have no
vocabulary, and no sum of their levels is a latent, so that token models do not take them.

Shapes: B windows, C channels, T samples, F blocks, K frequencies (T = F K), M coefficients of a
window, J neighbours, R references.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log, log2
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainfm.codecs import arithmetic, spectral_bytes
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
from brainfm.codecs.spectral_bytes import SpectralCodes, groups, required, windows_of
from brainfm.codecs.transform import cosines, lengths_of, placed, quantise, transformed
from brainfm.errors import ContractError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Codes, SignalBatch

CHUNK = 1 << 15
"""Coefficients that are guessed at a time; memory is a few hundred numbers each."""
FLATTEST = 2.0**-40
"""Size of a channel that is zero."""
OF_OFFSET = 2.0**-14
"""A channel's size is at least so large a share of its mean: integers of one that does not move
stay so small that sums of them are exact, and a usual step still tells four digits."""
LENGTH_BITS = 8
"""A window's length of blocks."""
GAIN_BITS, GAIN_ZERO = 8, 192
"""A channel's size, in half octaves below and above the batch's unit."""
USUAL, COARSE_SHARE = 2.0**-3, 0.75
"""Training draws so large a share of steps above this one."""
LONGEST_SHARE = 0.5
"""Training draws so many batches with the longest blocks, the others with shorter ones."""
BIT_WORTH = 2 * log(2) / 12
"""Squared error, in cells, that a bit saves at a high rate."""
LOW_RATE, LEAST_BITS = 0.35, 0.02
"""A bit saved at a low rate is worth more decibels: about 1 + .35 / bits times as many."""


@dataclass(frozen=True)
class SpectralCodecConfig:
    """Sizes of a SpectralCodec and the rates it is trained for."""

    context: ContextConfig = field(default_factory=ContextConfig)
    block: int = 256
    """Samples of the longest block; a window takes the nearest length of which it is a multiple."""
    shortest: int = 32
    """Blocks are halved down to this, whatever codes the batch best; `block`: never."""
    step: float = 0.25
    """Where none is asked for, in standard deviations of a channel's window."""
    finest: float = 2.0**-18
    coarsest: float = 8.0
    """Steps that training draws from; see `log_step`."""
    saving: float = 0.15
    """Squared error (in cells) that a bit is worth when integers are chosen; at low rates more than
    the .1155 of high ones. 0: every coefficient is simply rounded."""
    rounding: float = 1 / 3
    """Added before a coefficient is rounded down, in training and where nothing is chosen: less
    than a half, because zeros are cheap."""
    sampled: int = 16384
    """Coefficients of a window that a training step guesses, at most."""

    def __post_init__(self) -> None:
        if not 0 < self.finest <= self.step <= self.coarsest:
            raise ValueError(
                f"step is {self.step}, finest {self.finest} and coarsest {self.coarsest}; they "
                "must be positive and step must lie between the other two"
            )
        if not 1 <= self.shortest <= self.block:
            raise ValueError(
                f"shortest is {self.shortest}; it must lie from 1 to block {self.block}"
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

    def encode(self, batch: SignalBatch, step: float | None = None) -> SpectralCodes:
        """Integers of each channel and block, at a step in units of the channel's deviation.

        Each window is cut into blocks of the length that codes it best.

        Raises
        ------
        ContractError
            If the step is not one the codec was trained for.
        """
        step = self.checked(step)
        x_BCT, half_BC = self._unit(batch)
        lengths = self._lengths(batch)
        shape = (*x_BCT.shape[:2], -1, lengths[0])
        length_B = torch.full((len(batch),), lengths[0])
        q_BCFK, least_B = self._chosen(transformed(x_BCT, lengths[0]), batch, step)
        for k in lengths[1:]:
            other_BCFK, cost_B = self._chosen(transformed(x_BCT, k), batch, step)
            better_B = cost_B < least_B
            if not better_B.any():
                break  # longer blocks were better everywhere: still shorter ones are left out
            q_BCFK[better_B] = other_BCFK.view(shape)[better_B]
            length_B[better_B] = k
            least_B = torch.minimum(least_B, cost_B)
        if self.config.saving:  # once more, now that the neighbours are nearly known
            for rows, k in groups(length_B):
                true, part = transformed(x_BCT[rows], k), windows_of(batch, rows)
                again, _ = self._chosen(true, part, step, q_BCFK[rows].view(true.shape))
                q_BCFK[rows] = again.view(q_BCFK[rows].shape)
        return self.codes(q_BCFK, length_B, half_BC, step, batch)

    def codes(
        self, q_BCFK: Tensor, length_B: Tensor, half_BC: Tensor, step: float, batch: SignalBatch
    ) -> SpectralCodes:
        """Codes of integers, their blocks, their channels' sizes (half octaves) and their step."""
        value = torch.empty_like(q_BCFK, dtype=torch.float64)
        for rows, k in groups(length_B):
            q = q_BCFK[rows].flatten(2).unflatten(2, (-1, k))
            made = self.guesses(q, windows_of(batch, rows), step)
            inside = torch.cat([g.inside for _, g in made], 1).double()
            value[rows] = (placed(q, inside.unflatten(1, q.shape[1:])) * step).view(
                value[rows].shape
            )
        half_BC = torch.where(batch.valid_BC, half_BC, 0)
        size_BC = torch.where(batch.valid_BC, torch.exp2(half_BC.double() / 2), 0.0)
        k = q_BCFK.shape[-1]
        start_W = torch.arange(q_BCFK.shape[2], dtype=torch.float64, device=value.device) * k
        return SpectralCodes(
            ids_BSWQ=q_BCFK.long(),
            latent_BSWD=value * size_BC[..., None, None],
            time_W=start_W / batch.sfreq,
            duration_s=k / batch.sfreq,
            step=step,
            size_BS=half_BC.long(),
            length_B=length_B,
        )

    def decode(self, codes: Codes, batch: SignalBatch) -> Tensor:
        """Signal (B, C, T) in the units of `batch`.

        Raises
        ------
        ContractError
            If the codes are not of a SpectralCodec.
        """
        codes = required(codes)
        x_BCT = codes.latent_BSWD.double().flatten(2)
        for rows, k in groups(codes.length_B):
            x_BCFP = x_BCT[rows].unflatten(2, (-1, k)) @ cosines(k).to(x_BCT.device)
            x_BCT[rows] = x_BCFP.flatten(2)
        return x_BCT.to(batch.signal_BCT.dtype)

    def code(self, batch: SignalBatch, step: float) -> tuple[Tensor, NDArray[np.float64]]:
        """Reconstruction (B, C, T), and the bits of each window (B,), without writing them.

        The length is that of `pack`, less what a range coder adds once a file.
        """
        codes = self.encode(batch, step)
        bits_B = LENGTH_BITS + GAIN_BITS * batch.valid_BC.sum(1).double().cpu().numpy()
        for rows, k in groups(codes.length_B):
            part = windows_of(batch, rows)
            q_BCFK = codes.ids_BSWQ[rows].flatten(2).unflatten(2, (-1, k))
            q_BM = q_BCFK.flatten(1).cpu().numpy()
            valid_BM = np.repeat(part.valid_BC.cpu().numpy(), q_BM.shape[1] // q_BCFK.shape[1], 1)
            for some, guess in self.guesses(q_BCFK, part, self.checked(step), exact=True):
                q = q_BM[:, some.numpy()]
                made = arithmetic.take_apart(q.reshape(-1), arithmetic.place(guess))
                length = arithmetic.length_bits(made).reshape(q.shape)
                bits_B[rows.numpy()] += np.where(valid_BM[:, some.numpy()], length, 0.0).sum(1)
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
        return spectral_bytes.pack(self, codes, batch)

    def unpack(self, content: bytes, batch: SignalBatch) -> Codes:
        """Codes of such bytes; see `codecs.spectral_bytes.unpack`."""
        return spectral_bytes.unpack(self, content, batch)

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
        x_BCT, _ = self._unit(batch)
        b, device = len(batch), x_BCT.device
        where = generator.device if generator is not None else torch.device("cpu")
        longest, *shorter = self._lengths(batch)
        share = float(torch.rand((), generator=generator, device=where))
        past = (share - LONGEST_SHARE) / (1 - LONGEST_SHARE)
        k = longest if past < 0 or not shorter else shorter[int(past * len(shorter))]
        coefficient = transformed(x_BCT, k)
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
        if k == longest:
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
        log_block = torch.full(shape, log2(k / self.config.block), dtype=dtype, device=near.device)
        setting = (log_step, rounded(log_block, VALUE_GRID))
        return self.context(near.to(dtype), geometry_MX, band_M.expand(shape), *setting, exact)

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

    def _lengths(self, batch: SignalBatch) -> list[int]:
        """Blocks that windows of the batch may be cut into, long to short."""
        c = self.config
        return lengths_of(batch.signal_BCT.shape[-1], c.block, c.shortest)

    def _unit(self, batch: SignalBatch) -> tuple[Tensor, Tensor]:
        """Signal (B, C, T) of unit channels, and their sizes in half octaves."""
        x_BCT = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0).double()
        size_BC = torch.maximum(x_BCT.std(-1, correction=0), OF_OFFSET * x_BCT.mean(-1).abs())
        half_BC = (2 * torch.log2(size_BC.clamp_min(FLATTEST))).round()
        half_BC = half_BC.clamp(-GAIN_ZERO, 2**GAIN_BITS - 1 - GAIN_ZERO)
        return x_BCT * torch.exp2(-half_BC / 2)[..., None], half_BC

    def _chosen(
        self, true_BCFK: Tensor, batch: SignalBatch, step: float, around: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The nearest integers, or those one nearer to zero where the bits are worth the error.

        Each is judged as if its neighbours were those of `around` (default: the nearest integers);
        that it is context of others too is left aside.

        Returns
        -------
        integers (B, C, F, K), and each window's squared error (in cells) with its bits' worth (B,)
        """
        c, total_B = self.config, torch.zeros(len(batch), dtype=torch.float64)
        q_BCFK = quantise(true_BCFK, step, 0.5 if c.saving else c.rounding)
        true_BM, q_BM = (true_BCFK / step).flatten(1), q_BCFK.flatten(1)
        valid_BM = batch.valid_BC.repeat_interleave(q_BM.shape[1] // q_BCFK.shape[1], 1)
        out = q_BM.clone()
        for some, guess in self.guesses(q_BCFK if around is None else around, batch, step):
            q = q_BM[:, some]
            less = q - q.sign()
            plain, cheap = (
                (true_BM[:, some] - placed(n, guess.inside.double())).square()
                + (c.saving or BIT_WORTH) * bits_of(n, guess)
                for n in (q, less)
            )
            if c.saving:
                out[:, some] = torch.where(cheap < plain, less, q)
                plain = torch.minimum(plain, cheap)
            total_B += torch.where(valid_BM[:, some], plain, 0.0).sum(1).double().cpu()
        return out.view_as(q_BCFK), total_B

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
