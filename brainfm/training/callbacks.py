"""What a person watches while a run trains: a bar over all steps, and pictures of signals.

Shapes: B batch, C channels, T samples, Q quantiser levels, K codes.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from brainfm.tasks.base import Preview
from brainfm.training.throughput import StepLog, brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class StepBar(ProgressBar):
    """A rich bar that counts optimiser steps to `max_steps`, whatever an epoch is.

    Without a terminal it stays silent; `StepLog` then writes a line now and then.
    """

    def __init__(self, meters: StepLog) -> None:
        super().__init__()
        self._meters = meters
        self._bar: Any = None
        self._task: Any = None

    def disable(self) -> None:
        self._stop()

    def enable(self) -> None:
        """Nothing to do: the bar opens with training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        if not trainer.is_global_zero or not sys.stderr.isatty():
            return
        from rich.console import Console

        self._bar = Progress(
            TextColumn("{task.fields[name]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Remaining(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        total = trainer.max_steps if trainer.max_steps > 0 else None
        name = type(pl_module).__name__
        self._task = self._bar.add_task("", name=name, total=total, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is not None:
            shown = brief(self._meters.shown)
            self._bar.update(self._task, completed=trainer.global_step, description=shown)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class ReconstructionPictures(Callback):
    """Signal against reconstruction, and how evenly the codes are used, as PNG and TensorBoard.

    Drawn from the first validation batch: always the same windows, so that pictures of different
    steps can be laid side by side. Files: `figures/<what>_<step>.png`.

    Parameters
    ----------
    folder : `<run>/figures`
    every : optimiser steps between two pictures; 0 draws none
    """

    def __init__(self, folder: str | Path, every: int = 500) -> None:
        self.folder, self.every = Path(folder), every
        self._batch: Any = None

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._batch = batch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.every and trainer.global_step % self.every == 0:
            self._draw(trainer, pl_module, batch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every and self._batch is not None and trainer.global_step % self.every:
            self._draw(trainer, pl_module, self._batch)

    @rank_zero_only
    def _draw(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        was_training = pl_module.training
        pl_module.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            preview = pl_module.preview(self._batch if self._batch is not None else batch)
        pl_module.train(was_training)
        for name, figure in figures(preview).items():
            self._keep(trainer, name, figure)

    def _keep(self, trainer: Trainer, name: str, figure: "Figure") -> None:
        if not trainer.fast_dev_run:
            self.folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(self.folder / f"{name}_{trainer.global_step:07d}.png", dpi=110)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure(name, figure, trainer.global_step, close=False)


def figures(preview: Preview) -> dict[str, "Figure"]:
    """Name -> figure, for whatever the preview holds."""
    made = {}
    if preview.target_BCT is not None and preview.reconstruction_BCT is not None:
        made["reconstruction"] = reconstruction_figure(
            preview.target_BCT[0].float().cpu().numpy(),
            preview.reconstruction_BCT[0].float().cpu().numpy(),
            preview.sfreq,
        )
    if preview.counts_QK is not None:
        made["codes"] = code_use_figure(preview.counts_QK.cpu().numpy())
    return made


def reconstruction_figure(
    target_CT: np.ndarray, rec_CT: np.ndarray, sfreq: float, most_channels: int = 6
) -> "Figure":
    """Channels below each other, signal in grey and reconstruction in colour, r beside each."""
    figure = _new_figure(7.5, 1.0 + 0.9 * min(len(target_CT), most_channels))
    shown = np.linspace(0, len(target_CT) - 1, min(len(target_CT), most_channels)).round()
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    time_T = np.arange(target_CT.shape[1]) / sfreq
    for axis, c in zip(axes, shown.astype(int), strict=True):
        axis.plot(time_T, target_CT[c], color="0.6", linewidth=1.0, label="signal")
        axis.plot(time_T, rec_CT[c], color="C3", linewidth=0.9, label="reconstruction")
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.corrcoef(target_CT[c], rec_CT[c])[0, 1]
        axis.set_ylabel(f"ch {c}\nr = {r:.2f}", rotation=0, ha="right", va="center", fontsize=8)
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)
    axes[-1].set_xlabel("seconds")
    return figure


def code_use_figure(counts_QK: np.ndarray) -> "Figure":
    """Share of each code, most used first, one line a level; the dashed line is even use."""
    figure = _new_figure(6.0, 3.2)
    axis = figure.subplots()
    for q, counts_K in enumerate(counts_QK):
        share_K = np.sort(counts_K / max(counts_K.sum(), 1))[::-1]
        used = share_K[share_K > 0]
        perplexity = np.exp(-(used * np.log(used)).sum())
        label = f"level {q + 1}: perplexity {perplexity:.0f}, {len(used)} used"
        axis.plot(np.arange(1, len(used) + 1), used, label=label)
    axis.axhline(1 / counts_QK.shape[1], color="0.5", linestyle="--", linewidth=0.8)
    axis.set(yscale="log", xlabel="code, most used first", ylabel="share of all codes")
    axis.legend(frameon=False, fontsize=8)
    return figure


def _new_figure(width: float, height: float) -> "Figure":
    """A figure outside pyplot: no window, no registry that would keep it alive."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
