"""A run that is killed and resumed is, to the bit, the run that was not killed."""

import random
import signal

import pytest

from brainfm.training.checkpoint import LAST, PARTIAL
from brainfm.training.metrics import read_metrics

RATES = ["windows_per_s", "signal_hours_per_s", "data_wait_frac"]


def same_to_the_bit(runs, one: str, other: str) -> None:
    for which in ("train", "val"):
        a, b = (read_metrics(runs.run(n), which) for n in (one, other))
        a, b = (t.drop(columns=RATES, errors="ignore") for t in (a, b))
        assert a.step.tolist() == b.step.tolist()
        assert a.equals(b), a.compare(b)
    weights = [(runs.run(n) / "export/model.safetensors").read_bytes() for n in (one, other)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("model", "workers"), [("codec", 0), ("masked", 1)])
def test_sigkill_at_any_step_changes_nothing(runs, model, workers):
    data = {"num_workers": workers}
    assert runs.main("fit", "--config", runs.config(model, "whole", data=data)) == 0

    killed = runs.config(model, "killed", data=data)
    process = runs.start("fit", "--config", killed)
    runs.wait_for_step("killed", random.randint(4, 9), process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    assert runs.main("fit", "--config", killed, "--ckpt_path", "last") == 0
    same_to_the_bit(runs, "whole", "killed")


def test_a_kill_while_a_checkpoint_is_written_loses_only_that_one(runs):
    whole = runs.config("codec", "whole", trainer={"max_steps": 8})
    assert runs.main("fit", "--config", whole) == 0
    cut = runs.config("codec", "cut", trainer={"max_steps": 8})
    assert runs.main("fit", "--config", cut, "--trainer.max_steps", 6) == 0

    folder = runs.run("cut") / "checkpoints"
    half = (folder / LAST).read_bytes()[:5000]
    (folder / PARTIAL).write_bytes(half)  # killed while writing
    (folder / LAST).write_bytes(half)  # and the disk lost the newest
    assert runs.main("fit", "--config", cut, "--ckpt_path", "last") == 0
    same_to_the_bit(runs, "whole", "cut")


def test_another_seed_is_another_run(runs):
    """The comparison above can fail: it is not blind."""
    a = runs.config("codec", "a", trainer={"max_steps": 1})
    b = runs.config("codec", "b", trainer={"max_steps": 1}, seed_everything=8)
    assert runs.main("fit", "--config", a) == runs.main("fit", "--config", b) == 0
    assert read_metrics(runs.run("a")).loss[0] != read_metrics(runs.run("b")).loss[0]


def test_resuming_a_run_that_never_saved_starts_it(runs, caplog):
    config = runs.config("codec", trainer={"max_steps": 1})
    with caplog.at_level("INFO", "brainfm"):
        assert runs.main("fit", "--config", config, "--ckpt_path", "last") == 0
    assert "no checkpoint yet" in caplog.text


def test_a_second_run_of_the_same_name_sets_the_first_aside(runs):
    config = runs.config("codec", trainer={"max_steps": 1})
    assert runs.main("fit", "--config", config) == runs.main("fit", "--config", config) == 0
    assert (runs.run("run") / "checkpoints_before" / LAST).exists()
    assert read_metrics(runs.run("run")).step.tolist() == [1]
