"""Reader processes: what one of them does to itself, the others do not feel."""

import sys
import textwrap

import pytest
from prep_helpers import make_raw, write_edf

from brainfm.signals.preprocess import Recipe
from data_prep import runner
from data_prep.runner import run_jobs
from data_prep.user import UserOptions, user_jobs

RECIPE = Recipe()


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in (1, 2, 3):
        write_edf(folder / f"r{k}.edf", make_raw(seconds=4, seed=k, events=False))
    return user_jobs(folder, UserOptions(line_freq=50.0), "mine")


def worker_that(tmp_path, monkeypatch, what):
    """Reader processes that do `what` to the recording r2.edf."""
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent(f"""
        import ctypes, os, sys, time
        from data_prep import prepare, worker
        sound = prepare.load
        def load(job, recipe):
            if job.name == "r2.edf":
                {what}
            return sound(job, recipe)
        prepare.load = load
        sys.exit(worker.main(sys.argv[1:]))
        """)
    )
    monkeypatch.setattr(runner, "WORKER", (str(script),))


def run(jobs, tmp_path, **more):
    seen = []
    out = run_jobs(jobs, RECIPE, tmp_path / "store", report=seen.append, **more)
    return {o.name: o for o in out}, seen


@pytest.mark.parametrize("n_workers", [0, 2])
def test_all_get_through_in_the_order_given(jobs, tmp_path, n_workers):
    out, seen = run(jobs, tmp_path, n_workers=n_workers)
    assert list(out) == [j.name for j in jobs] and len(seen) == 3
    assert {o.status for o in out.values()} == {"done"}
    assert len(list((tmp_path / "store" / "mine").iterdir())) == 3


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("ctypes.string_at(0)", "ended by SIGSEGV"),
        ("os._exit(7)", "ended with code 7"),
    ],
)
def test_a_reader_that_dies_loses_its_own_recording_only(jobs, tmp_path, monkeypatch, what, says):
    worker_that(tmp_path, monkeypatch, what)
    out, _ = run(jobs, tmp_path, n_workers=1)
    assert {n: o.status for n, o in out.items() if n != "r2.edf"} == {
        "r1.edf": "done",
        "r3.edf": "done",
    }
    assert out["r2.edf"].status == "crashed" and says in out["r2.edf"].reason
    assert "r2.edf" in out["r2.edf"].reason


def test_a_reader_that_hangs_is_ended(jobs, tmp_path, monkeypatch):
    worker_that(tmp_path, monkeypatch, "time.sleep(600)")
    out, _ = run(jobs, tmp_path, n_workers=1, timeout_s=6.0)
    assert [o.status for o in out.values()] == ["done", "crashed", "done"]
    assert "took longer than 6 s" in out["r2.edf"].reason


def test_what_readers_print_is_not_taken_for_an_answer(jobs, tmp_path, monkeypatch):
    worker_that(tmp_path, monkeypatch, "os.write(1, b'{\"noise\": 1}\\n'); print('hello')")
    out, _ = run(jobs, tmp_path, n_workers=1)
    assert {o.status for o in out.values()} == {"done"}


def test_a_full_disk_stops_the_run(jobs, tmp_path, monkeypatch):
    worker_that(tmp_path, monkeypatch, "raise OSError(28, 'No space left on device')")
    out, _ = run(jobs, tmp_path, n_workers=1)
    assert [o.status for o in out.values()] == ["done", "stopped"]


def test_worker_needs_nothing_from_the_callers_folder(jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    out, _ = run(jobs[:1], tmp_path, n_workers=1)
    assert out["r1.edf"].status == "done"
