"""Sizes of codecs, as data. Keys are fields of the config class."""

from typing import Any

BRAINTOKENIZER: dict[str, dict[str, Any]] = {
    # 5.05 M parameters: BrainTokenizer as published (arXiv 2505.18185), 2 s windows at 256 Hz.
    "published": dict(
        window=512,
        n_filters=32,
        ratios=(8, 4, 2),
        kernel=5,
        last_kernel=5,
        dim=256,
        n_sources=16,
        n_heads=4,
        codebook_dim=256,
        codebook_size=512,
        n_quantizers=4,
        linear_path=False,
    ),
    # Half width, one-second windows: trains in minutes on two CPU cores.
    "demo": dict(
        window=256,
        n_filters=16,
        ratios=(8, 4, 2),
        kernel=5,
        last_kernel=5,
        dim=128,
        n_sources=16,
        n_heads=4,
        codebook_dim=128,
        codebook_size=256,
        n_quantizers=4,
        linear_path=True,
    ),
    # For tests: every code path in milliseconds.
    "test": dict(
        window=64,
        n_filters=4,
        ratios=(4, 2),
        kernel=5,
        last_kernel=5,
        dim=32,
        n_sources=5,
        n_heads=2,
        codebook_dim=32,
        codebook_size=24,
        n_quantizers=3,
        linear_path=False,
    ),
}

_BIOCODEC: dict[str, Any] = dict(
    n_filters=32,
    kernel=3,
    last_kernel=3,
    residual_kernel=3,
    n_residual=2,
    n_lstm=2,
    compress=1,
    dim=128,
    codebook_dim=16,
    codebook_size=256,
    n_quantizers=6,
)
BIOCODEC: dict[str, dict[str, Any]] = {
    # 3.15 M parameters: BioCodec as published for EEG (arXiv 2510.09095), 250 Hz.
    "eeg": _BIOCODEC | dict(ratios=(3, 2, 2)),
    # 3.19 M parameters: as published for EMG, 1000 Hz.
    "emg": _BIOCODEC | dict(ratios=(3, 3, 2)),
    # Half width, one residual layer: trains in minutes on two CPU cores.
    "demo": _BIOCODEC | dict(ratios=(4, 2, 2), n_filters=16, n_residual=1, dim=64),
    # For tests: every code path in milliseconds.
    "test": _BIOCODEC
    | dict(ratios=(3, 2, 2), n_filters=4, dim=32, codebook_dim=4, codebook_size=24, n_quantizers=3),
}

SCALAR: dict[str, dict[str, Any]] = {
    # 101 bit a level and second at 256 Hz, up to 4057: steps of 1/8 s, as many coordinates as
    # samples. Digits of three values: the middle one is zero, which costs a still channel nothing
    # in noise. The SEANet has the filters of BrainTokenizer's (arXiv 2505.18185), 128 wide.
    "eeg": dict(
        n_filters=32,
        ratios=(4, 4, 2),
        kernel=5,
        dim=128,
        base=3,
        group=8,
        n_groups=4,
        n_quantizers=40,
    ),
    # Half width: trains in minutes on two CPU cores.
    "demo": dict(
        n_filters=16,
        ratios=(4, 4, 2),
        kernel=5,
        dim=64,
        base=3,
        group=8,
        n_groups=4,
        n_quantizers=20,
    ),
    # For tests: every code path in milliseconds.
    "test": dict(
        n_filters=4, ratios=(4, 2), kernel=5, dim=32, base=3, group=4, n_groups=2, n_quantizers=5
    ),
}


def fill_from_preset(config: Any, presets: dict[str, dict[str, Any]]) -> None:
    """Set each None of a frozen dataclass from its preset; lists become tuples.

    Raises
    ------
    ValueError
        If the preset is unknown.
    """
    if config.preset not in presets:
        raise ValueError(f"preset is '{config.preset}'; it must be one of {sorted(presets)}")
    for key, value in presets[config.preset].items():
        if getattr(config, key) is None:
            object.__setattr__(config, key, value)
    for key, value in vars(config).items():
        if isinstance(value, list):
            object.__setattr__(config, key, tuple(value))
