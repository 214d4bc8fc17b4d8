import pytest
from prep_helpers import make_raw, write_edf

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.cluster import parse_options, run_chunk, run_on_cluster
from data_prep.prepare import Outcome
from data_prep.user import UserOptions, user_jobs


@pytest.fixture
def jobs(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(3):
        write_edf(tmp_path / "in" / f"r{k}.edf", make_raw(seconds=4, seed=k, events=False))
    (tmp_path / "in" / "r1.edf").write_bytes(b"")
    return user_jobs(tmp_path / "in", UserOptions(line_freq=50.0), "mine")


@pytest.mark.slow
def test_tasks_of_this_machine_prepare_all_and_keep_failures_apart(jobs, tmp_path):
    seen = []
    out = run_on_cluster(
        jobs, Recipe(), tmp_path / "store", cluster="local", n_tasks=2, report=seen.append
    )
    assert [(o.name, o.status) for o in out] == [
        ("r0.edf", "done"),
        ("r1.edf", "refused"),
        ("r2.edf", "done"),
    ]
    assert len(seen) == 3 and len(list((tmp_path / "store" / "mine").iterdir())) == 2


def test_a_task_answers_in_plain_text(jobs, tmp_path):
    from dataclasses import asdict

    (text,) = run_chunk([asdict(jobs[0])], asdict(Recipe()), str(tmp_path / "store"), 60.0)
    assert Outcome.from_json(text).status == "done"


def test_a_cluster_that_is_not_there_is_said(jobs, tmp_path):
    with pytest.raises(DataError, match="--cluster slurm: no task was taken"):
        run_on_cluster(jobs, Recipe(), tmp_path / "store", cluster="slurm", n_tasks=1)


def test_options_as_people_write_them():
    assert parse_options("slurm_partition=cpu,mem_gb=8") == {"slurm_partition": "cpu", "mem_gb": 8}
    assert parse_options(None) == {}
    with pytest.raises(DataError, match="has 'fast'"):
        parse_options("fast")
