"""FIF files walked tag by tag: a truncated one ends inside a tag, and MNE may not notice."""

from __future__ import annotations

import struct
from pathlib import Path

from brainfm.errors import DataError

TAG = struct.Struct(">4i")
"""Kind, type, bytes of data, next (0: the tag behind it, -1: the end, else a position)."""

NEXT_IS_SEQUENTIAL, NEXT_IS_NONE = 0, -1
FIFF_NOP, FIFF_DATA_BUFFER = 108, 300


def check_fif(path: Path) -> None:
    """Follow all tags to the end of the file.

    Raises
    ------
    DataError
        If a tag reaches beyond the file, points backwards, or the chain stops early.
    """
    size = path.stat().st_size
    at = 0
    with open(path, "rb") as f:
        while True:
            f.seek(at)
            head = f.read(TAG.size)
            if len(head) < TAG.size:
                raise _broken(path, f"ends inside a tag at byte {at}")
            kind, _, length, following = TAG.unpack(head)
            if length < 0 or at + TAG.size + length > size:
                raise _broken(path, f"the tag at byte {at} announces {length} bytes too many")
            end = at + TAG.size + length
            if following == NEXT_IS_NONE:
                break
            if following != NEXT_IS_SEQUENTIAL and following < end:
                raise _broken(path, f"the tag at byte {at} points back to byte {following}")
            at = end if following == NEXT_IS_SEQUENTIAL else following
            if at == size:
                # Old writers leave the last tag without a mark; the file is whole.
                break
            if at > size:
                raise _broken(path, f"the tag before byte {at} points behind the end")
    if kind != FIFF_NOP and end < size - TAG.size:
        raise _broken(path, f"the chain of tags stops at byte {end} of {size}")


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; it is truncated or damaged, fetch or export it again")
