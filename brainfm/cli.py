"""`python train.py fit --config RUN.yaml`: one YAML is a whole run.

Everything that every run needs (logs, checkpoints, pictures, stopping cleanly, export) is added
here, so that a configuration holds only what makes the run itself.
"""

import importlib
import logging
import pkgutil
import shutil
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.logging import RichHandler

from brainfm.data.module import BrainDataModule
from brainfm.errors import ContractError, DataError
from brainfm.hub import BrainModel
from brainfm.tasks.base import BrainTask
from brainfm.training import strategies
from brainfm.training.callbacks import ReconstructionPictures, StepBar
from brainfm.training.checkpoint import Checkpoints, latest
from brainfm.training.export import Export, export_checkpoint
from brainfm.training.memory import keep_freed_memory
from brainfm.training.metrics import MetricsCSV
from brainfm.training.preempt import Preempt, Preempted
from brainfm.training.refusals import ConfigError, explain
from brainfm.training.throughput import StepLog, Waiting

log = logging.getLogger("brainfm")

ROOMS = ("brainfm.tasks", "brainfm.models", "brainfm.codecs", "brainfm.heads", "brainfm.detect")
"""Their modules are imported at start, so that YAML may say `class_path: MaskedCodes`."""
QUIET = (
    "LightningCLI's args parameter",
    ".*does not have many workers",
    ".*srun.* command is available",
    "GPU available but not used",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "Found .* module\\(s\\) in eval mode",  # a frozen codec stays in eval mode
)
"""Warnings about what is meant here."""
Precision = Literal["auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true"]


class RunTrainer(Trainer):
    """Lightning's trainer with the settings a run needs, counted in steps.

    Parameters
    ----------
    max_steps : optimiser steps
    precision : "auto" is bf16-mixed on a GPU that has it, else 32-true
    strategy : a name of `brainfm.training.strategies`, or one that Lightning knows
    gradient_clip_val : largest norm of the gradient; null clips nothing
    val_check_interval : steps between two validations
    log_every_n_steps : default 1 on CPU, 20 on a GPU, where each logged step waits for the device
    """

    def __init__(
        self,
        *,
        max_steps: int = 1000,
        accelerator: str = "auto",
        devices: int | str = "auto",
        num_nodes: int = 1,
        strategy: str = "auto",
        precision: Precision = "auto",
        max_time: str | None = None,
        fast_dev_run: bool | int = False,
        val_check_interval: int = 500,
        limit_val_batches: int | float | None = None,
        log_every_n_steps: int | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = 1.0,
        deterministic: bool | None = None,
        detect_anomaly: bool = False,
        callbacks: list[Callback] | None = None,
        logger: Any = None,
        default_root_dir: str | None = None,
    ) -> None:
        on_gpu = accelerator != "cpu" and torch.cuda.is_available()
        if precision == "auto":
            precision = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
        super().__init__(
            max_steps=max_steps,
            max_epochs=-1,
            accelerator=accelerator,
            devices=1 if devices == "auto" and not on_gpu else devices,
            num_nodes=num_nodes,
            strategy=strategies.build(strategy),
            precision=precision,
            max_time=max_time,
            fast_dev_run=fast_dev_run,
            val_check_interval=val_check_interval,
            check_val_every_n_epoch=None,  # the interval counts steps across epochs
            limit_val_batches=limit_val_batches,
            num_sanity_val_steps=0,  # codebooks are empty before the first step
            log_every_n_steps=log_every_n_steps or (20 if on_gpu else 1),
            accumulate_grad_batches=accumulate_grad_batches,
            gradient_clip_val=gradient_clip_val,
            deterministic=deterministic,
            detect_anomaly=detect_anomaly,
            use_distributed_sampler=False,  # the sampler plans for all ranks itself
            enable_model_summary=False,
            enable_autolog_hparams=False,
            profiler=Waiting(),
            callbacks=callbacks,
            logger=logger,
            default_root_dir=default_root_dir,
        )

    def export(
        self,
        model: BrainTask,
        datamodule: BrainDataModule,
        ckpt_path: str | None = None,
        out: str | None = None,
    ) -> None:
        """Write the weights of a checkpoint with their contract; runs that shard need it.

        Parameters
        ----------
        ckpt_path : checkpoint file, or folder of FSDP2; default: the run's newest
        out : folder to write; default `<runs>/<name>/export`
        """
        run = Path(self.default_root_dir)
        path = latest(run / "checkpoints") if ckpt_path in (None, "last") else Path(ckpt_path)
        if path is None or not path.exists():
            raise DataError(f"{path or run}: no checkpoint to export; run fit first")
        datamodule.setup("fit")
        model.adopt(datamodule.preprocess)
        folder = Path(out or run / "export")
        export_checkpoint(model.model, path, folder)
        log.info("exported %s of %s to %s", type(model.model).__name__, path, folder)


