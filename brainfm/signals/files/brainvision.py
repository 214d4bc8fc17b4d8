"""BrainVision headers checked against the size of their data file, which MNE does not do."""

from __future__ import annotations

import configparser
from pathlib import Path

from brainfm.errors import DataError

SAMPLE_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}


def check_brainvision(path: Path) -> None:
    """Compare number of channels, sample format and number of points with the `.eeg` file.

    Raises
    ------
    DataError
        If the data file is missing, empty, or no whole number of scans long.
    """
    text = path.read_bytes().decode("utf-8", errors="replace").lstrip("\ufeff")
    parser = configparser.ConfigParser(interpolation=None, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        # The first line is a title, and [Comment] holds free text.
        parser.read_string(text.split("\n", 1)[-1].split("[Comment]")[0])
        common = parser["Common Infos"]
        n_channels = int(common["NumberOfChannels"])
        data = path.parent / common["DataFile"].replace("$b", path.stem)
        binary = common.get("DataFormat", "BINARY").upper() == "BINARY"
        width = SAMPLE_BYTES[parser["Binary Infos"]["BinaryFormat"].upper()] if binary else 0
        points = int(common.get("DataPoints") or 0)
    except (configparser.Error, KeyError, ValueError, IndexError) as e:
        raise DataError(
            f"{path}: no complete BrainVision header ({type(e).__name__}: {str(e)[:80]}); it is "
            "damaged, export it again"
        ) from e
    if not data.is_file():
        raise DataError(f"{path}: its data file {data.name} is missing; put it beside the header")
    if not binary:
        return
    size = data.stat().st_size
    scan = n_channels * width
    if scan < 1 or size < scan or size % scan or (points and size != points * scan):
        raise DataError(
            f"{path}: {data.name} has {size} bytes, no whole number of scans of {n_channels} "
            f"channels; it is truncated or damaged, copy it again"
        )
