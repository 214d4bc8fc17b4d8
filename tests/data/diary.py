"""A task that learns nothing and writes down which windows it was given."""

import json
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class Diary(LightningModule):
    """Appends (step, refs) to a file for each training batch, like a run that may be killed."""

    def __init__(self, path: Path, die_at: int | None = None) -> None:
        super().__init__()
        self.path, self.die_at = path, die_at
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        if self.die_at is not None and self.global_step == self.die_at:
            raise KeyboardInterrupt
        with open(f"{self.path}.{self.global_rank}", "a") as f:
            f.write(json.dumps([self.global_step, batch.refs]) + "\n")
        return self.weight * batch.x_BCWP.mean()

    def validation_step(self, batch, batch_idx):
        with open(f"{self.path}.val", "a") as f:
            f.write(json.dumps([self.global_step, batch.refs]) + "\n")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def pages(path: Path, rank: int | str = 0) -> list:
    """What was written, in order."""
    file = Path(f"{path}.{rank}")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def fit(data, diary, folder, steps, ckpt=None, every=1, **trainer):
    """Train to `steps` and save `last.ckpt` after every step or so."""
    saver = ModelCheckpoint(folder, save_last=True, every_n_train_steps=every, save_top_k=0)
    trainer = Trainer(max_steps=steps, max_epochs=-1, callbacks=[saver], **{**QUIET, **trainer})
    trainer.fit(diary, datamodule=data, ckpt_path=ckpt)
    return trainer
