"""Pickles of others, read without running anything of theirs: plain containers and arrays only.

A pickle is a program: whatever it names is imported and called. This reader knows a short list of
names that build values and do nothing else, and refuses every other by its name.
"""

from __future__ import annotations

import builtins
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

CONTAINERS = frozenset({"set", "frozenset", "complex"})
"""Builtins that a pickle names; dicts, lists, tuples, numbers and text need no name."""

MAX_BYTES = 16 << 30
"""No file of the data sets that are read here is larger."""


KINDS = "biufcSUO"
"""Kinds of NumPy types that are rebuilt: numbers, text, and lists of such values."""


class Mapping(dict[str, Any]):
    """Stands for a published class that is a dict with attributes; it has no code of theirs."""

    def __setstate__(self, state: Any) -> None:
        # A dict whose attributes are its keys carries them as state as well.
        if isinstance(state, dict) and state is not self:
            self.update(state)


def read_pickle(path: str | Path, mappings: tuple[str, ...] = ()) -> Any:
    """The value of a pickle made of builtins and NumPy arrays.

    Parameters
    ----------
    path : the file
    mappings : names of classes that are dicts with attributes, whatever module they lay in; they
        come back as `Mapping`, a dict, and none of their code is looked for

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, or names anything that is not on the list.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise DataError(f"{path}: has {size} bytes, which is no pickle; fetch it again")
        with open(path, "rb") as f:
            return _Reader(f, path, mappings).load()
    except (DataError, OSError) as e:
        if isinstance(e, DataError):
            raise
        raise DataError(f"{path}: cannot be read ({e.strerror or e}); fetch it again") from e
    except Exception as e:
        # A damaged pickle raises whatever the step that it stumbled over raises.
        raise DataError(
            f"{path}: is a damaged pickle ({type(e).__name__}: {' '.join(str(e).split())[:120]}); "
            "fetch it again"
        ) from e


class _Type:
    """Stands for `numpy.dtype`, whose own state could lay pointers over bytes."""

    def __init__(self, text: str, align: bool = False, copy: bool = False) -> None:
        self.numpy = np.dtype(str(text))
        if self.numpy.kind not in KINDS:
            raise ValueError(f"an array of {text}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):
            raise ValueError("an array of records")
        if state[1] in "<>":
            self.numpy = self.numpy.newbyteorder(state[1])


class _Array(np.ndarray):
    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, values = state
        if isinstance(values, list) != (kind.numpy.kind == "O"):
            raise ValueError("an array whose values are not of its type")
        super().__setstate__((1, shape, kind.numpy, fortran, values))


def _empty(*_: Any) -> _Array:
    return _Array((0,), np.int8)


def _from_buffer(values: Any, kind: _Type, shape: Any, order: str = "C") -> NDArray[Any]:
    return np.frombuffer(values, kind.numpy).reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: _Type, raw: bytes) -> Any:
    return np.frombuffer(raw, kind.numpy)[0]


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes: as text to encode."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes written as {encoding}")
    return text.encode("latin1")


KNOWN = {
    ("_codecs", "encode"): _latin1,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    **{
        (f"numpy.{core}.{module}", name): ours
        for core in ("core", "_core")
        for module, name, ours in (
            ("multiarray", "_reconstruct", _empty),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}
"""What NumPy 1 and 2 write into the pickle of an array, a number or a type, and what we call."""


class _Reader(pickle.Unpickler):
    def __init__(self, f: io.BufferedReader, path: Path, mappings: tuple[str, ...]) -> None:
        super().__init__(f)
        self.path, self.mappings = path, mappings

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module in ("builtins", "__builtin__") and name in CONTAINERS:
            return getattr(builtins, name)
        # A dotted name would reach into an object; a mapping is one plain word.
        if name in self.mappings:
            return Mapping
        named = f"{module}.{name}"[:80]
        raise DataError(
            f"{self.path}: names {named!r}, which is no plain container or array; brainfm runs no "
            "code of a pickle, convert the file with a program that you trust"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(f"{self.path}: refers to objects outside of it; fetch the whole file")
