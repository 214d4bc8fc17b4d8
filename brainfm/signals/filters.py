"""The recipe applied to a recording: notch and band-pass by MNE, resampling by SciPy.

Order: notch, resample (anti-aliased), band-pass; as BrainOmni has it (arXiv 2505.18185). A causal
recipe is applied by `brainfm.signals.causal`, in the same order.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.causal import CausalChain
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
    if recipe.causal:
        return _apply_causal(raw, recipe, line_freq)
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
    from scipy.signal import resample_poly

    ratio = Fraction(target / sfreq).limit_denominator(2000)
    mean = x_TC.mean(0, keepdims=True)
    y: NDArray[np.float64] = resample_poly(
        np.asarray(x_TC - mean, np.float64), ratio.numerator, ratio.denominator, axis=0
    )
    return y + mean


def _resample(raw: Any, sfreq: float, n_times: int) -> Any:
    """Polyphase at the exact ratio, `n_times` samples long.

    MNE's own resampling stretches a recording to a whole number of samples (or of padded blocks),
    which shifts its end by up to half a sample: 2 ms at 256 Hz, measured with a sine.
    """
    from scipy.signal import resample_poly

    old = float(raw.info["sfreq"])
    ratio = Fraction(sfreq / old).limit_denominator(10_000)
    # A block at a time: the copy stays small. "line" keeps edges and offsets from ringing.
    data_CT = np.empty((len(raw.ch_names), n_times))
    for at in range(0, len(data_CT), 16):
        block = raw.get_data(picks=np.arange(at, min(at + 16, len(data_CT))))
        out = resample_poly(block, ratio.numerator, ratio.denominator, axis=1, padtype="line")
        data_CT[at : at + 16] = out[:, :n_times]
    return _with_signal(raw, data_CT, sfreq)


def _apply_causal(
    raw: Any, recipe: Recipe, line_freq: float | None
) -> tuple[Any, list[str], float | None]:
    """The chain that also follows an amplifier, a minute at a time."""
    sfreq = float(raw.info["sfreq"])
    chain = CausalChain(recipe, sfreq, len(raw.ch_names), line_freq)
    data_CT = np.empty((len(raw.ch_names), int(round(raw.n_times * recipe.sfreq / sfreq))))
    at, minute = 0, int(np.ceil(60 * sfreq))
    for start in range(0, raw.n_times, minute):
        x_CT = raw.get_data(start=start, stop=min(start + minute, raw.n_times))
        y_CT = chain.push(x_CT.T).T[:, : data_CT.shape[1] - at]
        data_CT[:, at : at + y_CT.shape[1]] = y_CT
        at += y_CT.shape[1]
    return _with_signal(raw, data_CT, recipe.sfreq), chain.notes, recipe.highpass_hz


def _with_signal(raw: Any, data_CT: NDArray[np.float64], sfreq: float) -> Any:
    """The recording with other samples; annotations count from the first of them."""
    import mne

    info = raw.info.copy()
    with info._unlock():
        info["sfreq"] = float(sfreq)
        info["lowpass"] = min(info["lowpass"], sfreq / 2)
    marks = raw.annotations
    first = raw.first_time if marks.orig_time is not None else 0.0
    made = mne.io.RawArray(data_CT, info, verbose="ERROR")
    made.set_annotations(
        mne.Annotations(
            marks.onset - first, marks.duration, marks.description, ch_names=marks.ch_names
        ),
        verbose="ERROR",
    )
    return made
