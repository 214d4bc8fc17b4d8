"""Preparation spread over a cluster by submitit: each task works through a share of the jobs.

Inside a task every recording still has its own reader process, so a crash costs one recording
here too. Tasks publish into the store directly; the one who submitted gathers outcomes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.dataset import Job
from data_prep.prepare import Outcome
from data_prep.runner import Report, run_jobs

ROOT = Path(__file__).resolve().parent.parent


def run_on_cluster(
    jobs: Sequence[Job],
    recipe: Recipe,
    store: Path,
    *,
    cluster: str,
    n_tasks: int,
    options: dict[str, Any] | None = None,
    timeout_s: float = 3600.0,
    report: Report = lambda outcome: None,
) -> list[Outcome]:
    """Prepare all jobs in `n_tasks` tasks; waits for them.

    Parameters
    ----------
    cluster : "slurm", or "local" for processes of this machine
    options : submitit's, such as ``{"slurm_partition": "cpu", "mem_gb": 8}``
    timeout_s : per recording

    Returns
    -------
    outcomes in the order of `jobs`

    Raises
    ------
    DataError
        If submitit is missing, or the cluster takes no task.
    """
    try:
        import submitit
    except ImportError as e:
        raise DataError("--cluster needs submitit; pip install 'brainfm-decoding[prep]'") from e
    if not jobs:
        return []
    chunks = [list(jobs[k::n_tasks]) for k in range(min(n_tasks, len(jobs)))]
    minutes = int(timeout_s * max(len(c) for c in chunks) / 60) + 10
    try:
        executor = submitit.AutoExecutor(folder=store / ".cluster" / "%j", cluster=cluster)
        executor.update_parameters(
            timeout_min=min(minutes, 24 * 60), cpus_per_task=1, **(options or {})
        )
        if cluster == "slurm":
            executor.update_parameters(slurm_setup=[f"export PYTHONPATH={ROOT}:$PYTHONPATH"])
        handles = [
            executor.submit(
                run_chunk, [asdict(j) for j in c], asdict(recipe), str(store), timeout_s
            )
            for c in chunks
        ]
    except Exception as e:
        # submitit passes on whatever sbatch or the shell says.
        raise DataError(
            f"--cluster {cluster}: no task was taken ({type(e).__name__}: {str(e)[:160]}); check "
            "--cluster-options, or leave --cluster out"
        ) from e
    outcomes: dict[tuple[str, str], Outcome] = {}
    for handle, chunk in zip(handles, chunks, strict=True):
        for outcome in _outcomes(handle, chunk):
            outcomes[outcome.dataset, outcome.name] = outcome
            report(outcome)
    return [outcomes[j.dataset, j.name] for j in jobs if (j.dataset, j.name) in outcomes]


def run_chunk(
    jobs: list[dict[str, Any]], recipe: dict[str, Any], store: str, timeout_s: float
) -> list[str]:
    """What a task does; plain values in and out."""
    made = [Job(j["dataset"], j["name"], tuple(j["files"]), j["options"]) for j in jobs]
    done = run_jobs(made, Recipe(**recipe), Path(store), n_workers=1, timeout_s=timeout_s)
    return [o.to_json() for o in done]


def parse_options(text: str | None) -> dict[str, Any]:
    """Options written like ``slurm_partition=cpu,mem_gb=8``.

    Raises
    ------
    DataError
        If a part is not KEY=VALUE.
    """
    out: dict[str, Any] = {}
    for part in filter(None, (text or "").split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise DataError(f"--cluster-options has '{part}'; write it like mem_gb=8")
        out[key] = int(value) if re.fullmatch(r"\d+", value) else value
    return out


def _outcomes(handle: Any, chunk: list[Job]) -> list[Outcome]:
    try:
        return [Outcome.from_json(text) for text in handle.result()]
    except Exception as e:
        # The task was cancelled, evicted or ran out of time; what it published is found again.
        why = f"its task {handle.job_id} ended early ({type(e).__name__}); run again to go on"
        return [
            Outcome(j.dataset, j.name, j.files[0] if j.files else "", "crashed", f"{j.name}: {why}")
            for j in chunk
        ]
