"""Meters: where the time of a step goes, and how much signal passes."""

import pytest
import torch

from brainfm.training import throughput
from brainfm.training.metrics import read_metrics
from brainfm.training.throughput import FETCH, Waiting, measure_loop
from brainfm.types import SignalBatch


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(throughput.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def batch_of(windows: int, channels: int, seconds: float) -> SignalBatch:
    samples = int(seconds * 100)
    per_channel = torch.zeros(windows, channels)
    x = torch.zeros(windows, channels, 1, samples)
    three = torch.zeros(windows, channels, 3)
    time = torch.zeros(windows, 1)
    return SignalBatch(
        x, three, three, per_channel, per_channel > -1, time, per_channel, per_channel, 100.0
    )


def test_only_fetching_counts_as_waiting(clock):
    meter = Waiting()
    for action, seconds in ((f"[loop].{FETCH}", 2.0), ("run_training_batch", 5.0)):
        meter.start(action)
        clock.now += seconds
        meter.stop(action)
    assert meter.seconds == 2.0
    assert "2.0 s" in meter.summary()


def test_a_loop_that_waits_a_fifth_of_its_time_says_so(clock):
    def batches():
        while True:
            clock.now += 1.0
            yield batch_of(6, 4, 10.0)

    def step(batch):
        clock.now += 4.0

    found = measure_loop(batches(), step, n_steps=3)
    assert found["data_wait_frac"] == pytest.approx(0.2)
    assert found["s_per_step"] == pytest.approx(5.0)
    assert found["windows_per_s"] == pytest.approx(6 / 5)
    assert found["channel_seconds_per_s"] == pytest.approx(6 * 4 * 10 / 5)
    assert found["signal_hours_per_s"] == pytest.approx(6 * 10 / 3600 / 5)


def test_every_step_of_a_run_is_a_row_with_all_meters(runs):
    assert runs.main("fit", "--config", runs.config("codec", trainer={"max_steps": 5})) == 0
    table = read_metrics(runs.run("run"))
    assert table.step.tolist() == [1, 2, 3, 4, 5]
    wanted = {"loss", "time", "pcc", "amp", "phase", "commit", "lr", "grad_norm"}
    meters = ["windows_per_s", "signal_hours_per_s", "data_wait_frac"]
    assert wanted | set(meters) <= set(table)
    assert (table[meters[:2]] > 0).all().all()
    assert table.data_wait_frac.between(0, 1).all()
    ratio = table.signal_hours_per_s / table.windows_per_s
    assert ratio.to_numpy() == pytest.approx(0.5 / 3600), "windows last half a second"


def test_the_logged_rate_is_the_one_that_was_used(runs):
    assert runs.main("fit", "--config", runs.config("codec", trainer={"max_steps": 4})) == 0
    rates = read_metrics(runs.run("run")).lr.tolist()
    assert rates == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])  # warm-up of four steps to 1e-3


def test_fewer_rows_where_fewer_are_asked_for(runs):
    trainer = {"max_steps": 6, "log_every_n_steps": 3}
    assert runs.main("fit", "--config", runs.config("codec", trainer=trainer)) == 0
    assert read_metrics(runs.run("run")).step.tolist() == [3, 6]


def test_validation_rows_carry_the_step_they_were_made_at(runs):
    trainer = {"max_steps": 6, "val_check_interval": 3}
    assert runs.main("fit", "--config", runs.config("masked", trainer=trainer)) == 0
    table = read_metrics(runs.run("run"), "val")
    assert table.step.tolist() == [3, 6]
    assert {"val/loss", "val/acc_0", "val/unigram_ce"} <= set(table)


def test_gradient_accumulation_counts_optimiser_steps(runs):
    trainer = {"max_steps": 3, "accumulate_grad_batches": 2}
    assert runs.main("fit", "--config", runs.config("codec", trainer=trainer)) == 0
    assert read_metrics(runs.run("run")).step.tolist() == [1, 2, 3]
