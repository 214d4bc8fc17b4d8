"""Several processes train one model: same codebooks everywhere, and every strategy reachable."""

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.training import strategies
from brainfm.training.metrics import read_metrics

DUMP = '''
import torch
from lightning.pytorch.callbacks import Callback

class Dump(Callback):
    """Every rank writes its own state when training ends."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.model.state_dict(), f"{self.folder}/rank_{trainer.global_rank}.pt")
'''


def fit(runs, strategy: str, devices: int, model: str = "codec", *more: str) -> None:
    (runs.folder / "dump.py").write_text(DUMP)
    callback = {"class_path": "dump.Dump", "init_args": {"folder": str(runs.folder)}}
    trainer = {"strategy": strategy, "devices": devices, "max_steps": 6, "callbacks": [callback]}
    config = runs.config(model, trainer=trainer)
    process = runs.start("fit", "--config", config, *more)
    assert process.wait(timeout=280) == 0, (runs.folder / "log.txt").read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["codec", "masked"])
def test_two_processes_hold_the_same_model_and_codebooks(runs, model):
    fit(runs, "ddp", 2, model)
    one, two = (torch.load(runs.folder / f"rank_{r}.pt", weights_only=True) for r in (0, 1))
    assert any("codes_KE" in k for k in one)
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.slow
def test_two_processes_resume_to_the_bit(runs):
    fit(runs, "ddp", 2, "codec")
    whole = read_metrics(runs.run("run")).loss.tolist()
    fit(runs, "ddp", 2, "codec", "--trainer.max_steps=3")
    fit(runs, "ddp", 2, "codec", "--ckpt_path=last")
    assert read_metrics(runs.run("run")).loss.tolist() == whole


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "devices"), [("deepspeed_cpu", 1), ("fsdp2", 2)])
def test_sharded_strategies_train_and_resume(runs, strategy, devices):
    pytest.importorskip("deepspeed")
    fit(runs, strategy, devices, "masked", "--trainer.max_steps=3")
    fit(runs, strategy, devices, "masked", "--ckpt_path=last")
    assert read_metrics(runs.run("run")).step.tolist() == [1, 2, 3, 4, 5, 6]


def test_strategies_lightning_knows_are_passed_on():
    assert strategies.build("ddp") == "ddp"


def test_fsdp2_shards_data_and_splits_no_tensor():
    strategy = strategies.build("fsdp2")
    assert type(strategy).__name__ == "FSDP2"
    assert strategy._tensor_parallel_size == 1


def test_deepspeed_that_is_not_installed_is_refused_with_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "deepspeed", None)
    with pytest.raises(ContractError, match=r"pip install 'brainfm-decoding\[deepspeed\]'"):
        strategies.build("deepspeed")
