"""State dicts in files that others wrote: tensors by name, nothing unpickled beyond them."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from brainfm.errors import ContractError

NESTED = ("state_dict", "model_state_dict", "model")
"""Where trainers put the state dict among other things."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a `.pt`, `.pth` or `.ckpt` file, read with `weights_only=True` so that it
    can run nothing, or of a `.safetensors` file.

    Raises
    ------
    ContractError
        If the file is missing or damaged, or holds anything but tensors, numbers and text.
    """
    path = Path(path)
    if not path.is_file():
        raise ContractError(f"{path}: missing; give the path of a released checkpoint")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for name in NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not _is_state(content):
        raise ContractError(f"{path}: holds no table of tensors; a released state dict is needed")
    return content


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ContractError(
            f"{path}: not a checkpoint of plain tensors ({reason}); fetch it again, or save its "
            "state dict alone"
        ) from e


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as e:
        raise ContractError(f"{path}: not a readable safetensors file ({e}); fetch it again") from e


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(v, Tensor) for v in content.values())
    )
