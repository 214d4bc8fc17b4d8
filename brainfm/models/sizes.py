"""What every preset weighs, as data, so that `python -m brainfm info` need not build a model.

A test builds each preset and compares.
"""

from typing import Any

PARAMETERS: dict[tuple[str, str], int] = {
    ("BrainTokenizer", "published"): 5_051_618,
    ("BrainTokenizer", "demo"): 1_285_234,
    ("BioCodec", "eeg"): 3_152_770,
    ("BioCodec", "emg"): 3_185_538,
    ("BioCodec", "demo"): 787_058,
    ("ScalarCodec", "eeg"): 3_258_786,
    ("ScalarCodec", "demo"): 822_258,
    ("DuIN", "published"): 5_840_720,
    ("DuIN", "demo"): 856_560,
    ("EphysTokenizer", "published"): 68_353,
    ("EphysTokenizer", "demo"): 11_249,
    ("BrainOmni", "tiny"): 13_476_322,
    ("BrainOmni", "base"): 37_758_946,
    ("BrainOmni", "demo"): 2_408_946,
    ("DuINEncoder", "published"): 9_769_488,
    ("DuINEncoder", "demo"): 1_384_208,
    ("MEGGPT", "published"): 9_127_458,
    ("MEGGPT", "demo"): 324_642,
    ("UnifiedEncoder", "tiny"): 1_500_852,
    ("UnifiedEncoder", "base"): 8_898_676,
    ("UnifiedEncoder", "large"): 60_272_628,
    ("UnifiedEncoder", "demo"): 400_404,
    ("MVPFormer", "S"): 74_188_338,
    ("MVPFormer", "M"): 1_243_335_218,
    ("MVPFormer", "demo"): 460_020,
    ("MVPFormer", "seizure"): 133_792,
}
"""Trainable parameters; codebooks are buffers and do not count. Encoders of codes with their
tokenizers."""

NOTES = {
    "BrainTokenizer published": "arXiv 2505.18185; 2 s windows at 256 Hz, 2304 bit/s",
    "DuIN published": "arXiv 2405.11459; a token each 100 ms at 1000 Hz",
    "DuINEncoder published": "arXiv 2405.11459; published tokenizer",
    "EphysTokenizer published": "arXiv 2510.18080; a token each sample and channel at 250 Hz",
    "MEGGPT published": "arXiv 2510.18080; published tokenizer",
    "ScalarCodec eeg": "ours; one model for 0.1 to 4 kbit/s a channel at 256 Hz",
    "eeg": "of the size in arXiv 2510.09095; one channel at a time, 256 Hz",
    "emg": "of the size in arXiv 2510.09095; one channel at a time, 1000 Hz",
    "tiny": "arXiv 2505.18185; published tokenizer, 12 blocks of width 256",
    "base": "arXiv 2505.18185; published tokenizer, 12 blocks of width 512",
    "S": "arXiv 2506.20354; 5 s segments at 512 Hz, 73.6 M and the head of pretraining",
    "M": "arXiv 2506.20354; 1.239 B and the head of pretraining",
    "UnifiedEncoder tiny": "ours; EEG, MEG, iEEG and fMRI; trains in minutes on two CPU cores",
    "UnifiedEncoder base": "ours; EEG, MEG, iEEG and fMRI",
    "UnifiedEncoder large": "ours; EEG, MEG, iEEG and fMRI",
    "demo": "trains in minutes on two CPU cores",
    "seizure": "trains in minutes on two CPU cores; 2 s segments at 128 Hz",
}


def describe() -> list[dict[str, Any]]:
    """Rows for `info`: model, preset, parameters, what it is."""
    return [
        {"model": model, "preset": preset, "parameters": n, "what": _note(model, preset)}
        for (model, preset), n in PARAMETERS.items()
    ]


def _note(model: str, preset: str) -> str:
    return NOTES.get(f"{model} {preset}") or NOTES[preset]
