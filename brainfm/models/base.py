"""What every encoder gives: features per latent source and step, with their times.

Shapes: B batch, S latent sources, W steps, D width.
"""

from abc import abstractmethod

from brainfm.hub import BrainModel
from brainfm.types import Features, SignalBatch


class Encoder(BrainModel):
    """A pretrained or fresh encoder of signals."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width D of the features."""

    @property
    @abstractmethod
    def n_sources(self) -> int | None:
        """Number S of latent sources; None where every channel is its own."""

    @abstractmethod
    def forward(self, batch: SignalBatch) -> Features:
        """Features of each window."""
