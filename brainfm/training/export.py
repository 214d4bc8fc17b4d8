"""The end of a run: weights with their contract, in a folder that anyone can load."""

import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from brainfm.errors import ContractError
from brainfm.hub import BrainModel, require_same_keys
from brainfm.nn.lora import is_adapted, merged

log = logging.getLogger(__name__)

PREFIX = "model."
"""Every task keeps what it trains under this name."""


class Export(Callback):
    """Write `<run>/export/` when a fit ends: `brainfm.load_model(folder)` reads it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run or trainer.interrupted:
            return
        if is_sharded(trainer):
            log.warning(
                "the weights are sharded; `python train.py export` makes the folder afterwards"
            )
            return
        plain(pl_module.model).save_pretrained(self.folder)
        log.info("exported %s to %s", type(pl_module.model).__name__, self.folder)


def export_checkpoint(model: BrainModel, checkpoint: str | Path, folder: str | Path) -> None:
    """Load the weights of a training checkpoint into `model` and save it with its contract.

    Parameters
    ----------
    model : built from the configuration of the run, with its preprocessing contract
    checkpoint : file of one process or DDP (`last.ckpt`), or a folder of FSDP2
    folder : where `config.json`, `model.safetensors` and `preprocessor_config.json` go

    Raises
    ------
    ContractError
        If a weight is missing, unexpected or of another shape.
    """
    path = Path(checkpoint)
    state = _sharded_state(path) if path.is_dir() else _file_state(path)
    mine = {k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)}
    if not mine:
        raise ContractError(
            f"{path}: no weights named '{PREFIX}...' in it; is it of a brainfm run?"
        )
    require_same_keys(model.state_dict(), mine, type(model).__name__, str(path))
    model.load_state_dict(mine)
    plain(model).save_pretrained(folder)


def plain(model: BrainModel) -> BrainModel:
    """The model itself, or where it has adapters a copy with these merged into its weights."""
    return merged(model) if is_adapted(model) else model


def is_sharded(trainer: Trainer) -> bool:
    """True where no process holds all weights (FSDP2, ZeRO)."""
    return any(s in type(trainer.strategy).__name__ for s in ("DeepSpeed", "FSDP"))


def _file_state(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content["state_dict"]


def _sharded_state(path: Path) -> dict[str, torch.Tensor]:
    """Weights of a folder written by `torch.distributed.checkpoint`."""
    import tempfile

    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch, "whole.pt")
        dcp_to_torch_save(path, whole)
        content = torch.load(whole, map_location="cpu", weights_only=True)
    return content.get("state_dict", content)
