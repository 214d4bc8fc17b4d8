"""What codecs of single channels share: a batch taken apart into channels and put together again.

Each channel is coded as if it were alone, so that one codec serves any montage, and sources are
channels (S is C).

Shapes: B batch, C channels, T samples, M single channels (B C of them, or the valid ones), F steps,
D width, Q levels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import log2
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from brainfm.codecs.base import Codec, CodecForward
from brainfm.codecs.quantize import Quantized
from brainfm.types import Codes, SignalBatch

if TYPE_CHECKING:
    from brainfm.codecs.stream import CodeStream


class ChannelCodec(Codec, ABC):
    """A codec that sees one channel at a time.

    Its configuration has `hop` (samples a step covers), `n_quantizers` and `codebook_size`.
    """

    per_channel: ClassVar[bool] = True
    gain: float = 1.0
    """What signals are multiplied by on their way in, and divided by on their way out."""

    @abstractmethod
    def code_channels(self, x_MT: Tensor, n_levels: int | None = None) -> Quantized:
        """Codes of single channels: latent (M, F, D), ids (M, F, Q); nothing is trained."""

    @abstractmethod
    def quantise_steps(self, h_MFD: Tensor, x_MT: Tensor, n_levels: int | None = None) -> Quantized:
        """Codes of the encoder's features and the samples of the same steps; nothing is trained."""

    @abstractmethod
    def decode_channels(self, q_MFD: Tensor) -> Tensor:
        """Signals (M, F hop) of latents; the last step may reach past the input."""

    @abstractmethod
    def train_channels(
        self, x_MT: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Quantized]:
        """One training pass: (M, T) reconstruction, and what was coded."""

    def _signal(self, batch: SignalBatch) -> Tensor:
        """(B, C, T) as the codec sees it; an invalid channel is flat."""
        return torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0) * self.gain

    def encode(self, batch: SignalBatch, n_levels: int | None = None) -> Codes:
        """Codes of each channel; never trains the codec.

        Parameters
        ----------
        batch : SignalBatch
        n_levels : stop after so many levels; default: all

        Raises
        ------
        ContractError
            If there are codebooks that were never initialised.
        """
        x_BCT = self._signal(batch)
        q = self.code_channels(x_BCT.flatten(0, 1), n_levels)
        hop, shape = self.config.hop, x_BCT.shape[:2]
        start_W = torch.arange(q.ids.shape[1], dtype=torch.float64, device=x_BCT.device) * hop
        return Codes(
            ids_BSWQ=q.ids.unflatten(0, shape),
            latent_BSWD=q.latent.unflatten(0, shape),
            time_W=start_W / batch.sfreq,
            duration_s=hop / batch.sfreq,
        )

    def decode(self, codes: Codes, batch: SignalBatch) -> Tensor:
        """Signal (B, C, T) in the units of `batch`, as long as it."""
        x_MT = self.decode_channels(codes.latent_BSWD.flatten(0, 1)) / self.gain
        x_BCT = x_MT.unflatten(0, codes.latent_BSWD.shape[:2])
        return x_BCT[..., : batch.signal_BCT.shape[-1]]

    def stream(
        self, like: SignalBatch, window: int | None = None, n_levels: int | None = None
    ) -> CodeStream:
        """Codes of a signal as it comes, step by step and equal to those of the whole signal.

        Parameters
        ----------
        like : batch of one window with the sensors of the stream
        window : samples, to begin anew with each window instead; default: go on
        n_levels : stop after so many levels; default: all
        """
        from brainfm.codecs.stream import ChannelStream

        if window is not None:
            return super().stream(like, window)
        return ChannelStream(self, like, n_levels)

    def bits_per_second(self, sfreq: float, n_levels: int | None = None) -> float:
        """Nominal rate of one channel, with all levels or the first `n_levels`."""
        c = self.config
        return (n_levels or c.n_quantizers) * log2(c.codebook_size) * sfreq / c.hop

    def training_forward(
        self, batch: SignalBatch, *, generator: torch.Generator | None = None
    ) -> CodecForward:
        """Reconstruct the valid channels; codebooks, if any, follow them in training mode.

        Parameters
        ----------
        batch : SignalBatch
        generator : of what is drawn; default: torch's global one

        Returns
        -------
        CodecForward of one window (N is 1); invalid channels hold zeros
        """
        valid = batch.valid_BC if bool(batch.valid_BC.any()) else torch.ones_like(batch.valid_BC)
        x_BCT = self._signal(batch)
        rec_MT, q = self.train_channels(x_BCT[valid], generator)
        rec_BCT = torch.zeros_like(x_BCT, dtype=rec_MT.dtype)
        rec_BCT[valid] = rec_MT
        ids = q.ids.new_zeros(*valid.shape, *q.ids.shape[1:])
        ids[valid] = q.ids
        return CodecForward(rec_BCT[:, :, None], x_BCT[:, :, None], q.commit, ids, batch.valid_BC)

    def forward(self, batch: SignalBatch) -> CodecForward:
        return self.training_forward(batch)
