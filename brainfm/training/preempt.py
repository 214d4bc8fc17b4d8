"""Stop cleanly when the cluster asks: SIGTERM or SIGUSR1 saves at the next step's end.

The handler only sets a flag. Saving inside a handler can meet a half-done optimiser step, a held
lock or a collective that other ranks have not entered, and then never ends.
"""

import logging
import signal
import threading
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from brainfm.training.checkpoint import Checkpoints

log = logging.getLogger(__name__)


class Preempted(Exception):
    """The run was asked to stop and has saved; `exit_code` is 128 + the signal (143, 138)."""

    def __init__(self, signum: int, step: int) -> None:
        name = signal.Signals(signum).name
        super().__init__(f"{name} after step {step}: saved, go on with --ckpt_path last")
        self.exit_code = 128 + signum


class Preempt(Callback):
    """Save and stop at the end of the step in which a signal came.

    Parameters
    ----------
    checkpoints : who saves
    check_every : with several processes, steps between two agreements on whether to stop; one
        process needs none and looks at every step
    """

    signals = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self, checkpoints: Checkpoints, check_every: int = 5) -> None:
        self.checkpoints, self.check_every = checkpoints, check_every
        self._received = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received = 0
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for s in self.signals:
                self._before[s] = signal.signal(s, self._note)

    def _note(self, signum: int, frame: Any) -> None:
        self._received = signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.world_size > 1:
            if trainer.global_step % self.check_every:
                return
            flag = torch.tensor(float(self._received), device=pl_module.device)
            self._received = int(trainer.strategy.reduce(flag, reduce_op="max"))
        if self._received:
            self.checkpoints.save(trainer)
            raise Preempted(self._received, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()  # not in `teardown`: Lightning has by then put back what was before it

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        self._restore()

    def _restore(self) -> None:
        for s, handler in self._before.items():
            signal.signal(s, handler)
        self._before.clear()
