"""What every neural codec can do: encode to codes, decode, say its bit rate.

Shapes: B batch, C channels, T samples, S latent sources, W steps, Q levels, D width.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, NamedTuple

from torch import Tensor

from brainfm.errors import ContractError
from brainfm.hub import BrainModel
from brainfm.types import Codes, SignalBatch


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
