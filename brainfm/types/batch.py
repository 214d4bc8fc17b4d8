"""What models see and say: windows, codes, streams of tokens, features, predictions.

Shapes: B batch, C channels, T samples, W window steps, P samples in a step, S latent
sources, Q quantiser levels, D width, E events, L symbols, N frames or tokens, G slots, F features.
SI units (V, T, T/m, metres, seconds).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class WindowRef(NamedTuple):
    """Where a window lies: row of the recordings table, first sample, number of samples."""

    recording: int
    start: int
    length: int


@dataclass
class SignalBatch:
    """Windows of one channel layout, normalised, ready for a model.

    Attributes
    ----------
    x_BCWP : float32; consecutive steps of P samples, so (W P) is the time axis
    pos_BC3 : metres, NaN where unknown
    ori_BC3 : unit vectors, zeros where a sensor has no direction
    kind_BC : int64, values of `Kind`
    valid_BC : bool; False for padded or bad channels
    time_BW : float64 seconds, start of each step on the clock of its recording
    scale_BC, offset_BC : SI value = x * scale + offset
    sfreq : Hz
    frame, reference : of the sensors, as in `Channels`
    target_B : int64 class of each window, or None
    label_BW : int64 label of each step (1 seizure, 0 not, -1 not judged), or None
    sequence_BL : int64 what was said in each window, as ids in order; -1 after the end, or None
    span_BL2 : float32 seconds from the window's first sample at which each of these begins and
        ends, NaN after the end, or None
    stimulus_BNF : float32 features of what was heard, N frames spread evenly over each window,
        or None
    subject_B : int64 who was recorded, as `subject_id` says it, or None
    refs : list of WindowRef, provenance of each row
    """

    x_BCWP: Tensor
    pos_BC3: Tensor
    ori_BC3: Tensor
    kind_BC: Tensor
    valid_BC: Tensor
    time_BW: Tensor
    scale_BC: Tensor
    offset_BC: Tensor
    sfreq: float
    target_B: Tensor | None = None
    label_BW: Tensor | None = None
    sequence_BL: Tensor | None = None
    span_BL2: Tensor | None = None
    stimulus_BNF: Tensor | None = None
    subject_B: Tensor | None = None
    frame: str = "unknown"
    reference: str = "unknown"
    refs: list[WindowRef] = field(default_factory=list)

    @property
    def signal_BCT(self) -> Tensor:
        """The same samples with one time axis."""
        return self.x_BCWP.flatten(2)

    @property
    def seconds(self) -> float:
        """Length of one window in seconds."""
        return self.x_BCWP.shape[2] * self.x_BCWP.shape[3] / self.sfreq

    @property
    def n_channels(self) -> int:
        return int(self.x_BCWP.shape[1])

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for f in fields(self):
            v = getattr(self, f.name)
            if hasattr(v, "device"):
                yield f.name, v

    def to(self, device: Any, non_blocking: bool = False) -> SignalBatch:
        """Copy of the batch with every tensor on `device`; Lightning calls this."""
        moved: dict[str, Any] = {
            n: v.to(device, non_blocking=non_blocking) for n, v in self._tensors()
        }
        return replace(self, **moved)

    def take(self, channels: Any) -> SignalBatch:
        """The same windows with these channels only (int64 tensor), in this order."""
        taken: dict[str, Any] = {n: v[:, channels] for n, v in self._tensors() if "_BC" in n}
        return replace(self, **taken)

    def pin_memory(self) -> SignalBatch:
        pinned: dict[str, Any] = {n: v.pin_memory() for n, v in self._tensors()}
        return replace(self, **pinned)

    def __len__(self) -> int:
        return int(self.x_BCWP.shape[0])

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n} {tuple(v.shape)}" for n, v in self._tensors())
        return f"SignalBatch({shapes}, {self.sfreq:g} Hz)"


@dataclass
class Simultaneous:
    """The same stretches of time in recordings that were made at once, one batch a recording.

    Attributes
    ----------
    batches : row b of each is the same stretch; electrophysiology first
    """

    batches: tuple[SignalBatch, ...]

    @property
    def seconds(self) -> float:
        """Length of one window in seconds."""
        return self.batches[0].seconds

    @property
    def n_channels(self) -> int:
        """Of all recordings together."""
        return sum(b.n_channels for b in self.batches)

    def to(self, device: Any, non_blocking: bool = False) -> Simultaneous:
        """Copy with every tensor on `device`; Lightning calls this."""
        return Simultaneous(tuple(b.to(device, non_blocking) for b in self.batches))

    def pin_memory(self) -> Simultaneous:
        return Simultaneous(tuple(b.pin_memory() for b in self.batches))

    def __len__(self) -> int:
        return len(self.batches[0])

    def __repr__(self) -> str:
        return f"Simultaneous({', '.join(map(repr, self.batches))})"


@dataclass
class TokenStream:
    """Tokens of recordings of any kind: one sensor during one step each, in any order.

    Tokens of a slot share its stretch of time. Streams of recordings made at once are joined by
    `cat`; nothing is padded.

    Attributes
    ----------
    h_BND : what the sensor showed
    time_BN : float64 seconds, start of the step on the recording's clock
    duration_N : float32 seconds of the step
    slot_N : int64, 0 to G - 1
    kind_BN : int64, values of `Kind`
    pos_BN3 : float32 metres in MNI space, NaN where unknown
    ori_BN3 : float32 unit vectors in MNI space, zeros where a sensor has no direction
    code_BND : where and what the sensor is, and how long a step lasts
    valid_BN : bool; what is False is not seen
    """

    h_BND: Tensor
    time_BN: Tensor
    duration_N: Tensor
    slot_N: Tensor
    kind_BN: Tensor
    pos_BN3: Tensor
    ori_BN3: Tensor
    code_BND: Tensor
    valid_BN: Tensor

    def __len__(self) -> int:
        return int(self.h_BND.shape[1])

    @property
    def n_slots(self) -> int:
        return int(self.slot_N.max()) + 1

    def take(self, index: Any) -> TokenStream:
        """The tokens at `index`, in that order."""
        taken: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            taken[f.name] = value[index] if f.name.endswith("_N") else value[:, index]
        return replace(self, **taken)

    @staticmethod
    def cat(streams: Sequence[TokenStream]) -> TokenStream:
        """One stream of several; slots stay apart, one recording after the other."""
        import torch

        first, joined = 0, {}
        slots = []
        for s in streams:
            slots.append(s.slot_N + first)
            first += s.n_slots
        for f in fields(streams[0]):
            values = [getattr(s, f.name) for s in streams]
            joined[f.name] = torch.cat(values, 0 if f.name.endswith("_N") else 1)
        return TokenStream(**{**joined, "slot_N": torch.cat(slots)})


@dataclass
class Codes:
    """What a codec makes of a batch: indices, the vectors they stand for, and their times.

    Attributes
    ----------
    ids_BSWQ : int64
    latent_BSWD : dequantised features
    time_W : seconds from the window's first sample, start of each code
    duration_s : seconds of signal one code covers
    step : width of a quantiser's cell where it was chosen when encoding, else None
    size_BS : int64 size of each source, in half octaves, where it is sent along, else None
    """

    ids_BSWQ: Tensor
    latent_BSWD: Tensor
    time_W: Tensor
    duration_s: float
    step: float | None = None
    size_BS: Tensor | None = None


@dataclass
class Features:
    """What an encoder makes of a batch.

    Attributes
    ----------
    h_BSWD : features per source and time step
    valid_BS : bool
    time_W : seconds from the window's first sample, start of each step
    duration_s : seconds of signal one step covers
    """

    h_BSWD: Tensor
    valid_BS: Tensor
    time_W: Tensor
    duration_s: float

    def pooled(self) -> Tensor:
        """Mean over valid sources and time, (B, D)."""
        w = self.valid_BS[..., None, None].to(self.h_BSWD.dtype)
        return (self.h_BSWD * w).sum((1, 2)) / (w.sum((1, 2)) * self.h_BSWD.shape[2]).clamp_min(1)


@dataclass
class HeadOutput:
    """Predictions of a head and its named losses; the task adds them up.

    Attributes
    ----------
    logits_BK : one row a window; (B, W, K) where a head speaks at every step
    losses : named scalars
    """

    logits_BK: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
