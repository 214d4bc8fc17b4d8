"""Codes of a SpectralCodec as bytes, and back: equal to the bit, on any machine.

Both sides go through the windows moment by moment (`codecs.neighbours`), those of long blocks
first; at each the decoder has every integer that the encoder's guess looked at. Before the coded
integers come one byte a window, how often its blocks are halved, and one a channel, its size.

Shapes: B windows, C channels, F blocks, K frequencies, M = C F K coefficients.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainfm.codecs import arithmetic
from brainfm.errors import ContractError
from brainfm.types import Codes, SignalBatch

if TYPE_CHECKING:
    from brainfm.codecs.spectral import SpectralCodec

MAGIC = b"brainfm spectral 2\n"
HEAD = struct.Struct("<d5I")
"""Step; windows, channels, blocks, frequencies; bytes of the range coder."""
SIZE_ZERO = 192
"""Half octaves of size are written as one byte each, this much higher."""


@dataclass
class SpectralCodes(Codes):
    """Integers in rows as long as the longest block; a window of shorter ones fills each row with
    several, one after the other.

    Attributes
    ----------
    length_B : int64, samples of the blocks of each window
    """

    length_B: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


def groups(length_B: Tensor) -> Iterator[tuple[Tensor, int]]:
    """(windows, length) for every length of blocks, long to short."""
    for k in sorted(set(length_B.tolist()), reverse=True):
        yield torch.nonzero(length_B == k)[:, 0].cpu(), k


def windows_of(batch: SignalBatch, rows: Tensor) -> SignalBatch:
    """Some windows of a batch."""
    fields = {n: v for n, v in vars(batch).items() if isinstance(v, Tensor)}
    return replace(batch, **{n: v[rows.to(v.device)] for n, v in fields.items()}, refs=[])


def required(codes: Codes) -> SpectralCodes:
    """The codes, which must be a SpectralCodec's."""
    if not isinstance(codes, SpectralCodes) or codes.step is None or codes.size_BS is None:
        raise ContractError("these codes carry no step; they are not those of a SpectralCodec")
    return codes


def pack(codec: SpectralCodec, codes: Codes, batch: SignalBatch) -> bytes:
    """Codes as bytes; `batch` gives positions and validity, its samples are not looked at.

    Raises
    ------
    ContractError
        If the codes are not of a SpectralCodec.
    """
    codes = required(codes)
    writer = arithmetic.Writer()
    for rows, k in groups(codes.length_B):
        part = windows_of(batch, rows)
        q_BCFK = codes.ids_BSWQ[rows].cpu().flatten(2).unflatten(2, (-1, k))
        _write(writer, codec, q_BCFK, part, codes.step)
    coded, loose = writer.bytes()
    size_BC = (codes.size_BS.cpu().numpy() + SIZE_ZERO).astype(np.uint8)
    sizes = size_BC[batch.valid_BC.cpu().numpy()].tobytes()
    longest = codes.ids_BSWQ.shape[-1]
    halved = np.log2(longest / codes.length_B.numpy()).round().astype(np.uint8).tobytes()
    head = HEAD.pack(codes.step, *codes.ids_BSWQ.shape, len(coded))
    return MAGIC + head + halved + sizes + coded + loose


def _write(
    writer: arithmetic.Writer, codec: SpectralCodec, q_BCFK: Tensor, batch: SignalBatch, step: float
) -> None:
    """Windows whose blocks have one length."""
    box = codec.neighbours(batch, q_BCFK.shape)
    valid_BM = _valid(batch, len(box))
    parts = [arithmetic.place(g) for _, g in codec.guesses(q_BCFK, batch, step, exact=True)]
    columns = zip(*parts, strict=True)
    table, middle, digits = (
        np.concatenate([c.reshape(len(batch), -1) for c in column], 1) for column in columns
    )
    q_BM = q_BCFK.flatten(1).numpy()
    for moment in box.moments:
        i = moment.numpy()
        now = valid_BM[:, i]
        at = arithmetic.Place(*(x[:, i][now] for x in (table, middle, digits)))
        writer.write(q_BM[:, i][now], at)


