"""A SEANet encoder that goes on: samples come in pieces, frames leave when nothing can change them.

Every convolution keeps the few inputs that its next result needs, the recurrent network its state.
Results are those of the whole signal at once, to rounding; its ends are reflected as there.

Shapes: M sequences, T samples, F frames, H channels.
"""

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.nn.seanet import SEANetEncoder, _Block, _Conv, _elu_pad, _reflect, _Step


class SEANetStream:
    """Frames of `encoder` as samples come; without gradients.

    Parameters
    ----------
    encoder : its weights as they are now; exact encoders are run by the library, which cannot go on

    Attributes
    ----------
    reach : samples from the first one of a frame to the last one that the frame depends on
    """

    def __init__(self, encoder: SEANetEncoder) -> None:
        if encoder.config.exact:
            raise ContractError(
                "a codec in strict mode (exact) is run by the library, which cannot go on from "
                "sample to sample; take a configuration with exact: false to stream"
            )
        with torch.no_grad():
            self._layers = [_layer(step) for step in encoder.steps()]
        last = 0
        for layer in reversed(self._layers):
            last = layer.needs(last)
        self.reach = last + 1
        self._empty: Tensor | None = None

    @torch.no_grad()
    def push(self, x_MTH: Tensor, last: bool = False) -> Tensor:
        """Frames (M, F, D) that became certain."""
        self._empty = x_MTH[:, :0]
        for layer in self._layers:
            x_MTH = layer.push(x_MTH, last)
        return x_MTH

    def flush(self) -> Tensor:
        """The frames that are left, the signal's end reflected; nothing can follow."""
        if self._empty is None:
            raise ContractError("the stream ends before its first sample; push one")
        return self.push(self._empty, last=True)


class _ConvStream:
    """One convolution after its ELU."""

    def __init__(self, conv: _Conv, elu: bool) -> None:
        self.conv, self.elu = conv, elu
        span = (conv.kernel.shape[-1] - 1) * conv.dilation + 1
        self.right = 0 if conv.causal else (span - conv.stride) // 2
        self.left = span - conv.stride - self.right
        self.span = span
        self.kept: Tensor | None = None
        self.skip = 0
        """Kept inputs that only a reflection of the end may still need."""
        self.n = 0
        self.begun = False

    def needs(self, last: int) -> int:
        """Number of the last input that result `last` depends on."""
        return last * self.conv.stride + self.span - 1 - self.left

    def push(self, x_MTH: Tensor, last: bool) -> Tensor:
        x_MTH = x_MTH.to(self.conv.kernel.dtype)
        if self.elu and x_MTH.shape[1]:
            x_MTH = _elu_pad(x_MTH.contiguous(), (0, x_MTH.shape[1]), (0, 0))
        x = x_MTH if self.kept is None else torch.cat((self.kept, x_MTH), 1)
        self.n += x_MTH.shape[1]
        stride = self.conv.stride
        if not self.begun:
            # The beginning is reflected, for which more than its length must be there.
            if not last and x.shape[1] <= max(self.left, self.right):
                self.kept = x
                return self._nothing(x)
            self.begun = True
            right = self.right + -self.n % stride if last else 0
            x = _reflect(x, self.left, right) if x.shape[1] else x
        elif last:
            x = _reflect(x, 0, self.right + -self.n % stride)
        ready = (x.shape[1] - self.skip - self.span) // stride + 1
        if ready <= 0:
            self.kept = x
            return self._nothing(x)
        y = self.conv.plain(x[:, self.skip :])
        # Of what is used up, as much as the end may reflect.
        start = self.skip + ready * stride
        spare = min(start, self.right + stride)
        self.kept, self.skip = x[:, start - spare :].clone(), spare
        return y

    def _nothing(self, x_MTH: Tensor) -> Tensor:
        return x_MTH.new_zeros(x_MTH.shape[0], 0, self.conv.bias.shape[0])


class _BlockStream:
    """A residual block; the skip path waits for the inner one."""

    def __init__(self, block: _Block) -> None:
        self.inner = [_ConvStream(conv, True) for conv in block.inner]
        self.shortcut = block.shortcut
        self.kept: Tensor | None = None

    def needs(self, last: int) -> int:
        for conv in reversed(self.inner):
            last = conv.needs(last)
        return last

    def push(self, x_MTH: Tensor, last: bool) -> Tensor:
        kept = x_MTH if self.kept is None else torch.cat((self.kept, x_MTH), 1)
        y = x_MTH
        for conv in self.inner:
            y = conv.push(y, last)
        n = y.shape[1]
        self.kept = kept[:, n:].clone()
        if n == 0:
            return y
        skip = kept[:, :n] if self.shortcut is None else self.shortcut.plain(kept[:, :n])
        return y + skip


class _LstmStream:
    """The recurrent network and its state."""

    def __init__(self, lstm: torch.nn.LSTM) -> None:
        self.lstm = lstm
        self.state: tuple[Tensor, Tensor] | None = None

    def needs(self, last: int) -> int:
        return last

    def push(self, x_MTH: Tensor, last: bool) -> Tensor:
        if x_MTH.shape[1] == 0:
            return x_MTH
        x_TMH = x_MTH.transpose(0, 1)
        y_TMH, self.state = self.lstm(x_TMH, self.state)
        return (y_TMH + x_TMH).transpose(0, 1)


def _layer(step: _Step) -> _ConvStream | _BlockStream | _LstmStream:
    if step.kind == "conv":
        return _ConvStream(step.run, step.elu)
    return _BlockStream(step.run) if step.kind == "block" else _LstmStream(step.run)
