"""One CSV tells the whole story of a run, however often it was killed."""

import pytest

from brainfm.errors import DataError
from brainfm.training.metrics import MetricsCSV, read_metrics


def write(logger: MetricsCSV, steps, **values) -> None:
    for step in steps:
        logger.log_metrics({k: v + step for k, v in values.items()}, step=step)


def test_numbers_keep_every_digit(tmp_path):
    third = 1 / 3
    MetricsCSV(tmp_path).log_metrics({"loss": third}, step=1)
    assert read_metrics(tmp_path).loss[0] == third


def test_a_resumed_run_repeats_no_step_and_loses_none(tmp_path):
    write(MetricsCSV(tmp_path), range(1, 8), loss=0.0)
    resumed = MetricsCSV(tmp_path)
    resumed.rewind(4)
    write(resumed, range(5, 10), loss=100.0)
    table = read_metrics(tmp_path)
    assert table.step.tolist() == list(range(1, 10))
    assert table.loss.tolist() == [1, 2, 3, 4, 105, 106, 107, 108, 109]


def test_a_fresh_run_forgets_the_rows_of_its_namesake(tmp_path):
    write(MetricsCSV(tmp_path), range(1, 4), loss=0.0)
    MetricsCSV(tmp_path).rewind(0)
    with pytest.raises(DataError, match="train.csv"):
        read_metrics(tmp_path)


def test_a_new_column_keeps_the_old_rows(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.log_metrics({"loss": 2.0, "grad_norm": 7.0}, step=2)
    table = read_metrics(tmp_path)
    assert table.loss.tolist() == [1.0, 2.0]
    assert table.grad_norm.isna().tolist() == [True, False]


def test_validation_has_its_own_file(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.log_metrics({"val/loss": 3.0, "epoch": 0}, step=1)
    assert read_metrics(tmp_path, "val").columns.tolist() == ["step", "val/loss"]
    assert read_metrics(tmp_path).columns.tolist() == ["step", "loss"]


def test_a_line_cut_by_a_kill_is_ignored_and_then_cleaned(tmp_path):
    write(MetricsCSV(tmp_path), range(1, 4), loss=0.5)
    path = tmp_path / "train.csv"
    path.write_bytes(path.read_bytes()[:-3])
    assert read_metrics(tmp_path).step.tolist() == [1, 2]
    resumed = MetricsCSV(tmp_path)
    resumed.rewind(2)
    write(resumed, [3], loss=0.5)
    assert read_metrics(tmp_path).step.tolist() == [1, 2, 3]


def test_a_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        read_metrics(tmp_path, "val")