@torch.no_grad()
def unpack(codec: SpectralCodec, content: bytes, batch: SignalBatch) -> Codes:
    """Codes of what `pack` wrote for the same positions and valid channels.

    Raises
    ------
    ContractError
        If the bytes are something else, cut off, or of other channels than the batch's.
    """
    start = len(MAGIC) + HEAD.size
    if not content.startswith(MAGIC) or len(content) < start:
        raise ContractError("these bytes are no codes of a SpectralCodec of this version")
    step, b, c, n_blocks, k, n_coded = HEAD.unpack_from(content, len(MAGIC))
    if (b, c) != tuple(batch.valid_BC.shape):
        raise ContractError(
            f"these bytes hold {b} windows of {c} channels, the batch has "
            f"{tuple(batch.valid_BC.shape)}; give the channels they were made of"
        )
    step = codec.checked(step)
    valid_BC = batch.valid_BC.cpu().numpy()
    n_sizes = b + int(valid_BC.sum())
    sizes = (
        np.frombuffer(content, np.uint8, n_sizes, start) if len(content) >= start + n_sizes else ()
    )
    coded = content[start + n_sizes : start + n_sizes + n_coded]
    loose = content[start + n_sizes + n_coded :]
    if len(sizes) < n_sizes or len(coded) < n_coded:
        raise ContractError("these codes were cut off; write them again")
    length_B = torch.from_numpy(k >> np.asarray(sizes[:b], np.int64))
    size_BC = np.zeros(valid_BC.shape, np.int64)
    size_BC[valid_BC] = np.asarray(sizes[b:], np.int64) - SIZE_ZERO
    if any(n == 0 or k % n for n in length_B.tolist()):
        raise ContractError("these codes are damaged (blocks of no length); write them again")

    q_BCFK = torch.zeros(b, c, n_blocks, k, dtype=torch.float64)
    reader = arithmetic.Reader(coded, loose)
    for rows, length in groups(length_B):
        shape = torch.Size((len(rows), c, n_blocks * k // length, length))
        q = _read(reader, codec, shape, windows_of(batch, rows), step)
        q_BCFK[rows] = q.view(q_BCFK[rows].shape)
    return codec.codes(q_BCFK, length_B, torch.from_numpy(size_BC), step, batch)


def _read(
    reader: arithmetic.Reader,
    codec: SpectralCodec,
    shape: torch.Size,
    batch: SignalBatch,
    step: float,
) -> Tensor:
    """What `_write` wrote: (B, C, F, K)."""
    box = codec.neighbours(batch, shape)
    valid_BM = _valid(batch, len(box))
    padded = box.pad(torch.zeros(shape, dtype=torch.float64))
    place_M = box.place_M()
    log_step_B = torch.full((len(batch),), np.log2(step), dtype=torch.float64)
    for moment in box.moments:
        near = padded[:, box.index_MJ[moment]]
        guess = codec.guess_near(near, box, batch, log_step_B, moment, exact=True)
        now = valid_BM[:, moment.numpy()]
        at = arithmetic.Place(*(x.reshape(now.shape)[now] for x in arithmetic.place(guess)))
        q = torch.zeros(now.shape, dtype=torch.float64)
        try:
            q[torch.from_numpy(now)] = torch.from_numpy(reader.read(at)).double()
        except (ValueError, AssertionError) as e:
            raise ContractError(f"these codes are damaged ({e}); write them again") from e
        padded[:, place_M[moment]] = q
    return padded[:, place_M].unflatten(1, shape[1:])


def _valid(batch: SignalBatch, n: int) -> NDArray[np.bool_]:
    """Whether each coefficient's channel is valid, (B, M): only those are written."""
    valid_BC = batch.valid_BC.cpu().numpy()
    return np.repeat(valid_BC, n // valid_BC.shape[1], 1)
