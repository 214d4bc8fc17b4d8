"""What every neural codec can do: encode to codes, decode, say its bit rate.

Shapes: B batch, C channels, T samples, S latent sources, W steps, Q levels, D width.
"""

from abc import abstractmethod

from torch import Tensor

from brainfm.hub import BrainModel
from brainfm.types import Codes, SignalBatch


class Codec(BrainModel):
    """A waveform codec: signal to discrete codes and back."""

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
        """Nominal rate of one recording, all channels together."""
