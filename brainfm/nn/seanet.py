"""SEANet: the convolutional encoder and decoder shared by BrainTokenizer and BioCodec.

The modules are those of transformers' EnCodec, which compute the published SEANet exactly
once keys are renamed. They own the parameters; the forward is ours and gives the same numbers
to rounding in less time (docs/benchmarks.md): channels stay the fastest axis, so that
convolutions need no reordering, ELU is exp(x) - 1 instead of expm1 and writes straight into
the padded input of the next convolution, and padding is counted in Python instead of on the
device.

Shapes: M single-channel sequences, T samples, F frames (T / hop), D width, H channels.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
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
    exact: bool = False
    """True: the library's own forward, bit by bit what was published; for strict mode, where a
    rounding error may turn a code index. Takes half as long again."""
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


Span = tuple[int, int]
"""First sample of the part of a buffer that counts, and its length."""


def _empty_outside(like: Tensor, span: Span, samples: int) -> Tensor:
    """(M, samples, H): zero outside the span, not yet written inside."""
    full = like.new_empty(like.shape[0], samples, like.shape[2])
    full[:, : span[0]] = 0.0
    full[:, sum(span) :] = 0.0
    return full


class _EluPad(torch.autograd.Function):
    """ELU of x[:, start : start + n] between `left` and `right` added samples, in one buffer.

    x is (M, T, H) float32 on CPU; the added samples are its reflection, or zeros.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, span: Span, ends: tuple[int, int], zeros: bool) -> Tensor:
        (start, n), (left, right) = span, ends
        x_n = x[:, start : start + n]
        y = x.new_empty(x.shape[0], left + n + right, x.shape[2])
        mid = y[:, left : left + n]
        # max(exp(min(x, 0)) - 1, x): 1 ulp of 1 from expm1, which takes six times as long.
        torch.clamp(x_n, max=0.0, out=mid)
        torch.maximum(mid.exp_().sub_(1.0), x_n, out=mid)
        if zeros:
            y[:, :left] = 0.0
            y[:, left + n :] = 0.0
        else:
            for i in range(left):
                y[:, left - 1 - i] = mid[:, i + 1]
            for i in range(right):
                y[:, left + n + i] = mid[:, n - 2 - i]
        ctx.save_for_backward(y)
        ctx.span, ctx.ends, ctx.zeros, ctx.samples = span, ends, zeros, x.shape[1]
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (y,) = ctx.saved_tensors
        (start, n), (left, right) = ctx.span, ctx.ends
        full = _empty_outside(grad, ctx.span, ctx.samples)
        out = full[:, start : start + n]
        # The slope of ELU from its result: y + 1 below zero, 1 above.
        slope = torch.ops.aten.elu_backward
        mid = slice(left, left + n)
        slope.grad_input(grad[:, mid], 1.0, 1.0, 1.0, True, y[:, mid], grad_input=out)
        if not ctx.zeros:
            for i in range(left):
                out[:, i + 1] += slope(
                    grad[:, left - 1 - i], 1.0, 1.0, 1.0, True, y[:, left - 1 - i]
                )
            for i in range(right):
                out[:, n - 2 - i] += slope(
                    grad[:, left + n + i], 1.0, 1.0, 1.0, True, y[:, left + n + i]
                )
        return full, None, None, None


