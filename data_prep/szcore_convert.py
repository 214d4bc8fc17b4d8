"""Originals of scalp seizure sets become BIDS by epilepsy2bids, one file at a time.

epilepsy2bids 0.0.7 converts a whole download in one loop: a file that it cannot read ends all
others, an electrode that a file lacks becomes zeros (and the average then makes a signal of them),
and a file that its list of seizures does not mention becomes one without seizures. Here each file
stands for itself, and `conversion.tsv` says what became of it.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.files.edf import check_edf

LEDGER = "conversion.tsv"
COLUMNS = ("original", "converted", "problem")

Announced = Callable[[Path], int | None]
"""How many seizures the set's own lists give a recording; None for a set that has none.
LookupError, if there is a list and it does not mention the recording: then nobody looked."""


@dataclass
class Fate:
    """What became of one original file.

    Attributes
    ----------
    original, converted : relative to the folders of originals and of BIDS; "" for none
    problem : why it was not converted, else ""
    """

    original: str
    converted: str = ""
    problem: str = ""


def convert_set(module: str, original: Path, bids: Path, announced: Announced) -> list[Fate]:
    """Convert all recordings below `original` and write `conversion.tsv`.

    Parameters
    ----------
    module : of `epilepsy2bids.bids`
    original, bids : existing folders
    announced : counts seizures, to notice those that got lost

    Raises
    ------
    DataError
        If epilepsy2bids is missing, or stops for a reason that is not one file's.
    """
    # Two of the converters join a relative path with itself and find nothing.
    original, bids = original.resolve(), bids.resolve()
    with _one_by_one(module, original, bids, announced) as (convert, fates):
        try:
            convert(original, bids)
        except Exception as e:
            # The converter meets whatever a download holds; the sentence carries it.
            raise DataError(
                f"{original}: epilepsy2bids cannot convert it ({_short(e)}); compare the folder "
                "with the set's page"
            ) from e
    for edf in sorted(p for p in original.rglob("*") if p.suffix.lower() == ".edf"):
        fates.setdefault(
            edf, Fate(_below(edf, original), problem="lies where epilepsy2bids does not look")
        )
    done = sorted(fates.values(), key=lambda f: f.original)
    for fate in done:
        if fate.problem and fate.converted:
            for beside in bids.glob(fate.converted.removesuffix("_eeg.edf") + "_*"):
                beside.unlink()
            fate.converted = ""
    with open(bids / LEDGER, "w", encoding="utf-8", newline="") as f:
        rows = csv.writer(f, delimiter="\t", lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows((f.original, f.converted, " ".join(f.problem.split())) for f in done)
    return done


def read_ledger(bids: Path) -> list[Fate]:
    """What `convert_set` wrote; empty for a copy that somebody else converted."""
    if not (bids / LEDGER).exists():
        return []
    with open(bids / LEDGER, encoding="utf-8", newline="") as f:
        return [Fate(*row) for row in list(csv.reader(f, delimiter="\t"))[1:] if len(row) == 3]


@contextlib.contextmanager
def _one_by_one(
    name: str, original: Path, bids: Path, announced: Announced
) -> Iterator[tuple[Any, dict[Path, Fate]]]:
    """The converter of epilepsy2bids, quiet, that goes on after a file it cannot read."""
    try:
        module: Any = importlib.import_module(f"epilepsy2bids.bids.{name}.convert2bids")
        shared: Any = importlib.import_module("epilepsy2bids.bids.convert2bids")
        eeg = importlib.import_module("epilepsy2bids.eeg").Eeg
        annotations = importlib.import_module("epilepsy2bids.annotations").Annotations
        pyedflib: Any = importlib.import_module("pyedflib")
    except ImportError as e:
        raise DataError(
            f"converting needs epilepsy2bids ({e}); run pip install 'brainfm-decoding[seizure]'"
        ) from e
    fates: dict[Path, Fate] = {}

    def failed(edf: Path, why: Exception) -> None:
        # Whoever tells it names the file.
        fates[edf].problem = fates[edf].problem or _short(why).replace(f"{edf}: ", "")

    class Recorded(eeg):  # type: ignore[misc, valid-type]
        edf: Path

        @classmethod
        def loadEdf(cls, file: str, montage: Any, electrodes: Any) -> Any:
            edf = Path(file)
            fates[edf] = Fate(_below(edf, original))
            made = cls(np.zeros((0, 0)), [], 1)
            try:
                check_edf(edf)
                made = super().loadEdf(file, montage, electrodes)
            except UnboundLocalError:
                # epilepsy2bids takes the rate of the last electrode it found.
                failed(edf, DataError(f"has none of {', '.join(electrodes[:4])}, ..."))
            except Exception as e:
                failed(edf, e)
            made.edf = edf
            return made

        def standardize(self, fs: int, electrodes: Any, reference: str) -> None:
            if fates[self.edf].problem:
                return
            # loadEdf gives one row for each electrode asked for, zeros where there is none.
            there = [i for i, x in enumerate(self.data) if np.any(x)]
            self.data = self.data[there]
            self.channels = [self.channels[i] for i in there]
            try:
                if not there:
                    raise DataError("all its electrodes are flat at zero")
                super().standardize(fs, [electrodes[i] for i in there], reference)
            except Exception as e:
                failed(self.edf, e)
                # The converter writes both into a table; a rate must be a whole number for it.
                self.data, self.fs = np.zeros((0, 0)), 1

        def reReferenceToBipolar(self) -> None:
            # A derivation whose electrode is lacking is left out, not the file.
            def row(electrode: str) -> int | None:
                try:
                    return int(eeg._findChannelIndex(self.channels, electrode, self.montage))
                except ValueError:
                    return None

            pairs = [(d, *(row(e) for e in d.split("-"))) for d in eeg.BIPOLAR_DBANANA]
            kept = [(d, a, b) for d, a, b in pairs if a is not None and b is not None]
            self.data = np.array([self.data[a] - self.data[b] for _, a, b in kept])
            self.channels = [d for d, _, _ in kept]
            self.montage = eeg.Montage.BIPOLAR

        def saveEdf(self, file: str) -> None:
            if fates[self.edf].problem:
                return
            became = _below(Path(file), bids)
            for other in [f for f in fates.values() if f.converted == became]:
                # The table of the one is about to be written over by the other's.
                other.problem = f"{fates[self.edf].original} becomes {became} too"
                failed(self.edf, DataError(f"{other.original} becomes {became} too"))
                return
            fates[self.edf].converted = became
            try:
                # A digital range needs a width; a constant channel has none.
                moves = [i for i, x in enumerate(self.data) if np.ptp(x) > 0]
                self.data, self.channels = self.data[moves], [self.channels[i] for i in moves]
                super().saveEdf(file)
            except Exception as e:
                failed(self.edf, e)

    read_annotations = module.loadAnnotationsFromEdf

    def annotated(file: str) -> Any:
        edf = Path(file)
        nobody_looked = annotations()
        if fates[edf].problem:
            return nobody_looked
        try:
            found = read_annotations(file)
            n = len(found.getEvents())
            try:
                expected = announced(edf)
            except LookupError:
                return found if n else nobody_looked
            if expected is not None and n != expected:
                raise DataError(f"its list announces {expected} seizures, {n} could be read")
            return found
        except FileNotFoundError:
            return nobody_looked
        except Exception as e:
            failed(edf, e)
            return nobody_looked

    users = [m for m in (module, shared) if hasattr(m, "Eeg")]
    reader = pyedflib.EdfReader
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for user in users:
            user.Eeg = Recorded
        module.loadAnnotationsFromEdf = annotated
        pyedflib.EdfReader = lambda file: reader(_with_a_date(file, Path(scratch)))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield module.convert, fates
        finally:
            pyedflib.EdfReader = reader
            module.loadAnnotationsFromEdf = read_annotations
            for user in users:
                user.Eeg = eeg


def _with_a_date(file: str, scratch: Path) -> str:
    """The file, or a copy that begins in 1985 where its own date is none: pyedflib refuses it."""
    with open(file, "rb") as f:
        start = f.read(256)[168:184].decode("latin-1")
    try:
        datetime.strptime(start, "%d.%m.%y%H.%M.%S")
        return file
    except ValueError:
        content = bytearray(Path(file).read_bytes())
    content[168:184] = b"01.01.8500.00.00"
    if content[192:196] == b"EDF+":
        content[88:168] = b"Startdate X X X X".ljust(80)
    copy = scratch / "dated.edf"
    copy.write_bytes(content)
    return str(copy)


def blocks_of(text: str, marker: str = "File name:") -> list[tuple[str, str]]:
    """Name and lines of each part of a list that begins with "File name: NAME"."""
    parts = re.split(rf"^[ \t]*{marker}", text, flags=re.IGNORECASE | re.MULTILINE)[1:]
    return [(name.strip(), rest) for name, _, rest in (p.partition("\n") for p in parts)]


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _short(e: Exception) -> str:
    said = " ".join(str(e).split())[:240]
    return said if isinstance(e, DataError) else f"{type(e).__name__}: {said}"
