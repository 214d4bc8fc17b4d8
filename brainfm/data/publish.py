"""Files that appear whole or not at all, and the table at the head of a safetensors file."""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from brainfm.errors import DataError

REDO = "delete it and run `python -m data_prep run` again"
TEMPORARY = ".tmp"


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """A temporary name to write to; on leaving, the file is on disk under its own name.

    Raises
    ------
    DataError
        If the disk refuses; the temporary file is gone then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, SafetensorError) as e:
        raise DataError(
            f"{path}: could not be written ({e}); check the name, the permissions and the space of "
            "that disk, and run again: nothing was published"
        ) from e
    finally:
        # Where a file stands in place of the folder there is nothing to take away.
        if path.parent.is_dir():
            temporary.unlink(missing_ok=True)


def table_of(path: Path, again: str = REDO) -> tuple[dict[str, Any], int, int]:
    """Table of a safetensors file, where its samples begin, and the size of the file.

    Parameters
    ----------
    again : what to do where it is damaged

    Raises
    ------
    DataError
        If the file is missing, cut off or no safetensors file.
    """
    try:
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            length = struct.unpack("<Q", f.read(8))[0] if size >= 8 else 0
            if not 2 <= length <= size - 8:
                raise DataError(f"{path}: truncated or not a safetensors file; {again}")
            table = json.loads(f.read(length))
    except FileNotFoundError as e:
        raise DataError(f"{path}: missing; run `python -m data_prep finalize`") from e
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as e:
        raise DataError(f"{path}: damaged header ({type(e).__name__}: {e}); {again}") from e
    if not isinstance(table, dict):
        raise DataError(f"{path}: damaged header (no table); {again}")
    return table, 8 + length, size
