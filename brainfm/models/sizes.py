"""What every preset weighs, as data, so that `python -m brainfm info` need not build a model.

A test builds each preset and compares.
"""

from typing import Any

PARAMETERS: dict[tuple[str, str], int] = {
    ("BrainTokenizer", "published"): 5_051_618,
    ("BrainTokenizer", "demo"): 1_285_234,
    ("BrainOmni", "tiny"): 13_476_322,
    ("BrainOmni", "base"): 37_758_946,
    ("BrainOmni", "demo"): 2_408_946,
    ("MVPFormer", "S"): 74_188_338,
    ("MVPFormer", "M"): 1_243_335_218,
    ("MVPFormer", "demo"): 460_020,
    ("MVPFormer", "seizure"): 133_792,
}
"""Trainable parameters; codebooks are buffers and do not count. BrainOmni with its tokenizer."""

NOTES = {
    "published": "arXiv 2505.18185; 2 s windows at 256 Hz, 2304 bit/s",
    "tiny": "arXiv 2505.18185; published tokenizer, 12 blocks of width 256",
    "base": "arXiv 2505.18185; published tokenizer, 12 blocks of width 512",
    "S": "arXiv 2506.20354; 5 s segments at 512 Hz, 73.6 M and the head of pretraining",
    "M": "arXiv 2506.20354; 1.239 B and the head of pretraining",
    "demo": "trains in minutes on two CPU cores",
    "seizure": "trains in minutes on two CPU cores; 2 s segments at 128 Hz",
}


def describe() -> list[dict[str, Any]]:
    """Rows for `info`: model, preset, parameters, what it is."""
    return [
        {"model": model, "preset": preset, "parameters": n, "what": NOTES[preset]}
        for (model, preset), n in PARAMETERS.items()
    ]
