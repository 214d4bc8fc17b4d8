"""When frames of fMRI were taken: the TR, and where in it a frame lies.

An image's header is the last to be asked: exporters write 0, 1, or milliseconds into it (the LEMON
run of brainspace says 1 s). A BIDS sidecar comes first, then whoever calls, then the header with a
warning (BIDS 1.10, "Task (including resting state) imaging data").
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

log = logging.getLogger(__name__)

SHORTEST_S, LONGEST_S = 0.05, 20.0
TO_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
"""Units of time that a NIfTI header may name."""
SAME = 1e-3
"""Two TRs that differ by less, relatively, are one."""
DIFFERENT = 0.01
"""A header whose TR differs by more is spoken of; headers round."""


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
    sidecar : BIDS sidecar: `RepetitionTime` or `VolumeTiming`, `StartTime`,
        `SliceTimingCorrected`, `SliceTiming`
    tr_s : what the caller says
    header : fourth zoom of the header, in `header_unit` ("sec", "msec", "usec")
    slices_corrected : slices were brought to the middle of the TR, as fMRIPrep does; counts where
        the sidecar says nothing of it

    Raises
    ------
    DataError
        If sidecar and caller disagree, nobody knows the TR, the header alone says 0 or exactly 1,
        or it is no plausible TR.
    """
    sidecar = sidecar or {}
    said = _number(where, sidecar, "RepetitionTime")
    if said is None:
        said = _even(where, sidecar)
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
    elif header and header_unit in TO_SECONDS:
        header_s = header * TO_SECONDS[header_unit]
        if header_s != 1.0 and abs(header_s - found) > DIFFERENT * found:
            sentence = f"TR of {found:g} s; the header says {header_s:g} s and is not believed"
            log.warning("%s: %s", where, sentence)
            notes.append(sentence)
    if not SHORTEST_S <= found <= LONGEST_S:
        guess = f"; as milliseconds it would be {found / 1000:g} s" if found > LONGEST_S else ""
        raise DataError(
            f"{where}: a TR of {found:g} s is outside {SHORTEST_S:g} to {LONGEST_S:g} s{guess}; "
            "give seconds"
        )
    offset, why = _offset(where, sidecar, found, slices_corrected)
    notes += why
    if not 0 <= offset <= found:
        raise DataError(
            f"{where}: StartTime is {offset:g} s, outside its TR of {found:g} s; mend the sidecar"
        )
    return Timing(float(found), float(offset), tuple(notes))


def _offset(
    where: str, sidecar: dict[str, Any], tr_s: float, corrected: bool
) -> tuple[float, list[str]]:
    """Seconds from the beginning of a TR to the moment that a frame shows, and why."""
    start = _number(where, sidecar, "StartTime")
    if start is not None:
        return start, []
    if sidecar.get("SliceTimingCorrected", corrected):
        return tr_s / 2, [
            "frames stand for the middle of their TR, as fMRIPrep's slice timing has it"
        ]
    if sidecar.get("SliceTiming"):
        slice_S = _numbers(where, sidecar, "SliceTiming")
        if not 0 <= slice_S.min() <= slice_S.max() <= tr_s:
            raise DataError(
                f"{where}: SliceTiming runs from {slice_S.min():g} to {slice_S.max():g}, outside "
                f"its TR of {tr_s:g} s; give seconds, or mend the sidecar"
            )
        return float(slice_S.mean()), [
            f"slices were taken {slice_S.min():g} to {slice_S.max():g} s into the TR and are not "
            "corrected: frames stand for their mean"
        ]
    return 0.0, ["no slice-time reference is known: frames stand for the beginning of their TR"]


def _even(where: str, sidecar: dict[str, Any]) -> float | None:
    """The TR of frames whose times are listed; they must be evenly spaced."""
    if not sidecar.get("VolumeTiming"):
        return None
    step_F = np.diff(_numbers(where, sidecar, "VolumeTiming"))
    if not len(step_F) or np.ptp(step_F) > SAME * abs(step_F[0]):
        raise DataError(
            f"{where}: VolumeTiming of its sidecar is not evenly spaced, and a recording has one "
            "rate; resample the run to one TR"
        )
    return float(step_F.mean())


def _numbers(where: str, sidecar: dict[str, Any], key: str) -> NDArray[np.float64]:
    try:
        found = np.asarray(sidecar[key], np.float64)
    except (TypeError, ValueError):
        found = np.full(1, np.nan)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise DataError(f"{where}: {key} of its sidecar is no list of numbers; mend the sidecar")
    return found


def _number(where: str, sidecar: dict[str, Any], key: str) -> float | None:
    if sidecar.get(key) is None:
        return None
    try:
        if isinstance(sidecar[key], bool):
            raise TypeError
        return float(sidecar[key])
    except (TypeError, ValueError) as e:
        raise DataError(
            f"{where}: {key} of its sidecar is {sidecar[key]!r}, no number; mend the sidecar"
        ) from e
