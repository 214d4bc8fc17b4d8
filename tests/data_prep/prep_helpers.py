"""Small recordings in several formats, written by the tests themselves."""

import struct

import mne
import numpy as np
import scipy.io

NAMES = ["Fp1", "C3", "Pz", "O2"]
SFREQ = 200.0


def pink(n_channels, n_samples, seed=0):
    """(C, T) EEG-like noise in volts."""
    rng = np.random.default_rng(seed)
    f = np.fft.rfftfreq(n_samples)
    s = rng.standard_normal((n_channels, len(f))) + 1j * rng.standard_normal((n_channels, len(f)))
    x = np.fft.irfft(s / np.maximum(f, 1 / n_samples), n_samples)
    return 2e-5 * x / x.std(1, keepdims=True) + 2e-7 * rng.standard_normal(x.shape)


def make_raw(names=NAMES, seconds=6.0, sfreq=SFREQ, seed=0, kinds="eeg", events=True):
    x = pink(len(names), int(seconds * sfreq), seed)
    info = mne.create_info(list(names), sfreq, kinds, verbose="ERROR")
    raw = mne.io.RawArray(x, info, verbose="ERROR")
    if events:
        onsets = [0.2 * seconds, 0.5 * seconds]
        raw.set_annotations(mne.Annotations(onsets, [0.5, 0.5], ["left", "rêve"]))
    return raw


def write_edf(path, raw=None, **more):
    mne.export.export_raw(
        path, raw or make_raw(**more), physical_range=(-400, 400), overwrite=True, verbose="ERROR"
    )
    return path


def write_fif(path, raw=None, **more):
    raw = raw or make_raw(**more)
    raw.set_montage("standard_1005", verbose="ERROR", on_missing="ignore")
    raw.info["line_freq"] = 50.0
    raw.save(path, overwrite=True, verbose="ERROR")
    return path


def write_brainvision(path, raw=None, **more):
    """`path` is the .vhdr; .eeg and .vmrk go beside it."""
    raw = raw or make_raw(**more)
    stem = path.stem
    step = 0.1
    data = np.round(raw.get_data().T / (step * 1e-6)).astype("<i2")
    path.with_suffix(".eeg").write_bytes(data.tobytes())
    rows = "\n".join(f"Ch{i}={n},,{step},µV" for i, n in enumerate(raw.ch_names, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\nMarkerFile={stem}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels={len(raw.ch_names)}\n"
        f"SamplingInterval={1e6 / raw.info['sfreq']:g}\n\n[Binary Infos]\n"
        f"BinaryFormat=INT_16\n\n[Channel Infos]\n{rows}\n",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\n"
        "Mk2=Stimulus,S  1,201,1,0\n",
        encoding="utf-8",
    )
    return path


def write_eeglab(path, raw=None, **more):
    raw = raw or make_raw(**more)
    locations = np.array([(n,) for n in raw.ch_names], dtype=[("labels", "O")])
    eeg = {
        "data": raw.get_data() * 1e6,
        "setname": "made",
        "nbchan": len(raw.ch_names),
        "pnts": raw.n_times,
        "trials": 1,
        "srate": raw.info["sfreq"],
        "xmin": 0.0,
        "xmax": raw.times[-1],
        "chanlocs": locations,
        "event": [],
        "icawinv": [],
        "icasphere": [],
        "icaweights": [],
    }
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)
    return path


def edf_field(content, name, value, signal=None, n_signals=None):
    """A copy of EDF bytes with one header field replaced."""
    fixed = {"n_records": (236, 8), "duration": (244, 8), "header": (184, 8), "signals": (252, 4)}
    widths = [16, 80, 8, 8, 8, 8, 8, 80, 8, 32]
    names = ["label", "transducer", "unit", "pmin", "pmax", "dmin", "dmax", "prefilter", "samples"]
    if name in fixed:
        at, width = fixed[name]
    else:
        n = n_signals or int(content[252:256])
        k = names.index(name)
        at = 256 + n * sum(widths[:k]) + signal * widths[k]
        width = widths[k]
    return content[:at] + value.encode("latin-1").ljust(width)[:width] + content[at + width :]


def fif_tags(content):
    """(kind, first byte, one past the last) of the data of each tag."""
    at, out = 0, []
    while at < len(content):
        kind, _, length, following = struct.unpack(">4i", content[at : at + 16])
        out.append((kind, at + 16, at + 16 + length))
        if following == -1:
            break
        at = at + 16 + length if following == 0 else following
    return out
