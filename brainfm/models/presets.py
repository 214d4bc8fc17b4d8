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
