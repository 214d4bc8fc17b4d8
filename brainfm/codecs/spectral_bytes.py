"""Codes of a SpectralCodec as bytes, and back: equal to the bit, on any machine.

Both sides go through the windows moment by moment (`codecs.neighbours`); at each the decoder has
every integer that the encoder's guess looked at.

Shapes: B windows, C channels, F blocks, K frequencies, M = C F K coefficients.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.codecs import arithmetic
from brainfm.errors import ContractError
from brainfm.types import Codes, SignalBatch

if TYPE_CHECKING:
    from brainfm.codecs.spectral import SpectralCodec

MAGIC = b"brainfm spectral 1\n"
HEAD = struct.Struct("<d5I")
"""Step; windows, channels, blocks, frequencies; bytes of the range coder."""
SIZE_ZERO = 192
"""Half octaves of size are written as one byte each, this much higher."""


def pack(codec: SpectralCodec, codes: Codes, batch: SignalBatch) -> bytes:
    """Codes as bytes; `batch` gives positions and validity, its samples are not looked at.

    Raises
    ------
    ContractError
        If the codes are not of a SpectralCodec.
    """
    if codes.step is None or codes.size_BS is None:
        raise ContractError("these codes carry no step; they are not those of a SpectralCodec")
    q_BCFK = codes.ids_BSWQ.cpu()
    box = codec.neighbours(batch, q_BCFK.shape)
    valid_BM = _valid(batch, len(box))
    parts = [arithmetic.place(g) for _, g in codec.guesses(q_BCFK, batch, codes.step, exact=True)]
    columns = zip(*parts, strict=True)
    table, middle, digits = (
        np.concatenate([c.reshape(len(batch), -1) for c in column], 1) for column in columns
    )
    q_BM = q_BCFK.flatten(1).numpy()
    writer = arithmetic.Writer()
    for moment in box.moments:
        i = moment.numpy()
        now = valid_BM[:, i]
        at = arithmetic.Place(*(x[:, i][now] for x in (table, middle, digits)))
        writer.write(q_BM[:, i][now], at)
    coded, loose = writer.bytes()
    size_BC = (codes.size_BS.cpu().numpy() + SIZE_ZERO).astype(np.uint8)
    sizes = size_BC[batch.valid_BC.cpu().numpy()].tobytes()
    return MAGIC + HEAD.pack(codes.step, *q_BCFK.shape, len(coded)) + sizes + coded + loose


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
    n_sizes = int(valid_BC.sum())
    sizes = (
        np.frombuffer(content, np.uint8, n_sizes, start) if len(content) >= start + n_sizes else ()
    )
    coded = content[start + n_sizes : start + n_sizes + n_coded]
    loose = content[start + n_sizes + n_coded :]
    if len(sizes) < n_sizes or len(coded) < n_coded:
        raise ContractError("these codes were cut off; write them again")
    size_BC = np.zeros(valid_BC.shape, np.int64)
    size_BC[valid_BC] = np.asarray(sizes, np.int64) - SIZE_ZERO

    box = codec.neighbours(batch, torch.Size((b, c, n_blocks, k)))
    valid_BM = _valid(batch, len(box))
    padded = box.pad(torch.zeros(b, c, n_blocks, k, dtype=torch.float64))
    place_M = box.place_M()
    log_step_B = torch.full((b,), np.log2(step), dtype=torch.float64)
    reader = arithmetic.Reader(coded, loose)
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
    q_BCFK = padded[:, place_M].unflatten(1, (c, n_blocks, k))
    return codec.codes(q_BCFK, torch.from_numpy(size_BC), step, batch)


def _valid(batch: SignalBatch, n: int) -> NDArray[np.bool_]:
    """Whether each coefficient's channel is valid, (B, M): only those are written."""
    valid_BC = batch.valid_BC.cpu().numpy()
    return np.repeat(valid_BC, n // valid_BC.shape[1], 1)
