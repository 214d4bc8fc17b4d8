"""The recipe applied to a recording: notch, band-pass, resampling, all by MNE.

Order: notch, resample (anti-aliased), band-pass; as BrainOmni has it (arXiv 2505.18185).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe

FIR_LENGTH = 3.3
"""Length of MNE's default FIR (Hamming) in units of 1 / transition bandwidth."""

NO_HIGHPASS = "highpass: none"
"""How the note begins that says a recording was too short for the recipe's high-pass."""


def highpass_needs_s(highpass_hz: float) -> float:
    """Seconds that MNE's default high-pass FIR is long; shorter recordings cannot be filtered."""
    # MNE: transition width = min(max(0.25 * edge, 2), edge)
    return FIR_LENGTH / min(max(0.25 * highpass_hz, 2.0), highpass_hz)


def apply_recipe(
    raw: Any,
    recipe: Recipe,
    line_freq: float | None,
    *,
    where: str = "recording",
    copy: bool = True,
) -> tuple[Any, list[str], float | None]:
    """Notch, resample and band-pass `raw`.

    Parameters
    ----------
    raw : mne.io.BaseRaw with data channels only
    recipe : what to do
    line_freq : Hz; None skips the notch and says so
    where : the file, for the sentence
    copy : False changes `raw`, whose data are loaded, and saves its size in memory

    Returns
    -------
    raw : mne.io.BaseRaw
    notes : sentences
    highpass_hz : what was applied; None where the recording is too short for it, then the mean
        of each channel is removed instead

    Raises
    ------
    DataError
        If fewer than two samples would be left.
    """
    if copy:
        raw = raw.copy().load_data(verbose="ERROR")
    notes: list[str] = []
    sfreq = float(raw.info["sfreq"])
    seconds = raw.n_times / sfreq
    if round(seconds * recipe.sfreq) < 2:
        raise DataError(
            f"{where}: lasts {seconds:.4g} s, less than two samples at {recipe.sfreq:g} Hz; "
            "leave it out"
        )
    quiet: dict[str, Any] = {"picks": "all", "verbose": "ERROR"}

    if recipe.notch and line_freq is None:
        notes.append("line frequency unknown, no notch; give --line-freq 50 or 60")
    elif recipe.notch and line_freq:
        top = min(sfreq / 2, recipe.lowpass_hz or np.inf) - 1.0
        freqs = np.arange(line_freq, top, line_freq)
        # Width of MNE's notch is freq / 200, its transition 1 Hz: about 3.3 s long.
        if freqs.size and seconds > FIR_LENGTH + 0.5:
            raw.notch_filter(freqs, **quiet)
        elif freqs.size:
            notes.append(f"too short ({seconds:.3g} s) for a notch at {line_freq:g} Hz")

    if not np.isclose(sfreq, recipe.sfreq, rtol=1e-6):
        n_times = int(round(raw.n_times * recipe.sfreq / sfreq))
        raw = _resample(raw, recipe.sfreq, n_times)
        if sfreq < 2 * (recipe.lowpass_hz or recipe.sfreq / 2):
            notes.append(f"recorded at {sfreq:g} Hz: nothing above {sfreq / 2:g} Hz in the signal")

    highpass = recipe.highpass_hz
    if highpass is not None and seconds < highpass_needs_s(highpass):
        notes.append(
            f"too short ({seconds:.3g} s) for a {highpass:g} Hz high-pass, which needs "
            f"{highpass_needs_s(highpass):.0f} s; the mean of each channel is removed instead"
        )
        highpass = None
        raw.apply_function(lambda x: x - x.mean(), channel_wise=True, **quiet)
    lowpass = recipe.lowpass_hz
    if lowpass is not None and lowpass >= min(sfreq, recipe.sfreq) / 2 - 1e-6:
        lowpass = None
    if lowpass is not None and seconds * min(max(0.25 * lowpass, 2.0), 25.0) < FIR_LENGTH:
        notes.append(f"too short ({seconds:.3g} s) for a {lowpass:g} Hz low-pass")
        lowpass = None
    if highpass is not None or lowpass is not None:
        raw.filter(highpass, lowpass, **quiet)
    return raw, notes, highpass


def resample_trial(x_TC: NDArray[np.floating], sfreq: float, target: float) -> NDArray[np.float64]:
    """One short trial at another rate; anti-aliased polyphase around the trial's mean.

    The mean is taken away and put back, so that edges do not ring towards zero
    (`scipy.signal.resample_poly`, Kaiser window).
    """
    from fractions import Fraction

    from scipy.signal import resample_poly

    ratio = Fraction(target / sfreq).limit_denominator(2000)
    mean = x_TC.mean(0, keepdims=True)
    y: NDArray[np.float64] = resample_poly(
        np.asarray(x_TC - mean, np.float64), ratio.numerator, ratio.denominator, axis=0
    )
    return y + mean


def _resample(raw: Any, sfreq: float, n_times: int) -> Any:
    # "auto" padding reflects the edges; polyphase would need an integer ratio.
    raw = raw.resample(sfreq, npad="auto", verbose="ERROR")
    if raw.n_times > n_times:
        raw.crop(tmax=(n_times - 1) / raw.info["sfreq"], verbose="ERROR")
    return raw