class _AddSpan(torch.autograd.Function):
    """inner + skip[:, span]; the gradient of skip is made in one pass.

    Not into `inner`, which is a view of a convolution's result: autograd would copy the gradient
    of the whole base for it.
    """

    @staticmethod
    def forward(ctx: Any, inner: Tensor, skip: Tensor, span: Span) -> Tensor:
        ctx.span, ctx.samples = span, skip.shape[1]
        return inner + skip[:, span[0] : sum(span)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (start, n), samples = ctx.span, ctx.samples
        if n == samples:
            return grad, grad, None
        full = _empty_outside(grad, ctx.span, samples)
        full[:, start : start + n] = grad
        return grad, full, None


def _reflect(x_MTH: Tensor, left: int, right: int) -> Tensor:
    """Reflect T at both ends; a T too short for it is zero-extended first, then cut."""
    if left == right == 0:
        return x_MTH
    x = x_MTH.transpose(1, 2)
    extra = max(0, max(left, right) - x.shape[-1] + 1)
    x = F.pad(F.pad(x, (0, extra)), (left, right), mode="reflect")
    return x[..., : x.shape[-1] - extra].transpose(1, 2)


def _elu_pad(x_MTH: Tensor, span: Span, ends: tuple[int, int], zeros: bool = False) -> Tensor:
    start, n = span
    fast = x_MTH.dtype == torch.float32 and x_MTH.device.type == "cpu"
    if fast and (zeros or n > max(ends)):
        return _EluPad.apply(x_MTH, span, ends, zeros)
    h = F.elu(x_MTH[:, start : start + n])
    return F.pad(h, (0, 0, *ends)) if zeros else _reflect(h, *ends)


def _image(x_MTH: Tensor) -> Tensor:
    """(M, H, 1, T) view in channels-last memory, the layout convolutions are fastest in."""
    return x_MTH.transpose(1, 2).unsqueeze(2)


def _kernel(weight: Tensor) -> Tensor:
    return weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _conv(wrapped: nn.Module, x_MTH: Tensor, elu: bool, span: Span | None = None) -> Tensor:
    """EncodecConv1d, after an ELU or not: (M, T, H) -> (M, ceil(T / stride), H')."""
    conv = wrapped.conv
    stride, dilation = conv.stride[0], conv.dilation[0]
    span = span or (0, x_MTH.shape[1])
    total = (conv.kernel_size[0] - 1) * dilation + 1 - stride
    right = 0 if wrapped.causal else total // 2
    fill_last_frame = -span[1] % stride
    ends = (total - right, right + fill_last_frame)
    x = _elu_pad(x_MTH, span, ends) if elu else _reflect(x_MTH, *ends)
    if conv.in_channels == 1 and dilation == 1:
        taps = x[..., 0].unfold(1, conv.kernel_size[0], stride)
        return F.linear(taps, conv.weight[:, 0], conv.bias)
    y = F.conv2d(
        _image(x), _kernel(conv.weight), conv.bias, stride=(1, stride), dilation=(1, dilation)
    )
    return y.squeeze(2).transpose(1, 2)


def _conv_transposed(wrapped: nn.Module, x_MTH: Tensor, span: Span) -> tuple[Tensor, Span]:
    """EncodecConvTranspose1d after an ELU: (M, T, H) -> (M, (T + 1) stride, H') and its span.

    The kernel is two strides long, so a block of `stride` results sees two frames: a plain
    convolution of two taps with stride x H' outputs, in half the time of the transposed one.
    What the published module cuts at the ends stays, outside the span that counts.
    """
    conv = wrapped.conv
    stride, wide = conv.stride[0], conv.out_channels
    h = _elu_pad(x_MTH, span, (1, 1), zeros=True)
    # (H, H', 2 stride) -> (stride x H', H, 2): tap 0 meets the earlier frame.
    taps = conv.weight.unflatten(2, (2, stride)).flip(2)
    taps = taps.permute(3, 1, 0, 2).reshape(stride * wide, conv.in_channels, 2)
    y = F.conv2d(_image(h), _kernel(taps), conv.bias.repeat(stride))
    y = y.squeeze(2).transpose(1, 2).reshape(x_MTH.shape[0], -1, wide)
    right = stride if wrapped.causal else stride // 2
    return y, (stride - right, span[1] * stride)


def run_library(layers: nn.ModuleList, x_MHT: Tensor) -> Tensor:
    """The layers of an EnCodec encoder or decoder, as transformers runs them."""
    for layer in layers:
        x_MHT = layer(x_MHT)
    return x_MHT


def run_fast(layers: nn.ModuleList, x_MHT: Tensor) -> Tensor:
    """The same function of the same parameters, channels fastest."""
    h, elu = x_MHT.transpose(1, 2), False
    span: Span = (0, h.shape[1])
    for layer in layers:
        kind = type(layer).__name__
        if kind == "ELU":
            elu = True
            continue
        if kind == "EncodecConvTranspose1d":
            h, span = _conv_transposed(layer, h, span)
            elu = False
            continue
        if kind == "EncodecConv1d":
            h = _conv(layer, h, elu, span)
        elif kind == "EncodecResnetBlock":
            # Each ELU of the block stands before a convolution.
            inner = _conv(layer.block[1], h, True, span)
            for part in layer.block[3::2]:
                inner = _conv(part, inner, True)
            plain = isinstance(layer.shortcut, nn.Identity)
            # The skip path covers the whole buffer: cutting it first would copy it.
            skip = h if plain else _conv(layer.shortcut, h, False)
            h = _AddSpan.apply(inner, skip, span)
        else:
            x_TMH = h.transpose(0, 1)
            h = (layer.lstm(x_TMH)[0] + x_TMH).transpose(0, 1)
        span, elu = (0, h.shape[1]), False
    return h.transpose(1, 2)


class SEANetEncoder(nn.Module):
    """Waveforms to frames: (M, 1, T) -> (M, D, F), F = ceil(T / hop)."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        from transformers.models.encodec.modeling_encodec import EncodecEncoder

        self.config = config
        self.layers = EncodecEncoder(_library_config(config)).layers

    def forward(self, x_M1T: Tensor) -> Tensor:
        run = run_library if self.config.exact else run_fast
        return run(self.layers, x_M1T)


class SEANetDecoder(nn.Module):
    """Frames to waveforms: (M, D, F) -> (M, 1, F * hop)."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        from transformers.models.encodec.modeling_encodec import EncodecDecoder

        self.config = config
        self.layers = EncodecDecoder(_library_config(config)).layers

    def forward(self, h_MDF: Tensor) -> Tensor:
        run = run_library if self.config.exact else run_fast
        return run(self.layers, h_MDF)
