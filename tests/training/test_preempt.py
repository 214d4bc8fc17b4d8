"""When the cluster asks, a run saves and goes, with an exit code that says so."""

import signal

import pytest
import torch

from brainfm.training.metrics import read_metrics
from brainfm.training.preempt import Preempted


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_saves_the_step_it_came_in(runs, signum, code):
    config = runs.config("codec", trainer={"max_steps": 100_000}, save_every=100_000)
    process = runs.start("fit", "--config", config)
    runs.wait_for_step("run", 3, process)
    process.send_signal(signum)
    assert process.wait(timeout=60) == code
    saved = torch.load(runs.run("run") / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == read_metrics(runs.run("run")).step.max()
    assert signum.name in (runs.folder / "log.txt").read_text()


def test_the_exit_code_is_the_shell_s_own():
    assert Preempted(signal.SIGTERM, 5).exit_code == 143


def test_handlers_are_given_back_when_training_ends(runs):
    before = signal.getsignal(signal.SIGTERM)
    assert runs.main("fit", "--config", runs.config("codec", trainer={"max_steps": 1})) == 0
    assert signal.getsignal(signal.SIGTERM) is before
