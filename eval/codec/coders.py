"""Coders as the comparison sees them, and neural codecs as such coders.

Shapes: B windows, C channels, T samples, S sources, W steps, Q levels, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from brainfm.codecs.base import Codec
from brainfm.codecs.braintokenizer import BrainTokenizer
from brainfm.data.store import Store
from brainfm.errors import ContractError
from brainfm.types import Codes, SignalBatch
from eval.codec.entropy import CodeTables
from eval.codec.windows import (
    NUMBER_BITS,
    Piece,
    codec_batch,
    round_offset,
    round_scale,
)

Array = NDArray[np.float64]

CHUNK = 4
"""Windows that a codec sees at a time."""
MOST_RATES = 8
"""Of a codec with more levels, so many rates are tried, spread evenly in their logarithm."""

ENOUGH = 8000.0
"""Bits/s/channel: twice the highest rate of the comparison. Finer steps are not tried."""

WRITTEN_AT = 500.0
"""Bits/s/channel near which stated lengths are held against written bytes."""

FLAT = 2.0**-63
"""Scale of a stretch without any change: the smallest that can be said."""


@dataclass
class Coded:
    """What one coder makes of one recording at one rate.

    Attributes
    ----------
    setting, order : name of the rate, and a number to sort by
    target_BCT, rec_BCT : SI units; T may be less than the piece's
    bits : of everything a decoder needs besides its tables
    nominal : bits/s/channel as the codec states them, without scales; None: it states none
    counts_QK : how often each code of each level was used
    """

    setting: str
    order: float
    target_BCT: Array
    rec_BCT: Array
    bits: float
    nominal: float | None = None
    counts_QK: NDArray[np.int64] | None = None


class Coder(Protocol):
    """A way to code windows: neural codecs and classical coders alike."""

    @property
    def name(self) -> str: ...
    @property
    def sort(self) -> str:
        """What it is: "codec", "baseline" or "control"."""

    def applies(self, piece: Piece) -> bool:
        """Whether this recording can be coded."""

    def fit(self, pieces: Sequence[Piece]) -> None:
        """Learn tables, steps or components from training windows."""

    def code(self, piece: Piece) -> Iterator[Coded]:
        """One result a rate."""


class NeuralCoder:
    """A trained codec with tables for its codes.

    Parameters
    ----------
    name : in tables
    codec : in evaluation mode
    """

    sort = "codec"

    def __init__(self, name: str, codec: Codec) -> None:
        self.name, self.codec = name, codec
        self.tables = CodeTables(codec.config.codebook_size, codec.per_channel)

    @property
    def step(self) -> int:
        """Samples that a window must hold a whole number of."""
        config = self.codec.config
        return int(getattr(config, "window", None) or getattr(config, "hop", 1))

    def applies(self, piece: Piece) -> bool:
        return True

    def fit(self, pieces: Sequence[Piece]) -> None:
        """Count the codes of training windows."""
        made = []
        for piece in pieces:
            batch, _, _ = codec_batch(piece, self.codec.preprocess.normalise)
            codes = [self._encode(b).ids_BSWQ for b in chunks(batch)]
            made.append(self._ids(np.concatenate(codes), piece))
        self.tables.fit(np.concatenate(made))

    def code(self, piece: Piece) -> Iterator[Coded]:
        """One result a number of levels."""
        import torch

        batch, scaled, target_BCT = codec_batch(piece, self.codec.preprocess.normalise)
        codes = [self._encode(b) for b in chunks(batch)]
        ids = self._ids(np.concatenate([c.ids_BSWQ for c in codes]), piece)
        counts_QK, bits_Q = self.tables.count(ids), self.tables.bits(ids)
        full = self.codec.bits_per_second(piece.sfreq)
        if not self.codec.per_channel:
            full /= piece.valid_BC.sum(1).mean()
        n_levels = self.codec.n_levels
        for n in levels_tried(n_levels):
            with torch.inference_mode():
                parts = [
                    self.codec.decode(self.codec.keep_levels(c, n) if n < n_levels else c, b)
                    for c, b in zip(codes, chunks(batch), strict=True)
                ]
            x_BCT = torch.cat(parts).double().numpy()
            target = target_BCT[..., : x_BCT.shape[2]]
            if isinstance(self.codec, BrainTokenizer):
                rec, side = restore_scale(x_BCT, target, piece, self.codec.config.window)
            else:
                rec, side = scaled.back(x_BCT), scaled.bits
            setting = f"{n} level{'s' if n > 1 else ''}"
            bits = float(bits_Q[:n].sum()) + side
            nominal = float(full * n / n_levels)
            yield Coded(setting, n, target, rec, bits, nominal, counts_QK[:n])

    def _encode(self, batch: SignalBatch) -> Codes:
        import torch

        with torch.inference_mode():
            return self.codec.encode(batch)

    def _ids(self, ids_BSWQ: Any, piece: Piece) -> Any:
        """Codes (N, S, W, Q), of valid channels only where sources are channels."""
        return ids_BSWQ[piece.valid_BC][:, None] if self.codec.per_channel else ids_BSWQ


@runtime_checkable
class Rated(Protocol):
    """A codec that chooses its rate when it encodes, and says what its codes cost."""

    preprocess: Any

    @property
    def rates(self) -> tuple[float, ...]:
        """Steps, coarse to fine."""

    def code(self, batch: SignalBatch, step: float) -> tuple[Any, Any]:
        """Reconstruction (B, C, T) in the units of the batch, and bits of each window (B,)."""


class RateCoder:
    """A codec with a step and an entropy model of its own: no tables, and one model for all rates.

    Parameters
    ----------
    name : in tables
    codec : in evaluation mode
    """

    sort = "codec"
    step = 1
    """Windows of any length are coded."""

    def __init__(self, name: str, codec: Rated) -> None:
        self.name, self.codec = name, codec
        self.steps = codec.rates
        self.said = ""

    def applies(self, piece: Piece) -> bool:
        return True

    def fit(self, pieces: Sequence[Piece]) -> None:
        """Leave out steps that cost more than `ENOUGH` on a few training windows.

        Where the codec writes bytes, the stated length of one step is held against them.
        """
        piece = first_windows(pieces[0])
        batch, scaled, _ = codec_batch(piece, self.codec.preprocess.normalise)
        tried: list[float] = []
        self.said = ""
        for step in self.codec.rates:
            tried.append(step)
            bits = float(np.sum(self._code(batch, step)[1]))
            rate = (bits + scaled.bits) / piece.channel_seconds
            if rate > WRITTEN_AT and not self.said:
                self.said = self._written(batch, step, bits)
            if rate > ENOUGH:
                break
        self.steps = tuple(tried)

    def code(self, piece: Piece) -> Iterator[Coded]:
        """One result a step."""
        batch, scaled, target_BCT = codec_batch(piece, self.codec.preprocess.normalise)
        for step in self.steps:
            parts = [self._code(b, step) for b in chunks(batch)]
            x_BCT = np.concatenate([x for x, _ in parts])
            bits = sum(float(np.sum(b)) for _, b in parts) + scaled.bits
            target = target_BCT[..., : x_BCT.shape[2]]
            yield Coded(f"step {step:.3g}", -step, target, scaled.back(x_BCT), bits)

    def stated(self) -> str:
        """How long written bytes are against the lengths that the tables give."""
        return self.said

    def _code(self, batch: SignalBatch, step: float) -> tuple[Array, Any]:
        import torch

        with torch.inference_mode():
            x_BCT, bits_B = self.codec.code(batch, step)
        return x_BCT.double().cpu().numpy(), np.asarray(bits_B, np.float64)

    def _written(self, batch: SignalBatch, step: float, bits: float) -> str:
        codec: Any = self.codec
        if not hasattr(codec, "pack"):
            return f"{self.name} states lengths and writes no bytes."
        n = 8 * len(codec.pack(codec.encode(batch, step), batch))
        return (
            f"{self.name}: {len(batch)} training windows at step {step:.3g} are "
            f"{bits:.0f} bits by its own statement and {n} bits as written, header included."
        )


def first_windows(piece: Piece) -> Piece:
    """As many windows as a codec sees at a time, spread over the recording."""
    at = np.unique(np.linspace(0, len(piece.x_BCT) - 1, CHUNK).round().astype(int))
    return replace(piece, x_BCT=piece.x_BCT[at], valid_BC=piece.valid_BC[at])


def levels_tried(n: int) -> list[int]:
    """Numbers of levels, all of a few and some of many."""
    if n <= MOST_RATES:
        return list(range(1, n + 1))
    return sorted({int(round(k)) for k in np.geomspace(1, n, MOST_RATES)})


def restore_scale(
    x_BCT: Array, target_BCT: Array, piece: Piece, window: int
) -> tuple[Array, float]:
    """SI units of z-scores, with mean and deviation of each channel's codec window sent along.

    Returns
    -------
    signal, and what the two numbers cost
    """
    windows = target_BCT.reshape(*target_BCT.shape[:2], -1, window)
    valid = piece.valid_BC[..., None, None]
    std = windows.std(-1, keepdims=True)
    scale = round_scale(np.where(valid & (std > FLAT), std, FLAT))
    offset = round_offset(windows.mean(-1, keepdims=True), scale)
    rec = (x_BCT.reshape(windows.shape) * scale + offset).reshape(target_BCT.shape)
    return rec, 2.0 * NUMBER_BITS * float(piece.valid_BC.sum() * windows.shape[2])


def chunks(batch: SignalBatch) -> list[SignalBatch]:
    """The batch in parts of a few windows."""
    fields = {n: v for n, v in vars(batch).items() if hasattr(v, "shape")}
    return [
        replace(batch, **{n: v[a : a + CHUNK] for n, v in fields.items()}, refs=[])
        for a in range(0, len(batch), CHUNK)
    ]


def load_codecs(named: Sequence[tuple[str, str]], store: Store) -> list[NeuralCoder | RateCoder]:
    """Coders of model folders.

    Raises
    ------
    ContractError
        If a folder holds no codec, one for signals prepared otherwise, or two have one name.
    """
    from brainfm.data.collate import require_store_recipe
    from brainfm.hub import load_model

    out: list[NeuralCoder | RateCoder] = []
    for name, folder in named:
        if name in [c.name for c in out]:
            raise ContractError(
                f"two codecs are called '{name}'; give each a name: --codec NAME=DIR"
            )
        codec = load_model(folder)
        if not isinstance(codec, Codec):
            raise ContractError(
                f"{folder}: holds a {type(codec).__name__}, which is no codec; name a folder that "
                "training with CodecTask exported"
            )
        require_store_recipe(codec.preprocess, store)
        codec.eval()
        out.append(RateCoder(name, codec) if isinstance(codec, Rated) else NeuralCoder(name, codec))
    return out
