"""What every neural codec can do: encode to codes, decode, say its bit rate.

Shapes: B batch, C channels, T samples, S latent sources, W steps, Q levels, D width.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from abc import abstractmethod
from dataclasses import asdict, replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from brainfm.codecs.bits import pack_ids, unpack_ids
from brainfm.errors import ContractError
from brainfm.hub import BrainModel
from brainfm.types import Codes, SignalBatch

if TYPE_CHECKING:
    from brainfm.codecs.stream import CodeStream

_HEAD = struct.Struct("<4Id")
"""Shape (B, S, W, Q) and seconds a code, before packed ids."""


class CodecForward(NamedTuple):
    """One training pass: what a `CodecLoss` and pictures need.

    rec_BCNP and target_BCNP (z-scored), commit (scalar), ids_BSWQ, valid_BC, in the (permuted)
    channel order of the pass.
    """

    rec_BCNP: Tensor
    target_BCNP: Tensor
    commit: Tensor
    ids_BSWQ: Tensor
    valid_BC: Tensor


class Codec(BrainModel):
    """A waveform codec: signal to discrete codes and back.

    Codecs with residual levels hold them in `self.quantizer.levels`, coarse to fine; dropping
    the last ones lowers the rate.
    """

    per_channel: ClassVar[bool] = False
    """True: every channel is coded alone, so that sources are channels (S is C)."""

    @abstractmethod
    def encode(self, batch: SignalBatch) -> Codes:
        """Codes of each window; never changes the codec."""

    @abstractmethod
    def decode(self, codes: Codes, batch: SignalBatch) -> Tensor:
        """Signal (B, C, T) at the sensors of `batch`, whose samples are not looked at."""

    def reconstruct(self, batch: SignalBatch) -> Tensor:
        """Encode and decode: (B, C, T')."""
        return self.decode(self.encode(batch), batch)

    @abstractmethod
    def bits_per_second(self, sfreq: float) -> float:
        """Nominal rate of one recording, all channels together; of one channel if `per_channel`."""

    @property
    def n_levels(self) -> int:
        """Residual levels that `encode` gives."""
        return len(self.quantizer.levels)

    def lookup(self, ids_BSWQ: Tensor) -> Tensor:
        """Latents (B, S, W, D) that ids stand for, such as stored ones; Q may be fewer levels."""
        return self.quantizer.lookup(ids_BSWQ)

    def keep_levels(self, codes: Codes, n: int) -> Codes:
        """The first `n` levels of `codes`: the same recording at a lower rate.

        Raises
        ------
        ContractError
            If the codes do not hold so many levels.
        """
        have = codes.ids_BSWQ.shape[-1]
        if not 1 <= n <= have:
            raise ContractError(f"{n} levels were asked for; these codes hold 1 to {have}")
        ids = codes.ids_BSWQ[..., :n]
        return replace(codes, ids_BSWQ=ids, latent_BSWD=self.lookup(ids))

    # Codes that leave the process.

    def fingerprint(self) -> str:
        """Hash of everything that codes depend on: class, sizes, contract and weights."""
        words = [type(self).__name__, asdict(self.config), self.preprocess.to_dict()]
        h = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            h.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            h.update(value.detach().cpu().contiguous().numpy().tobytes())
        return h.hexdigest()

    def pack(self, codes: Codes, batch: SignalBatch) -> bytes:
        """Codes as bytes: log2 of the codebook's size, rounded up, for each id.

        Parameters
        ----------
        codes : of `encode`, whose codes follow each other without overlap
        batch : that they are of, for codecs that need its sensors; its samples are not looked at
        """
        ids = codes.ids_BSWQ.cpu().numpy()
        head = _HEAD.pack(*ids.shape, codes.duration_s)
        return head + pack_ids(ids, self.config.codebook_size)

    def unpack(self, content: bytes, batch: SignalBatch) -> Codes:
        """Inverse of `pack`, on the device of the codec.

        Raises
        ------
        ContractError
            If the bytes are something else, damaged, or of another number of windows.
        """
        if len(content) < _HEAD.size:
            raise ContractError("these codes were cut off; write them again")
        *shape, duration_s = _HEAD.unpack_from(content)
        if shape[0] != len(batch):
            raise ContractError(f"these codes are of {shape[0]} windows, not of {len(batch)}")
        try:
            ids = unpack_ids(content[_HEAD.size :], prod(shape), self.config.codebook_size)
        except ValueError as e:
            raise ContractError(f"these codes are damaged ({e}); write them again") from e
        ids_BSWQ = torch.from_numpy(ids).view(*shape).to(batch.x_BCWP.device)
        time_W = torch.arange(shape[2], dtype=torch.float64, device=ids_BSWQ.device) * duration_s
        return Codes(ids_BSWQ, self.lookup(ids_BSWQ), time_W, duration_s)

    # Signals that do not end.

    def stream(self, like: SignalBatch, window: int | None = None) -> CodeStream:
        """Codes of a signal as it comes, in memory that does not grow.

        Here: window by window, each coded as `encode` codes it alone.

        Parameters
        ----------
        like : batch of one window, whose sensors, validity and rate those of the stream are; its
            samples are not looked at
        window : samples; default: the codec's own
        """
        from brainfm.codecs.stream import WindowStream

        return WindowStream(self, like, window)

    def constants(self, like: SignalBatch) -> dict[str, Tensor]:
        """Arguments of `encode` that depend on the sensors of `like` alone; a stream keeps them."""
        return {}

    def frozen(self) -> Self:
        """A copy for inference alone, its weights laid out once; they must not change.

        Made under `torch.autocast`, it must also run there.
        """
        twin = copy.deepcopy(self).eval().requires_grad_(False)
        for part in twin.modules():
            if hasattr(part, "freeze"):
                part.freeze()
        return twin
