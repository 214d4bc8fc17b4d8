"""Two processes: each its own batches, equally many, and exact resume."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from diary import pages

PROGRAM = """
import sys
from pathlib import Path
from diary import Diary, fit
from test_loader_resume import data
from brainfm.data.store import Store

if __name__ == "__main__":
    root, folder, steps, ckpt, world = sys.argv[1:]
    fit(
        data(Store(root), val_batches=2), Diary(Path(folder, "diary")), folder, int(steps),
        ckpt or None, strategy="ddp", devices=int(world), val_check_interval=4,
        check_val_every_n_epoch=None,
    )
"""


def run(store, folder: Path, steps: int, ckpt: str = "", world: int = 2) -> str:
    folder.mkdir(exist_ok=True)
    program = folder / "program.py"
    program.write_text(PROGRAM)
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": f"{here}:{here.parents[1]}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, program, store.root, folder, str(steps), ckpt, str(world)],
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )
    return "" if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    assert run(store, folder, 9) == ""
    return folder


@pytest.mark.slow
def test_two_processes_read_different_windows_and_equally_many(straight, store):
    mine, others = pages(straight / "diary", 0), pages(straight / "diary", 1)
    assert len(mine) == len(others) == 9
    from test_loader_resume import data

    per_epoch = len(data(store).train_dataloader()) // 2
    for epoch in range(9 // per_epoch):
        part = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
        seen = [tuple(r) for _, refs in mine[part] + others[part] for r in refs]
        assert len(seen) == len(set(seen))


@pytest.mark.slow
def test_two_processes_resume_exactly(straight, store, tmp_path):
    assert run(store, tmp_path, 5) == ""
    assert run(store, tmp_path, 9, str(tmp_path / "last.ckpt")) == ""
    for rank in (0, 1):
        assert pages(tmp_path / "diary", rank) == pages(straight / "diary", rank)


@pytest.mark.slow
def test_another_number_of_processes_is_refused_with_both_numbers(straight, store, tmp_path):
    error = run(store, tmp_path, 12, str(straight / "last.ckpt"), world=1)
    assert "trained by 2 processes, this run has 1" in error
