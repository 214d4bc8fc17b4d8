"""Codes of a signal that is still running: samples in, codes out as soon as they are certain.

A stream sees samples as its codec does, normalised. What it gives are the codes that `Codec.encode`
gives for the same samples: of each window alone (`WindowStream`), or of the whole signal
(`ChannelStream`), whose network goes on from sample to sample.

Shapes: C channels, T samples, P samples in a window, F steps, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.nn.seanet_stream import SEANetStream
from brainfm.types import Codes, SignalBatch

if TYPE_CHECKING:
    from brainfm.codecs.base import Codec
    from brainfm.codecs.channelwise import ChannelCodec


class CodeStream(ABC):
    """Codes of one recording, piece by piece; `time_W` counts from its first sample.

    Made under `torch.autocast`, it codes in that precision wherever samples are pushed.

    Parameters
    ----------
    codec : is copied; training it further does not change the stream
    like : batch of one window with the sensors of the stream

    Attributes
    ----------
    latency_s : from the first sample of a code to the last one it depends on
    """

    latency_s: float

    def __init__(self, codec: Codec, like: SignalBatch) -> None:
        if len(like) != 1:
            raise ContractError(
                f"a stream is one recording; its batch has {len(like)} windows, give one of them"
            )
        kind = like.x_BCWP.device.type
        half = {"enabled": torch.is_autocast_enabled(kind), "dtype": torch.get_autocast_dtype(kind)}
        self._precision = lambda: torch.autocast(kind, **half)
        self.codec = codec.frozen()
        self.like = like
        self.n_samples = 0
        """Samples that came in."""
        self._ended = False

    def push(self, x_CT: Tensor) -> list[Codes]:
        """Codes that these samples complete, in order; often none.

        Raises
        ------
        ContractError
            If the channels are not those of the stream, or it has ended.
        """
        c = self.like.valid_BC.shape[1]
        if x_CT.ndim != 2 or x_CT.shape[0] != c:
            raise ContractError(
                f"the stream has {c} channels, these samples have shape {tuple(x_CT.shape)}; give "
                "(channels, samples)"
            )
        if self._ended:
            raise ContractError("the stream has ended; begin another one")
        self.n_samples += x_CT.shape[1]
        with torch.inference_mode(), self._precision():
            return self._push(x_CT.to(self.like.x_BCWP.device, torch.float32))

    def flush(self) -> list[Codes]:
        """The rest, as `encode` codes the end of a signal; afterwards the stream has ended."""
        if self._ended:
            return []
        self._ended = True
        with torch.inference_mode(), self._precision():
            return self._flush()

    @abstractmethod
    def _push(self, x_CT: Tensor) -> list[Codes]: ...

    @abstractmethod
    def _flush(self) -> list[Codes]: ...


class WindowStream(CodeStream):
    """Each window alone, as a batch of this one window is coded.

    What is left at the end is coded as a signal that is shorter than a window.
    """

    def __init__(self, codec: Codec, like: SignalBatch, window: int | None = None) -> None:
        super().__init__(codec, like)
        own = getattr(codec.config, "window", None)
        self.window = window or own or like.signal_BCT.shape[-1]
        if own and self.window % own:
            raise ContractError(
                f"a window of {self.window} samples is no multiple of the codec's own {own}"
            )
        self.latency_s = self.window / like.sfreq
        self._kept = torch.zeros(like.valid_BC.shape[1], 0, device=like.x_BCWP.device)
        self._done = 0
        with torch.inference_mode(), self._precision():
            self._constants = self.codec.constants(like)

    def _push(self, x_CT: Tensor) -> list[Codes]:
        kept = torch.cat((self._kept, x_CT), 1)
        whole = kept.shape[1] // self.window * self.window
        # A copy: a view would keep every sample of the last piece alive.
        self._kept = kept[:, whole:].clone()
        return [self._code(x_CP) for x_CP in kept[:, :whole].split(self.window, 1) if whole]

    def _flush(self) -> list[Codes]:
        return [self._code(self._kept)] if self._kept.shape[1] else []

    def _code(self, x_CP: Tensor) -> Codes:
        batch = replace(self.like, x_BCWP=x_CP[None, :, None])
        codes = self.codec.encode(batch, **self._constants)
        time_W = codes.time_W + self._done / self.like.sfreq
        self._done += x_CP.shape[1]
        return replace(codes, time_W=time_W)


class ChannelStream(CodeStream):
    """A codec of single channels whose SEANet goes on from sample to sample.

    Equal to `encode` of the whole signal. A causal codec gives a step as soon as its samples are
    there; another one looks ahead by as much as its convolutions do, `look_ahead_s`.
    """

    def __init__(self, codec: ChannelCodec, like: SignalBatch, n_levels: int | None = None) -> None:
        super().__init__(codec, like)
        self.n_levels = n_levels
        self._network = SEANetStream(self.codec.encoder)
        hop = codec.config.hop
        self.latency_s = self._network.reach / like.sfreq
        self.look_ahead_s = (self._network.reach - hop) / like.sfreq
        self._kept = torch.zeros(like.valid_BC.shape[1], 0, device=like.x_BCWP.device)
        self._steps = 0

    def _push(self, x_CT: Tensor) -> list[Codes]:
        x_CT = torch.where(self.like.valid_BC[0, :, None], x_CT, 0.0) * self.codec.gain
        # Quantisers may want the samples of a step beside its features.
        self._kept = torch.cat((self._kept, x_CT), 1)
        return self._code(self._network.push(x_CT[..., None]))

    def _flush(self) -> list[Codes]:
        return self._code(self._network.flush()) if self.n_samples else []

    def _code(self, h_CFD: Tensor) -> list[Codes]:
        n, hop, sfreq = h_CFD.shape[1], self.codec.config.hop, self.like.sfreq
        if n == 0:
            return []
        q = self.codec.quantise_steps(h_CFD, self._kept[:, : n * hop], self.n_levels)
        self._kept = self._kept[:, n * hop :].clone()
        steps = torch.arange(self._steps, self._steps + n, dtype=torch.float64)
        self._steps += n
        time_W = steps.to(h_CFD.device) * hop / sfreq
        return [Codes(q.ids[None], q.latent[None], time_W, hop / sfreq)]
