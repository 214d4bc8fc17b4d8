"""When frames of fMRI were taken: the TR, and where in it a frame lies.

An image's header is the last to be asked: exporters write 0, 1, or milliseconds into it (the LEMON
run of brainspace says 1 s). A BIDS sidecar comes first, then whoever calls, then the header with a
warning.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainfm.errors import DataError

log = logging.getLogger(__name__)

SHORTEST_S, LONGEST_S = 0.05, 20.0
TO_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
"""Units of time that a NIfTI header may name."""
SAME = 1e-3
"""Two TRs that differ by less, relatively, are one."""


@dataclass(frozen=True)
class Timing:
    """Times of frames.

    Attributes
    ----------
    tr_s : seconds from frame to frame
    offset_s : from the beginning of a frame's TR to the moment that it shows
    notes : where both came from, one sentence each
    """

    tr_s: float
    offset_s: float
    notes: tuple[str, ...] = ()


def sidecars(path: Path) -> list[Path]:
    """Where the sidecar of an image may lie: of `x.dtseries.nii`, `x.dtseries.json` or `x.json`."""
    names = (path.name.removesuffix(".gz").rsplit(".", 1)[0], path.name.split(".")[0])
    return [path.with_name(f"{n}.json") for n in dict.fromkeys(names)]


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """The BIDS sidecar beside an image (same name, `.json`); empty where there is none.

    Raises
    ------
    DataError
        If it is no JSON object.
    """
    found = [p for p in sidecars(Path(path)) if p.exists()]
    if not found:
        return {}
    beside = found[0]
    try:
        content = json.loads(beside.read_text())
    except (OSError, ValueError) as e:
        raise DataError(f"{beside}: no readable JSON ({e}); mend the sidecar") from e
    if not isinstance(content, dict):
        raise DataError(f"{beside}: holds no object with keys; mend the sidecar")
    return content


def timing(
    where: str,
    *,
    sidecar: dict[str, Any] | None = None,
    tr_s: float | None = None,
    header: float | None = None,
    header_unit: str = "sec",
    slices_corrected: bool = False,
) -> Timing:
    """TR and offset of an image, or a refusal.

    Parameters
    ----------
    where : the image, for the sentence
    sidecar : BIDS sidecar: `RepetitionTime`, `StartTime`
    tr_s : what the caller says
    header : fourth zoom of the header, in `header_unit` ("sec", "msec", "usec")
    slices_corrected : slices were brought to the middle of the TR, as fMRIPrep does; counts where
        the sidecar names no `StartTime`

    Raises
    ------
    DataError
        If sidecar and caller disagree, nobody knows the TR, the header alone says 0 or exactly 1,
        or it is no plausible TR.
    """
    said = _number(where, sidecar or {}, "RepetitionTime")
    notes: list[str] = []
    if said is not None and tr_s is not None and abs(said - tr_s) > SAME * max(said, tr_s):
        raise DataError(
            f"{where}: its sidecar says a TR of {said:g} s, you said {tr_s:g} s; leave one out, or "
            "mend the sidecar"
        )
    found = said if said is not None else tr_s
    if found is None:
        if header_unit not in TO_SECONDS:
            header_unit = "sec"
            notes.append("the header names no unit of time: seconds assumed")
        found = (header or 0.0) * TO_SECONDS[header_unit]
        if found == 0.0 or found == 1.0:
            raise DataError(
                f"{where}: nobody says its TR: no sidecar, and the header's {found:g} s is what "
                "exporters write who do not know; say --tr, or put RepetitionTime into a sidecar"
            )
        sentence = f"TR of {found:g} s taken from the header, which often lies; say --tr to be sure"
        log.warning("%s: %s", where, sentence)
        notes.append(sentence)
    if not SHORTEST_S <= found <= LONGEST_S:
        guess = f"; as milliseconds it would be {found / 1000:g} s" if found > LONGEST_S else ""
        raise DataError(
            f"{where}: a TR of {found:g} s is outside {SHORTEST_S:g} to {LONGEST_S:g} s{guess}; "
            "give seconds"
        )
    start = _number(where, sidecar or {}, "StartTime")
    if start is not None:
        offset = start
    elif slices_corrected:
        offset = found / 2
        notes.append("frames stand for the middle of their TR, as fMRIPrep's slice timing has it")
    else:
        offset = 0.0
        notes.append("no slice-time reference is known: frames stand for the beginning of their TR")
    if not 0 <= offset <= found:
        raise DataError(
            f"{where}: StartTime is {offset:g} s, outside its TR of {found:g} s; mend the sidecar"
        )
    return Timing(float(found), float(offset), tuple(notes))


def _number(where: str, sidecar: dict[str, Any], key: str) -> float | None:
    if sidecar.get(key) is None:
        return None
    try:
        return float(sidecar[key])
    except (TypeError, ValueError) as e:
        raise DataError(
            f"{where}: {key} of its sidecar is {sidecar[key]!r}, no number; mend the sidecar"
        ) from e
