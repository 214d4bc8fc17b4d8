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
