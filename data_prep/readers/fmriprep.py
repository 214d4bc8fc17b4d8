"""fMRIPrep derivatives: nuisance columns regressed out, scrubbed frames left out and never closed.

Shapes: T frames, C channels, K columns.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.intervals import interval_samples, stretches
from brainfm.types import Recording
from data_prep.readers.surface_files import is_surface

STRATEGIES = ("simple", "scrubbing", "compcor", "ica_aroma")
"""Of nilearn's `load_confounds_strategy`, which reads the columns that each one names."""


def is_preprocessed(path: str | Path) -> bool:
    """Whether a file's name says that fMRIPrep wrote it."""
    name = Path(path).name
    # Its surfaces and grey-matter series carry a space and no description.
    return "desc-preproc" in name or ("_space-" in name and is_surface(name))


def cleaned(recording: Recording, image: str | Path, strategy: str, drop: int = 0) -> Recording:
    """A run without what its confounds explain.

    Parameters
    ----------
    recording : of the image
    image : `..._desc-preproc_bold.nii.gz`; its confounds table lies beside it
    strategy : one of `STRATEGIES`
    drop : frames that the recording has lost at its start

    Raises
    ------
    DataError
        If the table is missing or has another number of rows than the image has frames.
    """
    from nilearn.interfaces.fmriprep import load_confounds_strategy

    if strategy not in STRATEGIES:
        raise DataError(f"{image}: no strategy '{strategy}'; choose among {', '.join(STRATEGIES)}")
    try:
        table, kept = load_confounds_strategy(str(image), denoise_strategy=strategy)
    except (ValueError, OSError, KeyError) as e:
        raise DataError(
            f"{image}: its confounds cannot be read for '{strategy}' ({' '.join(str(e).split())}); "
            "put fMRIPrep's files side by side, or choose another strategy"
        ) from e
    n = len(recording.signal)
    if len(table) != n + drop:
        raise DataError(
            f"{image}: holds {n + drop} frames, its confounds {len(table)} rows; frames were lost, "
            "use files of one run"
        )
    confound_TK = np.nan_to_num(table.to_numpy(float))[drop:]
    seen_T = np.ones(n, bool) if kept is None else np.isin(np.arange(n), np.asarray(kept) - drop)
    inside_T = np.zeros(n, bool)
    for a, b in interval_samples(recording):
        inside_T[a:b] = True
    seen_T &= inside_T
    if not seen_T.any():
        raise DataError(f"{image}: '{strategy}' leaves no frame; choose another strategy")
    signal = _without(recording.signal, confound_TK, seen_T)
    gone = int((inside_T & ~seen_T).sum())
    notes = [f"{confound_TK.shape[1]} nuisance columns of fMRIPrep's '{strategy}' regressed out"]
    if gone:
        notes.append(f"{gone} frames scrubbed; the others keep their times")
    return replace(
        recording,
        signal=signal,
        intervals_s=stretches(seen_T, recording.sfreq),
        notes=[*recording.notes, *notes],
    )


def _without(
    x_TC: NDArray[np.floating], confound_TK: NDArray[np.float64], seen_T: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Least squares on the seen frames; the mean of each channel stays."""
    x = np.asarray(x_TC, np.float64)
    design = confound_TK - confound_TK[seen_T].mean(0)
    middle = x[seen_T].mean(0)
    weight_KC, *_ = np.linalg.lstsq(design[seen_T], x[seen_T] - middle, rcond=None)
    out: NDArray[np.float64] = x - design @ weight_KC
    return out
