"""Weights in folders: `save_pretrained`, `from_pretrained`, `load_model`.

A folder holds `config.json` (class and sizes), `model.safetensors`, `preprocessor_config.json`
(what was done to the signal) and a `README.md` (model card). Loading is strict: whatever is
missing, unexpected or of another shape is named. Nothing is unpickled.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.signals.preprocess import Preprocess

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


def config_from_dict(cls: type, d: Any, where: str) -> Any:
    """Build dataclass `cls` from plain JSON, nested dataclasses and tuples included.

    Raises
    ------
    ContractError
        On a key the class does not have, or a value it refuses.
    """
    if not isinstance(d, dict):
        raise ContractError(f"{where}: expected a table of settings, found {type(d).__name__}")
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(d) - known)
    if unknown:
        raise ContractError(f"{where}: unknown key {unknown}; {cls.__name__} knows {sorted(known)}")
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in d.items():
        inner = [t for t in (hints[key], *typing.get_args(hints[key])) if isinstance(t, type)]
        nested = next((t for t in inner if is_dataclass(t)), None)
        if nested is not None and isinstance(value, dict):
            value = config_from_dict(nested, value, f"{where}, {key}")
        elif isinstance(value, list):
            value = tuple(value)
        values[key] = value
    try:
        return cls(**values)
    except (TypeError, ValueError) as e:
        raise ContractError(f"{where}: {e}") from e


def require_same_keys(
    want: dict[str, Tensor], state: dict[str, Tensor], who: str, where: str
) -> None:
    """Raise `ContractError` naming keys of `state` that `who` misses, lacks or shapes otherwise.

    Parameters
    ----------
    want : tensors the model `who` has
    state : tensors found in `where`
    """
    problems = [f"missing {k}" for k in want if k not in state]
    problems += [f"unexpected {k}" for k in state if k not in want]
    problems += [
        f"{k} has shape {tuple(state[k].shape)} in the file but {tuple(v.shape)} in the model"
        for k, v in want.items()
        if k in state and state[k].shape != v.shape
    ]
    if problems:
        shown = "; ".join(problems[:8])
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ContractError(
            f"{where}: weights do not fit {who}: {shown}{more}. "
            "Load them with the configuration they were trained with"
        )


class BrainModel(nn.Module):
    """A codec or encoder that travels with its sizes and its preprocessing contract.

    Subclasses set `config_class` (a frozen dataclass) and take `(config, preprocess=None)`.
    """

    config_class: ClassVar[type]

    def __init__(self, config: Any, preprocess: Preprocess | None = None) -> None:
        super().__init__()
        self.config = config
        self.preprocess = preprocess or Preprocess()

    @property
    def n_parameters(self) -> int:
        """Trainable numbers; codebooks are buffers and do not count."""
        return sum(p.numel() for p in self.parameters())

    def meet(self, batches: Iterable[Any]) -> None:
        """Look at training windows before learning begins; most models need not, and read none."""

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> Path:
        """Write weights, sizes, preprocessing contract and model card into `folder`.

        Parameters
        ----------
        folder : created if missing
        card : Markdown to put under the card's title, such as training data and scores
        """
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        content = {"class": name, "brainfm": _version(), "config": asdict(self.config)}
        (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
        state = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        save_file(state, str(folder / WEIGHTS), metadata={"format": "pt"})
        self.preprocess.save(folder)
        (folder / CARD).write_text(self._card(card))
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a model of this class from a folder written by `save_pretrained`.

        Raises
        ------
        ContractError
            If a file is missing or damaged, the folder holds another class, or weights and
            sizes do not fit.
        """
        folder = Path(folder)
        content = _read_config(folder)
        found = _class_of(content, folder)
        if not issubclass(found, cls):
            raise ContractError(
                f"{folder / CONFIG}: holds a {found.__name__}, but a {cls.__name__} was asked for; "
                f"use {found.__name__}.from_pretrained, or brainfm.load_model"
            )
        where = str(folder / CONFIG)
        config = config_from_dict(found.config_class, content.get("config", {}), where)
        model = found(config, Preprocess.load(folder))
        state = _read_weights(folder / WEIGHTS)
        require_same_keys(model.state_dict(), state, found.__name__, str(folder / WEIGHTS))
        model.load_state_dict(state, strict=True)
        return model.eval()

    def _card(self, text: str | None) -> str:
        sizes = "\n".join(f"| {k} | `{v}` |" for k, v in asdict(self.config).items())
        p = self.preprocess
        return (
            "---\nlibrary_name: brainfm\ntags: [eeg, meg, neuroscience]\n---\n\n"
            f"# {type(self).__name__}\n\n{text or ''}\n\n"
            f"{self.n_parameters:,} parameters, brainfm {_version()}. Load with\n\n"
            "```python\nimport brainfm\nmodel = brainfm.load_model('this/folder')\n```\n\n"
            f"Signals: {p.recipe.sfreq:g} Hz, {p.recipe.highpass_hz} to {p.recipe.lowpass_hz} Hz, "
            f"notch {p.recipe.notch}; windows: reference {p.normalise.reference}, scale "
            f"{p.normalise.scale}, clip {p.normalise.clip}. The full contract is in "
            "`preprocessor_config.json` and is compared with the data at load.\n\n"
            f"| setting | value |\n|---|---|\n{sizes}\n"
        )


def load_model(folder: str | Path) -> BrainModel:
    """Load the model in `folder`, whatever brainfm class it is; see `from_pretrained`."""
    return _class_of(_read_config(Path(folder)), Path(folder)).from_pretrained(folder)


def _version() -> str:
    return str(import_module("brainfm").__version__)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ContractError(
            f"{path}: missing; a model folder holds {CONFIG}, {WEIGHTS} and "
            "preprocessor_config.json, as save_pretrained writes them"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise ContractError(f"{path}: not valid JSON ({e}); export the model again") from e
    if not isinstance(content, dict) or not isinstance(content.get("class"), str):
        raise ContractError(f"{path}: names no model class; export the model again")
    return content


def _class_of(content: dict[str, Any], folder: Path) -> type[BrainModel]:
    name = content["class"]
    # Only our own classes: a config must not be able to import arbitrary code.
    module, _, attribute = name.rpartition(".")
    where = folder / CONFIG
    if not module.startswith("brainfm."):
        raise ContractError(f"{where}: class '{name}' is not one of brainfm's; nothing was loaded")
    try:
        cls = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as e:
        raise ContractError(
            f"{where}: class '{name}' does not exist in brainfm {_version()}; "
            f"the folder was written by version {content.get('brainfm', 'unknown')}"
        ) from e
    if not (isinstance(cls, type) and issubclass(cls, BrainModel)):
        raise ContractError(f"{where}: '{name}' is not a model; nothing was loaded")
    return cls


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ContractError(f"{path}: missing; copy it beside {CONFIG}, or export the model again")
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as e:
        raise ContractError(
            f"{path}: not a readable safetensors file ({e}); copy or export it again"
        ) from e
