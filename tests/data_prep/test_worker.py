"""The reader process by itself: one line in, one line out."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from prep_helpers import make_raw, write_edf

from brainfm.signals.preprocess import Recipe
from data_prep.prepare import Outcome
from data_prep.user import UserOptions, user_jobs

ROOT = Path(__file__).parents[2]


def ask(lines, store):
    command = [sys.executable, "-m", "data_prep.worker", json.dumps(asdict(Recipe())), str(store)]
    done = subprocess.run(
        command,
        input="".join(x + "\n" for x in lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_says_ready_answers_each_job_and_ends_with_its_input(tmp_path):
    (tmp_path / "in").mkdir()
    write_edf(tmp_path / "in" / "a.edf", make_raw(seconds=4, events=False))
    (tmp_path / "in" / "b.edf").write_bytes(b"")
    jobs = user_jobs(tmp_path / "in", UserOptions(line_freq=50.0), "mine")
    first, *rest = ask([json.dumps(asdict(j)) for j in jobs], tmp_path / "store")
    outcomes = [Outcome.from_json(x) for x in rest]
    assert first == "ready" and [o.status for o in outcomes] == ["done", "refused"]
    assert (tmp_path / "store" / outcomes[0].files[0]).is_file()
    assert outcomes[0].seconds > 0 and "is empty" in outcomes[1].reason
