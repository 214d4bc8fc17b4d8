"""A Lab Streaming Layer stream as a source; needs the package mne-lsl.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from brainfm.detect.sources import Piece, Source
from brainfm.errors import DataError
from brainfm.signals.recording import pick_channels

UNIT_V = {
    **{"microvolts": 1e-6, "microvolt": 1e-6, "uv": 1e-6, "µv": 1e-6, "μv": 1e-6, "-6": 1e-6},
    **{"millivolts": 1e-3, "mv": 1e-3, "-3": 1e-3, "volts": 1.0, "v": 1.0, "0": 1.0},
}
"""Volts of the units that streams state: XDF's spellings, and the exponents of mne-lsl."""
JUMP_S = 0.5
"""A time stamp that is off by more is a clock jump or lost samples, not jitter of the network."""
PULL_S = 0.5
"""Seconds to wait for samples at a time."""
TYPES = ("eeg", "ecog", "seeg", "dbs", "emg", "ecg", "eog", "misc", "stim")


def open_lsl(name: str, patience_s: float = 30.0) -> Source:
    """The stream of that name on this network.

    Parameters
    ----------
    name : of the stream
    patience_s : seconds to look for it, and seconds without a sample after which it is over

    Raises
    ------
    DataError
        If mne-lsl is not installed, there is no such stream, or its unit is unknown.
    """
    try:
        from mne_lsl.lsl import StreamInlet, resolve_streams
    except ImportError as e:
        raise DataError(
            f"lsl:{name}: live streams need the package mne-lsl ({e}); pip install mne-lsl"
        ) from e
    where = f"lsl:{name}"
    found = resolve_streams(timeout=patience_s, name=name)
    if len(found) != 1:
        raise DataError(
            f"{where}: {len(found)} streams of that name within {patience_s:g} s; start the "
            "amplifier's LSL program, or give each stream its own name"
        )
    inlet = StreamInlet(found[0])
    inlet.open_stream(timeout=patience_s)
    about = inlet.get_sinfo(timeout=patience_s)
    names = about.get_channel_names() or [f"ch{i + 1}" for i in range(about.n_channels)]
    sfreq = float(about.sfreq)
    if not sfreq > 0:
        raise DataError(f"{where}: has no sampling rate; detection needs a regular signal")
    scale_C = _scales(about, where)
    raw = _raw(names, sfreq, about)
    picked, channels, notes = pick_channels(raw, where)
    columns = [names.index(n) for n in picked.ch_names]

    def pieces() -> Iterator[Piece]:
        due_s: float | None = None
        last = time.monotonic()
        try:
            while time.monotonic() - last <= patience_s:
                x_TC, time_T = inlet.pull_chunk(timeout=PULL_S)
                if not len(time_T):
                    continue
                last = time.monotonic()
                first_s, gap_s = float(time_T[0]), None
                if due_s is not None and abs(first_s - due_s) > JUMP_S:
                    # Time cannot go back in a recording: a clock set back is no time lost.
                    gap_s = max(0.0, first_s - due_s)
                due_s = float(time_T[-1]) + 1 / sfreq
                yield Piece((np.asarray(x_TC, np.float64) * scale_C)[:, columns], gap_s)
        finally:
            inlet.close_stream()

    return Source(where, channels, sfreq, pieces, notes=notes)


def _scales(about: Any, where: str) -> np.ndarray:
    stated = about.get_channel_units() or ["uV"] * about.n_channels
    scale = [UNIT_V.get(str(u).strip().lower()) for u in stated]
    if None in scale:
        raise DataError(
            f"{where}: its unit is {stated[scale.index(None)]!r}, which is no voltage; set the "
            "unit in the amplifier's LSL program"
        )
    return np.array(scale, np.float64)


def _raw(names: list[str], sfreq: float, about: Any) -> Any:
    import mne

    types = [str(t).lower() for t in about.get_channel_types() or []] or ["eeg"] * len(names)
    known = [t if t in TYPES else "eeg" for t in types]
    info = mne.create_info(names, sfreq, known)
    return mne.io.RawArray(np.zeros((len(names), 2)), info, verbose="ERROR")
