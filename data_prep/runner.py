"""Many recordings at once, each failure kept to itself.

Workers are processes that take one job at a time. A reader that segfaults, hangs or eats all
memory takes its worker down and its own recording with it, nothing else: the next job starts a
new worker.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from brainfm.signals.preprocess import Recipe
from data_prep.dataset import Job
from data_prep.prepare import Outcome, prepare_one
from data_prep.worker import READY

TIMEOUT_S = 3600.0
"""A recording that takes longer is taken for a reader that hangs."""

START_S = 300.0
"""An interpreter on a busy machine may take this long to come up."""

WORKER = ("-m", "data_prep.worker")
"""What a reader process runs."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Report = Callable[[Outcome], None]


def run_jobs(
    jobs: Sequence[Job],
    recipe: Recipe,
    store: Path,
    *,
    n_workers: int = 1,
    timeout_s: float = TIMEOUT_S,
    report: Report = lambda outcome: None,
) -> list[Outcome]:
    """Prepare all jobs.

    Parameters
    ----------
    n_workers : 0 works in this process, for debugging; else that many reader processes
    timeout_s : per recording
    report : called with each outcome as it comes

    Returns
    -------
    outcomes in the order of `jobs`; shorter when a full disk stopped the run
    """
    if n_workers == 0:
        outcomes = []
        for job in jobs:
            outcomes.append(prepare_one(job, recipe, store))
            report(outcomes[-1])
            if outcomes[-1].status == "stopped":
                break
        return outcomes
    pool = _Pool(recipe, store, min(n_workers, max(1, len(jobs))), timeout_s)
    try:
        return pool.run(jobs, report)
    finally:
        pool.close()


class _Worker:
    """One reader process and the job it is at."""

    def __init__(self, recipe: Recipe, store: Path) -> None:
        env = {**os.environ, **{k: os.environ.get(k, "1") for k in THREAD_VARIABLES}}
        # The worker must find `data_prep` from wherever the command was given.
        here = str(Path(__file__).resolve().parent.parent)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [here, env.get("PYTHONPATH")]))
        env["PYTHONIOENCODING"] = "utf-8"
        self.process = subprocess.Popen(
            [sys.executable, *WORKER, json.dumps(asdict(recipe)), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        self.index: int | None = None
        self.since = 0.0
        self.ready = False
        self.buffer = b""

    def give(self, index: int, job: Job) -> None:
        self.index, self.since = index, time.monotonic()
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It died before it was asked; `died` reports it when its output ends.
            return

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class _Pool:
    def __init__(self, recipe: Recipe, store: Path, n: int, timeout_s: float) -> None:
        self.recipe, self.store, self.n, self.timeout_s = recipe, store, n, timeout_s
        self.workers: list[_Worker] = []

    def run(self, jobs: Sequence[Job], report: Report) -> list[Outcome]:
        waiting = deque(range(len(jobs)))
        results: dict[int, Outcome] = {}
        stopped = False
        with selectors.DefaultSelector() as selector:

            def start(worker: _Worker | None) -> None:
                if not waiting or stopped:
                    return
                if worker is None:
                    worker = _Worker(self.recipe, self.store)
                    self.workers.append(worker)
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
                i = waiting.popleft()
                worker.give(i, jobs[i])

            def finish(worker: _Worker, outcome: Outcome) -> None:
                nonlocal stopped
                assert worker.index is not None
                results[worker.index] = outcome
                worker.index = None
                stopped = stopped or outcome.status == "stopped"
                report(outcome)

            def lose(worker: _Worker, why: str) -> None:
                selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
                worker.kill()
                self.workers.remove(worker)
                if worker.index is not None:
                    job = jobs[worker.index]
                    source = job.files[0] if job.files else job.name
                    reason = f"{source}: {why}; leave the file out or repair it"
                    finish(worker, Outcome(job.dataset, job.name, source, "crashed", reason))
                start(None)

            for _ in range(self.n):
                start(None)
            while any(w.index is not None for w in self.workers):
                for key, _ in selector.select(timeout=0.5):
                    worker: _Worker = key.data
                    chunk = os.read(worker.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
                    if not chunk:
                        lose(worker, _how_it_died(worker.process.wait()))
                        continue
                    worker.buffer += chunk
                    while b"\n" in worker.buffer and worker.index is not None:
                        line, worker.buffer = worker.buffer.split(b"\n", 1)
                        if line == READY.encode():
                            worker.ready, worker.since = True, time.monotonic()
                            continue
                        finish(worker, Outcome.from_json(line.decode()))
                        start(worker)
                for worker in list(self.workers):
                    limit = self.timeout_s if worker.ready else self.timeout_s + START_S
                    late = time.monotonic() - worker.since > limit
                    if worker.index is not None and late:
                        lose(worker, f"took longer than {self.timeout_s:g} s (--timeout)")
        return [results[i] for i in sorted(results)]

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


def _how_it_died(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"the reader process was ended by {name}"
    return f"the reader process ended with code {code}"
