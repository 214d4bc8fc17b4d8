"""Checkpoints that a kill cannot spoil: write beside, then rename; the one before is kept.

`checkpoints/last.ckpt` is always a whole one. Lightning writes through a temporary file in the
system's temporary folder, which may be another disk, where the final move is a copy that a kill
cuts in half; therefore the renames are done here.
"""

import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from brainfm.errors import ContractError, DataError

log = logging.getLogger(__name__)

LAST, PREVIOUS, PARTIAL = "last.ckpt", "previous.ckpt", "partial.tmp"


class Checkpoints(Checkpoint):
    """Save every `every` steps and at the end, as `last.ckpt`, keeping `previous.ckpt`.

    Parameters
    ----------
    folder : `<run>/checkpoints`
    every : optimiser steps between two saves
    keep_every : also keep a copy named by its step every so many steps; 0 keeps none
    """

    def __init__(self, folder: str | Path, every: int = 500, keep_every: int = 0) -> None:
        if every < 1 or keep_every < 0:
            raise ContractError(
                f"save_every is {every} and keep_every {keep_every}; the first must be at least 1 "
                "step, the second 0 or more"
            )
        self.folder, self.every, self.keep_every = Path(folder), every, keep_every
        self._saved_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write the whole state of the run now; every rank must call it."""
        step = trainer.global_step
        if step == self._saved_step or trainer.fast_dev_run:
            return
        self._saved_step = step
        partial = self.folder / PARTIAL
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            _remove(partial)
        trainer.strategy.barrier()
        trainer.save_checkpoint(partial)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            _flush(partial)
            if self.keep_every and step % self.keep_every == 0:
                _copy(partial, self.folder / f"step_{step:09d}.ckpt")
            publish(partial)
        trainer.strategy.barrier()


def publish(partial: Path) -> None:
    """Turn `partial` into `last.ckpt`, and what was `last.ckpt` into `previous.ckpt`.

    Between the two renames there is no `last.ckpt`, but `previous.ckpt` is whole.
    """
    last, previous = partial.with_name(LAST), partial.with_name(PREVIOUS)
    if last.exists():
        if last.is_dir() or previous.is_dir():
            _remove(previous)
        os.replace(last, previous)
    os.replace(partial, last)
    _flush(partial.parent)


def latest(folder: str | Path) -> Path | None:
    """Newest whole checkpoint of a run, None if it has saved none.

    Raises
    ------
    DataError
        If there are checkpoints and all are damaged.
    """
    flaws = []
    for name in (LAST, PREVIOUS):
        path = Path(folder, name)
        if not path.exists():
            continue
        flaw = damage(path)
        if flaw is None:
            if flaws:
                log.warning("%s; going on from %s instead", "; ".join(flaws), path)
            return path
        flaws.append(f"{path} is damaged ({flaw})")
    if flaws:
        raise DataError(
            f"{'; '.join(flaws)}: no whole checkpoint is left; start the run again without "
            "--ckpt_path, or name an older file"
        )
    return None


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None. Files are read once, to their checksums."""
    if path.is_dir():
        whole = any((path / marker).exists() for marker in (".metadata", "latest"))
        return None if whole else "the folder has no index"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as e:
        return f"{path.stat().st_size} bytes, {e}"
    return None if bad is None else f"bytes of {bad} have changed"


def _flush(path: Path) -> None:
    if path.is_dir() and path.suffix == ".tmp":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        _remove(target)
        os.link(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
