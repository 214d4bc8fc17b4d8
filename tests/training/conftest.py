"""A tiny run on simulated recordings, in this process or in one that can be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[2]
CODEC = {"class_path": "BrainTokenizer", "init_args": {"config": {"preset": "test"}}}
MODELS = {
    "codec": {"class_path": "CodecTask", "init_args": {"codec": CODEC}},
    "masked": {
        "class_path": "MaskedCodes",
        "init_args": {"encoder": {"preset": "test", "dropout": 0.1}, "tokenizer": "random"},
    },
}


class Runs:
    """Writes configurations into a folder and runs `train.py` on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def config(self, model: str, name: str = "run", **top) -> Path:
        content = {
            "seed_everything": 7,
            "name": name,
            "runs": str(self.folder / "runs"),
            "save_every": 3,
            "picture_every": 0,
            "trainer": {"max_steps": 12, "accelerator": "cpu", "val_check_interval": 5},
            "model": MODELS[model],
            "data": {
                "store": "synthetic", "window_s": 0.5, "patch_s": 0.25, "tokens_per_batch": 48,
                "val_batches": 2,
            },
        }  # fmt: skip
        content["model"]["init_args"] |= {"lr": 1e-3, "warmup_steps": 4, "decay_steps": 40}
        for key, value in top.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) else value
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    def main(self, *argv) -> int:
        from brainfm.cli import main

        return main([str(a) for a in argv])

    def start(self, *argv) -> subprocess.Popen:
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{self.folder}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(ROOT / "train.py"), *map(str, argv)]
        log = (self.folder / "log.txt").open("w")
        return subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=self.folder)

    def wait_for_step(self, name: str, step: int, process: subprocess.Popen) -> None:
        path = self.run(name) / "train.csv"
        while process.poll() is None:
            if path.exists() and f"\n{step}," in path.read_text():
                return
            time.sleep(0.01)
        raise AssertionError((self.folder / "log.txt").read_text())

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name


@pytest.fixture
def runs(tmp_path):
    torch.set_num_threads(1)  # sums over another number of threads round differently
    return Runs(tmp_path)
