"""SEANet: the convolutional encoder and decoder shared by BrainTokenizer and BioCodec.

The modules are those of transformers' EnCodec, which compute the published SEANet exactly
once keys are renamed. They own the parameters; the forward is ours and gives the same numbers
to rounding in less time (docs/benchmarks.md): channels stay the fastest axis, so that
convolutions need no reordering, ELU is exp(x) - 1 instead of expm1 and writes straight into
the padded input of the next convolution, and padding is counted in Python instead of on the
device. Without gradients, a few sequences at a time stay in the cache.

Shapes: M single-channel sequences, T samples, F frames (T / hop), D width, H channels.
"""

from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any, NamedTuple, Self

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
    half = x_MTH.dtype == torch.bfloat16 and not torch.is_grad_enabled()
    fast = (half or x_MTH.dtype == torch.float32) and x_MTH.device.type == "cpu"
    if fast and (zeros or n > max(ends)):
        return _EluPad.apply(x_MTH, span, ends, zeros)
    h = F.elu(x_MTH[:, start : start + n])
    return F.pad(h, (0, 0, *ends)) if zeros else _reflect(h, *ends)


def _image(x_MTH: Tensor) -> Tensor:
    """(M, H, 1, T) view in channels-last memory, the layout convolutions are fastest in."""
    return x_MTH.transpose(1, 2).unsqueeze(2)


def _kernel(weight: Tensor) -> Tensor:
    return _half(weight).unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _half(x: Tensor) -> Tensor:
    """In the precision of an autocast on CPU, if it is on; there each convolution would cast."""
    on = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled()
    return x.to(torch.get_autocast_dtype("cpu")) if on else x


class _Conv(NamedTuple):
    """A convolution of the library with its weight normalised and laid out."""

    kernel: Tensor
    bias: Tensor
    stride: int
    dilation: int
    causal: bool

    @classmethod
    def of(cls, wrapped: nn.Module) -> Self:
        conv = wrapped.conv
        return cls(
            _kernel(conv.weight), _half(conv.bias), conv.stride[0], conv.dilation[0], wrapped.causal
        )

    @classmethod
    def of_transposed(cls, wrapped: nn.Module) -> Self:
        """As a plain convolution of two taps with stride x H' outputs (see `_up`)."""
        conv = wrapped.conv
        stride = conv.stride[0]
        # (H, H', 2 stride) -> (stride x H', H, 2): tap 0 meets the earlier frame.
        taps = conv.weight.unflatten(2, (2, stride)).flip(2)
        taps = taps.permute(3, 1, 0, 2).reshape(stride * conv.out_channels, conv.in_channels, 2)
        return cls(_kernel(taps), _half(conv.bias).repeat(stride), stride, 1, wrapped.causal)

    def __call__(self, x_MTH: Tensor, elu: bool, span: Span | None = None) -> Tensor:
        """EncodecConv1d, after an ELU or not: (M, T, H) -> (M, ceil(T / stride), H')."""
        stride, dilation = self.stride, self.dilation
        span = span or (0, x_MTH.shape[1])
        width = self.kernel.shape[-1]
        total = (width - 1) * dilation + 1 - stride
        right = 0 if self.causal else total // 2
        fill_last_frame = -span[1] % stride
        ends = (total - right, right + fill_last_frame)
        x = _elu_pad(x_MTH, span, ends) if elu else _reflect(x_MTH, *ends)
        if self.kernel.shape[1] == 1 and dilation == 1:
            # A copy of the taps makes it one matrix product; a convolution of one channel would
            # give results whose channels are not the fastest axis.
            taps_NK = x[..., 0].unfold(1, width, stride).reshape(-1, width)
            y = F.linear(taps_NK, self.kernel[:, 0, 0], self.bias)
            return y.view(x.shape[0], -1, y.shape[-1])
        return self.plain(x)

    def plain(self, x_MTH: Tensor) -> Tensor:
        """The convolution alone, of samples that are padded."""
        stride, dilation = (1, self.stride), (1, self.dilation)
        y = F.conv2d(_image(x_MTH), self.kernel, self.bias, stride=stride, dilation=dilation)
        return y.squeeze(2).transpose(1, 2)


class _Block(NamedTuple):
    """A residual block; each ELU in it stands before a convolution. No shortcut: a true skip."""

    inner: tuple[_Conv, ...]
    shortcut: _Conv | None

    @classmethod
    def of(cls, layer: nn.Module) -> Self:
        plain = isinstance(layer.shortcut, nn.Identity)
        inner = tuple(_Conv.of(part) for part in layer.block[1::2])
        return cls(inner, None if plain else _Conv.of(layer.shortcut))

    def __call__(self, h_MTH: Tensor, span: Span) -> Tensor:
        inner = self.inner[0](h_MTH, True, span)
        for conv in self.inner[1:]:
            inner = conv(inner, True)
        # The skip path covers the whole buffer: cutting it first would copy it.
        skip = h_MTH if self.shortcut is None else self.shortcut(h_MTH, False)
        if torch.is_grad_enabled():
            return _AddSpan.apply(inner, skip, span)
        return inner.add_(skip[:, span[0] : sum(span)])


