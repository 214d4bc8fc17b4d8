"""Whole numbers below a limit as bits, none wasted between them."""

import numpy as np
from numpy.typing import NDArray


def width_of(limit: int) -> int:
    """Bits that every number below `limit` fits into; 0 where there is only one."""
    return int(limit - 1).bit_length()


def pack_ids(ids: NDArray[np.integer], limit: int) -> bytes:
    """Numbers 0 to `limit` - 1 of any shape, in order, most significant bit first.

    Raises
    ------
    ValueError
        If a number is negative or too large.
    """
    flat = np.asarray(ids, np.int64).reshape(-1)
    if flat.size and not 0 <= flat.min() <= flat.max() < limit:
        raise ValueError(
            f"ids run from {flat.min()} to {flat.max()}; they must be 0 to {limit - 1}"
        )
    places = np.arange(width_of(limit))[::-1]
    return np.packbits((flat[:, None] >> places & 1).astype(np.uint8)).tobytes()


def unpack_ids(content: bytes, n: int, limit: int) -> NDArray[np.int64]:
    """The first `n` numbers of what `pack_ids` made.

    Raises
    ------
    ValueError
        If the bytes are more or fewer than `n` numbers need, or hold one that is too large.
    """
    width = width_of(limit)
    need = -(-n * width // 8)
    if len(content) != need:
        raise ValueError(f"{n} ids of {width} bits are {need} bytes; there are {len(content)}")
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=n * width).reshape(n, width)
    ids = bits.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64)[::-1])
    if n and ids.max() >= limit:
        raise ValueError(f"an id is {ids.max()}; they must be 0 to {limit - 1}")
    return ids
