"""brainfm: foundation models and neural codecs for EEG, MEG, intracranial EEG and fMRI.

Importing it is light (no torch, no mne); the names below are loaded when first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Channels": "brainfm.types",
    "Codes": "brainfm.types",
    "Features": "brainfm.types",
    "Kind": "brainfm.types",
    "Recording": "brainfm.types",
    "SignalBatch": "brainfm.types",
    "WindowRef": "brainfm.types",
    "ContractError": "brainfm.errors",
    "DataError": "brainfm.errors",
    "Preprocess": "brainfm.signals.preprocess",
    "Store": "brainfm.data.store",
    "BrainOmni": "brainfm.models.brainomni",
    "BrainTokenizer": "brainfm.codecs.braintokenizer",
    "encode": "brainfm.api",
    "load_model": "brainfm.hub",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'brainfm' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
