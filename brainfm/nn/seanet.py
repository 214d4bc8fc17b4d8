"""SEANet: the convolutional encoder and decoder shared by BrainTokenizer and BioCodec.

The modules are those of transformers' EnCodec, which compute the published SEANet exactly
once keys are renamed; only their parameters are used here, the forward is our own.

Shapes: M single-channel sequences, T samples, F frames (T / hop), D width.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class SEANetConfig:
    """Sizes of one SEANet; the defaults are those of BrainTokenizer (arXiv 2505.18185)."""

    dim: int = 256
    n_filters: int = 32
    ratios: tuple[int, ...] = (8, 4, 2)
    """Strides of the decoder, in order; the encoder takes them reversed."""
    kernel: int = 5
    last_kernel: int = 5
    residual_kernel: int = 3
    n_residual: int = 1
    n_lstm: int = 2
    compress: int = 2
    """Width of a residual branch is the width of its block over this."""
    causal: bool = False
    conv_shortcut: bool = True
    """A 1x1 convolution on the skip path; False gives a true skip (BioCodec)."""

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return prod(self.ratios)


def _library_config(config: SEANetConfig) -> Any:
    from transformers import EncodecConfig

    return EncodecConfig(
        hidden_size=config.dim,
        num_filters=config.n_filters,
        upsampling_ratios=list(config.ratios),
        kernel_size=config.kernel,
        last_kernel_size=config.last_kernel,
        residual_kernel_size=config.residual_kernel,
        num_residual_layers=config.n_residual,
        num_lstm_layers=config.n_lstm,
        compress=config.compress,
        use_causal_conv=config.causal,
        use_conv_shortcut=config.conv_shortcut,
        pad_mode="reflect",
        norm_type="weight_norm",
    )


class SEANetEncoder(nn.Module):
    """Waveforms to frames: (M, 1, T) -> (M, D, F), F = ceil(T / hop)."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        from transformers.models.encodec.modeling_encodec import EncodecEncoder

        self.config = config
        self.layers = EncodecEncoder(_library_config(config)).layers

    def forward(self, x_M1T: Tensor) -> Tensor:
        h = x_M1T
        for layer in self.layers:
            h = layer(h)
        return h


class SEANetDecoder(nn.Module):
    """Frames to waveforms: (M, D, F) -> (M, 1, F * hop)."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        from transformers.models.encodec.modeling_encodec import EncodecDecoder

        self.config = config
        self.layers = EncodecDecoder(_library_config(config)).layers

    def forward(self, h_MDF: Tensor) -> Tensor:
        h = h_MDF
        for layer in self.layers:
            h = layer(h)
        return h
