"""Sizes of encoders, as data. Keys are fields of the config class.

`tokenizer` names a preset of `brainfm.codecs.presets`.
"""

from typing import Any

BRAINOMNI: dict[str, dict[str, Any]] = {
    # 8.42 M + 5.05 M (tokenizer), arXiv 2505.18185.
    "tiny": dict(tokenizer="published", dim=256, n_heads=8, depth=12),
    # 32.7 M + 5.05 M.
    "base": dict(tokenizer="published", dim=512, n_heads=16, depth=12),
    # Trains in minutes on two CPU cores.
    "demo": dict(tokenizer="demo", dim=128, n_heads=8, depth=6),
    # For tests.
    "test": dict(tokenizer="test", dim=48, n_heads=4, depth=3),
}

MVPFORMER: dict[str, dict[str, Any]] = {
    # 73.6 M with its encoder, arXiv 2506.20354; segments of 5 s at 512 Hz.
    "S": dict(window=2560, dim=768, depth=12, n_heads=12, n_kv_heads=4, inner=1728),
    # 1.239 B.
    "M": dict(window=2560, dim=2048, depth=24, n_heads=16, n_kv_heads=8, inner=5632),
    # Trains in minutes on two CPU cores; segments of 1/4 s at 256 Hz.
    "demo": dict(window=64, dim=96, depth=4, n_heads=6, n_kv_heads=2, inner=256),
    # Detects seizures on two CPU cores; segments of 2 s at 128 Hz.
    "seizure": dict(window=256, dim=64, depth=2, n_heads=4, n_kv_heads=2, inner=160),
    # For tests.
    "test": dict(window=32, dim=32, depth=2, n_heads=4, n_kv_heads=2, inner=48),
}

UNIFIED: dict[str, dict[str, Any]] = {
    "large": dict(dim=512, n_heads=8, depth=16, n_sources=64),
    "base": dict(dim=256, n_heads=8, depth=8, n_sources=32),
    # Trains in minutes on two CPU cores.
    "tiny": dict(dim=128, n_heads=4, depth=4, n_sources=16),
    # Learns from recordings made at once in a quarter of an hour on one core.
    "demo": dict(dim=64, n_heads=4, depth=3, n_sources=16),
    # For tests.
    "test": dict(dim=32, n_heads=2, depth=2, n_sources=4),
}
