"""BioCodec: every channel alone through a causal SEANet to residual codes, and back.

EEG at 250 Hz gives 20.8 steps a second (hop 12), EMG at 1000 Hz 55.6 (hop 18); each step is six
codes of 256: 1000 and 2667 bit/s a channel (arXiv 2510.09095).

As published, codes are directions of length 1 found by angle, although what they must explain
has a length; later levels then refine less. Codecs trained here look for the nearest code, of
any length, and replace a code by its share of use, whatever the batch. `PUBLISHED` brings the
published rules back; the commitment that its trainer counts twice is `BioCodecLoss`'s.

Shapes: T samples, M single channels, F steps, D width, Q levels.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from brainfm.codecs.channelwise import ChannelCodec
from brainfm.codecs.presets import BIOCODEC, fill_from_preset
from brainfm.codecs.quantize import Quantized, QuantizerConfig, ResidualQuantizer
from brainfm.nn.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from brainfm.signals.preprocess import Preprocess
from brainfm.types import SignalBatch

PUBLISHED: dict[str, Any] = dict(unit_codes=True, dead_count=2.0, init_at_eval=True, exact=True)
"""Settings of the published program, flaws included; a released codec has them."""


@dataclass(frozen=True)
class BioCodecConfig:
    """Sizes of a BioCodec. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "eeg"
    n_filters: int | None = None
    ratios: tuple[int, ...] | None = None
    """Strides of the decoder, in order; their product is the samples a step covers."""
    kernel: int | None = None
    last_kernel: int | None = None
    residual_kernel: int | None = None
    n_residual: int | None = None
    n_lstm: int | None = None
    compress: int | None = None
    dim: int | None = None
    codebook_dim: int | None = None
    codebook_size: int | None = None
    n_quantizers: int | None = None
    causal: bool = True
    conv_shortcut: bool = False
    gain: float = 1.0
    """What the signal of a batch is multiplied by on its way in, and divided by on its way out:
    released weights count in interquartile ranges, batches in standard deviations."""
    unit_codes: bool = False
    """True as published: codes are found by angle and have length 1 (see QuantizerConfig)."""
    dead_count: float | None = None
    """2 as published; None replaces codes by their share of use (see QuantizerConfig)."""
    init_at_eval: bool = False
    """True in strict mode: k-means at the first forward even at evaluation, as published."""
    exact: bool = False
    """True in strict mode: convolutions to the last bit as published (see SEANetConfig)."""

    def __post_init__(self) -> None:
        fill_from_preset(self, BIOCODEC)
        if not self.gain > 0:
            raise ValueError(f"gain is {self.gain}; it must be above 0")

    @property
    def hop(self) -> int:
        """Samples a step covers."""
        return prod(self.ratios)

    @property
    def seanet(self) -> SEANetConfig:
        return SEANetConfig(
            dim=self.dim,
            n_filters=self.n_filters,
            ratios=self.ratios,
            kernel=self.kernel,
            last_kernel=self.last_kernel,
            residual_kernel=self.residual_kernel,
            n_residual=self.n_residual,
            n_lstm=self.n_lstm,
            compress=self.compress,
            causal=self.causal,
            exact=self.exact,
            conv_shortcut=self.conv_shortcut,
        )

    @property
    def quantizer(self) -> QuantizerConfig:
        return QuantizerConfig(
            dim=self.dim,
            codebook_dim=self.codebook_dim,
            codebook_size=self.codebook_size,
            n_levels=self.n_quantizers,
            epsilon=1e-5,
            unit_codes=self.unit_codes,
            rotation_trick=False,
            dead_count=self.dead_count,
            kmeans_iterations=50,
            init_at_eval=self.init_at_eval,
        )


class BioCodec(ChannelCodec):
    """A codec of single channels.

    Parameters
    ----------
    config : BioCodecConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = BioCodecConfig

    def __init__(
        self, config: BioCodecConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        config = config or BioCodecConfig()
        super().__init__(config, preprocess)
        self.gain = config.gain
        self.encoder = SEANetEncoder(config.seanet)
        self.quantizer = ResidualQuantizer(config.quantizer)
        self.decoder = SEANetDecoder(config.seanet)

    def encode_channels(self, x_MT: Tensor) -> Tensor:
        """Features (M, F, D) before they are quantised, F = ceil(T / hop)."""
        return self.encoder(x_MT[:, None]).transpose(1, 2)

    def code_channels(self, x_MT: Tensor, n_levels: int | None = None) -> Quantized:
        return self.quantise_steps(self.encode_channels(x_MT), x_MT, n_levels)

    def quantise_steps(self, h_MFD: Tensor, x_MT: Tensor, n_levels: int | None = None) -> Quantized:
        return self.quantizer(h_MFD, False, n_levels)

    def decode_channels(self, q_MFD: Tensor) -> Tensor:
        return self.decoder(q_MFD.transpose(1, 2))[:, 0]

    def train_channels(
        self, x_MT: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Quantized]:
        """One training pass; nothing is drawn, `generator` is not used."""
        q = self.quantizer(self.encode_channels(x_MT), update=self.training)
        return self.decode_channels(q.latent)[:, : x_MT.shape[-1]], q

    @torch.no_grad()
    def initialise_codebooks(self, batch: SignalBatch) -> None:
        """Run k-means on a batch, level by level, where codebooks are still empty."""
        left = self.encode_channels(self._signal(batch)[batch.valid_BC]).float()
        for level in self.quantizer.levels:
            if not level.codebook.is_ready:
                level.codebook.initialise(level.project_in(left).flatten(0, -2))
            left = left - level(left, update=False).latent
