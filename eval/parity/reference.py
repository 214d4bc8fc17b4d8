"""A reference file: arrays computed by a published program, opened or refused.

Shapes: any.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

CHECKED = ("mid/", "out/", "cosonly/", "ema/", "prep/", "train/", "grad/", "vocab/")
"""Prefixes of arrays that must be recomputed. Others are inputs, weights, random numbers."""


@dataclass
class Reference:
    """Arrays of a reference file by name, and its `config_json`."""

    path: Path
    arrays: dict[str, NDArray[Any]]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Content of `config_json`."""
        text = self.arrays.get("config_json")
        if text is None:
            raise DataError(f"{self.path}: has no config_json; it is not a reference file")
        try:
            config = json.loads(str(text))
        except json.JSONDecodeError as e:
            raise DataError(f"{self.path}: config_json is not valid JSON ({e})") from e
        if not isinstance(config, dict):
            raise DataError(f"{self.path}: config_json is no table of settings")
        return config

    def group(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Arrays under `prefix`, without it."""
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            raise DataError(f"{self.path}: array '{name}' is missing, and others need it")
        return self.arrays[name]


def read_reference(path: str | Path) -> Reference:
    """Open an .npz without unpickling anything, or the cases of a .json (see `szcore`).

    Raises
    ------
    DataError
        If the file is missing, truncated, of another kind, or holds anything but plain arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a reference .npz or .json")
    if path.suffix.lower() == ".json":
        from eval.parity.szcore import read_cases

        return read_cases(path)
    try:
        with np.load(path, allow_pickle=False) as f:
            if not isinstance(f, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return Reference(path, {k: f[k] for k in f.files})
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, AttributeError) as e:
        raise DataError(
            f"{path}: not a readable .npz of plain arrays ({e}); fetch the reference file again"
        ) from e
    except Exception as e:  # zlib.error, NotImplementedError, struct.error ... of damaged zips
        raise DataError(
            f"{path}: damaged ({type(e).__name__}: {e}); fetch the reference file again"
        ) from e


@dataclass(frozen=True)
class Recipe:
    """How one array is recomputed.

    `tolerance` 0 means exact. `excuse` names an array and a factor: a sum may be off by what
    that term is off (and is allowed to be), times the factor.
    """

    compute: Callable[[], Any]
    tolerance: float = 1e-5
    excuse: tuple[str, float] | None = None


@dataclass
class Recipes:
    """Recipes by array name.

    `given` names arrays under a checked prefix that are inputs of others, not results.
    """

    how: dict[str, Recipe] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    def add(
        self,
        name: str,
        compute: Callable[[], Any],
        tolerance: float = 1e-5,
        excuse: tuple[str, float] | None = None,
    ) -> None:
        """Recipe of array `name`; see `Recipe`."""
        self.how[name] = Recipe(compute, tolerance, excuse)