def _up(conv: _Conv, x_MTH: Tensor, span: Span) -> tuple[Tensor, Span]:
    """EncodecConvTranspose1d after an ELU: (M, T, H) -> (M, (T + 1) stride, H') and its span.

    The kernel is two strides long, so a block of `stride` results sees two frames: a plain
    convolution of two taps with stride x H' outputs, in half the time of the transposed one.
    What the published module cuts at the ends stays, outside the span that counts.
    """
    stride = conv.stride
    h = _elu_pad(x_MTH, span, (1, 1), zeros=True)
    y = F.conv2d(_image(h), conv.kernel, conv.bias)
    wide = conv.bias.shape[0] // stride
    y = y.squeeze(2).transpose(1, 2).reshape(x_MTH.shape[0], -1, wide)
    right = stride if conv.causal else stride // 2
    return y, (stride - right, span[1] * stride)


def run_library(layers: nn.ModuleList, x_MHT: Tensor) -> Tensor:
    """The layers of an EnCodec encoder or decoder, as transformers runs them."""
    for layer in layers:
        x_MHT = layer(x_MHT)
    return x_MHT


class _Step(NamedTuple):
    """A layer that is ready to run: what it is, and its `_Conv`, `_Block` or recurrent network."""

    kind: str
    run: Any
    elu: bool
    """An ELU stands before it."""


def prepare(layers: nn.ModuleList) -> list[_Step]:
    """The layers with weights normalised and laid out; good for as long as weights do not move."""
    makers = {
        "EncodecConv1d": ("conv", _Conv.of),
        "EncodecConvTranspose1d": ("up", _Conv.of_transposed),
        "EncodecResnetBlock": ("block", _Block.of),
        "EncodecLSTM": ("lstm", lambda layer: layer.lstm),
    }
    steps, elu = [], False
    for layer in layers:
        name = type(layer).__name__
        if name != "ELU":
            kind, make = makers[name]
            steps.append(_Step(kind, make(layer), elu))
        elu = name == "ELU"
    return steps


def run_fast(steps: list[_Step], x_MHT: Tensor) -> Tensor:
    """The same function of the same parameters, channels fastest.

    Without gradients, convolutions take a few sequences at a time, which stay in the cache; the
    recurrent network takes all.
    """
    h = _half(x_MHT).transpose(1, 2)
    if torch.is_grad_enabled() or h.device.type != "cpu":
        return _run(steps, h).transpose(1, 2)
    for recurrent, part in groupby(steps, lambda step: step.kind == "lstm"):
        part = list(part)
        if recurrent:
            h = _run(part, h)
        else:
            h = torch.cat([_run(part, piece) for piece in h.split(_few(part, h))])
    return h.transpose(1, 2)


CACHED = 2**20
"""Numbers in the widest result of a few sequences (4 MB)."""


def _few(steps: list[_Step], h_MTH: Tensor) -> int:
    """How many sequences at a time."""
    samples, widest = h_MTH.shape[1], 1
    for step in steps:
        conv = step.run.inner[-1] if step.kind == "block" else step.run
        samples = samples * conv.stride if step.kind == "up" else -(-samples // conv.stride)
        wide = conv.bias.shape[0] // (conv.stride if step.kind == "up" else 1)
        widest = max(widest, samples * wide)
    return max(1, CACHED // widest)


def _run(steps: list[_Step], h_MTH: Tensor) -> Tensor:
    h, span = h_MTH, (0, h_MTH.shape[1])
    for kind, run, elu in steps:
        if kind == "up":
            h, span = _up(run, h, span)
            continue
        if kind == "conv":
            h = run(h, elu, span)
        elif kind == "block":
            h = run(h, span)
        else:
            x_TMH = h.transpose(0, 1)
            h = (run(x_TMH)[0] + x_TMH).transpose(0, 1)
        span = (0, h.shape[1])
    return h


class _SEANet(nn.Module):
    """One side of a SEANet: parameters of the library's layers, and our way to run them."""

    def __init__(self, config: SEANetConfig, layers: nn.ModuleList) -> None:
        super().__init__()
        self.config = config
        self.layers = layers
        self._frozen: list[_Step] | None = None

    def freeze(self) -> None:
        """Lay out the weights once, for inference alone: from here on they must not change."""
        with torch.no_grad():
            self._frozen = None if self.config.exact else prepare(self.layers)

    def steps(self) -> list[_Step]:
        """The layers ready to run: as they were frozen, or as they are now."""
        return self._frozen or prepare(self.layers)

    def forward(self, x_MHT: Tensor) -> Tensor:
        if self.config.exact:
            return run_library(self.layers, x_MHT)
        return run_fast(self.steps(), x_MHT)


class SEANetEncoder(_SEANet):
    """Waveforms to frames: (M, 1, T) -> (M, D, F), F = ceil(T / hop)."""

    def __init__(self, config: SEANetConfig) -> None:
        from transformers.models.encodec.modeling_encodec import EncodecEncoder

        super().__init__(config, EncodecEncoder(_library_config(config)).layers)


class SEANetDecoder(_SEANet):
    """Frames to waveforms: (M, D, F) -> (M, 1, F * hop)."""

    def __init__(self, config: SEANetConfig) -> None:
        from transformers.models.encodec.modeling_encodec import EncodecDecoder

        super().__init__(config, EncodecDecoder(_library_config(config)).layers)