class BrainCLI(LightningCLI):
    """LightningCLI with a run folder, and with the callbacks no run should be without."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str, default="run", help="the run: <runs>/<name>")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument("--save_every", type=int, default=500, help="steps between saves")
        parser.add_argument("--keep_every", type=int, default=0, help="steps; keep these saves")
        parser.add_argument("--picture_every", type=int, default=500, help="steps; 0 draws none")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.seed")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        modules = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        return {
            "fit": modules | {"weights_only"},
            "validate": modules | {"weights_only"},
            "export": modules,
        }

    @property
    def run_dir(self) -> Path:
        return Path(self._get(self.config, "runs"), self._get(self.config, "name"))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        get = self.config.get(self.subcommand).get
        run, meters = self.run_dir, StepLog()
        checkpoints = Checkpoints(run / "checkpoints", get("save_every"), get("keep_every"))
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        config["callbacks"] = [
            *(config.get("callbacks") or []),
            meters,
            StepBar(meters),
            ReconstructionPictures(run / "figures", get("picture_every")),
            Preempt(checkpoints),
            Export(run / "export"),
            checkpoints,
        ]
        board = TensorBoardLogger(run, name="", version="tensorboard")
        config |= {"default_root_dir": str(run), "logger": [MetricsCSV(run), board]}
        return self._instantiate_trainer(config, [])

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, MisconfigurationException) as e:
            log.debug("while building the configuration", exc_info=e)
            raise ConfigError(explain(e, class_names())) from e

    def fit(self, model: BrainTask, ckpt_path: str | None = None, **kwargs: Any) -> None:
        """Train; `--ckpt_path last` goes on from the newest whole checkpoint, if there is one."""
        folder = self.run_dir / "checkpoints"
        path: Path | str | None = latest(folder) if ckpt_path == "last" else ckpt_path
        if ckpt_path == "last" and path is None:
            log.info("%s holds no checkpoint yet: starting at step 0", folder)
        if path is None and self.trainer.is_global_zero and not self.trainer.fast_dev_run:
            set_aside(folder)
        self.trainer.fit(model, ckpt_path=path, weights_only=True, **kwargs)

    def validate(self, model: BrainTask, ckpt_path: str | None = None, **kwargs: Any) -> None:
        """Losses on the validation split, from a checkpoint."""
        path = latest(self.run_dir / "checkpoints") if ckpt_path in (None, "last") else ckpt_path
        if path is None:
            raise DataError(f"{self.run_dir}: no checkpoint to validate; run fit first")
        self.trainer.validate(model, ckpt_path=path, weights_only=True, **kwargs)


def set_aside(folder: Path) -> None:
    """Move the checkpoints of an earlier run of this name to `<folder>_before`, and say so."""
    if not (folder / "last.ckpt").exists():
        return
    before = folder.with_name(folder.name + "_before")
    shutil.rmtree(before, ignore_errors=True)
    folder.rename(before)
    log.info("an earlier run had this name; its checkpoints are now in %s", before)


def class_names() -> list[str]:
    """Short names of the classes a configuration may use."""
    found: list[type] = [BrainTask, BrainModel]
    for cls in found:
        found.extend(c for c in cls.__subclasses__() if c not in found)
    return [c.__name__ for c in found]


def load_rooms() -> None:
    """Import every module in which a `class_path` may be looked up by its short name."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.iter_modules(package.__path__, room + "."):
            importlib.import_module(module.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: refused by the data or a contract. 2: the command or configuration is wrong.
    143, 138: stopped by SIGTERM or SIGUSR1 after saving.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    quieten()
    load_rooms()
    keep_freed_memory()
    try:
        BrainCLI(
            BrainTask,
            BrainDataModule,
            trainer_class=RunTrainer,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            parser_kwargs={"fit": {"exit_on_error": False}, "exit_on_error": False},
            args=argv,
        )
    except Preempted as e:
        log.warning("%s", e)
        return e.exit_code
    except ConfigError as e:
        return refuse(argv, str(e), 2)
    except ArgumentError as e:
        return refuse(argv, explain(e, class_names()), 2)
    except (DataError, ContractError) as e:
        return refuse(argv, str(e), 1)
    return 0


def quieten() -> None:
    """One rich handler for brainfm's own lines, and no advertising from libraries."""
    if not log.handlers:
        log.addHandler(RichHandler(console=Console(stderr=True), show_path=False, markup=False))
        log.setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in QUIET:
        warnings.filterwarnings("ignore", message)


def refuse(argv: Sequence[str], reason: str, code: int) -> int:
    """Say in one sentence what was wrong and return the exit code."""
    files = [a for flag, a in pairwise(argv) if flag in ("-c", "--config")]
    where = f"{files[-1]}: " if files and Path(files[-1]).name not in reason else ""
    sys.stderr.write(f"brainfm: {where}{' '.join(reason.split())}\n")
    return code
