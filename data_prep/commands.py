"""What each command does; returns an exit code and what `--json` prints."""

from __future__ import annotations

import copy
import time
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from brainfm.data.stimulus import is_stimulus
from brainfm.data.store import build_tables
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep import state
from data_prep.cli import recipe_of
from data_prep.cluster import parse_options, run_on_cluster
from data_prep.dataset import DataSet, Job
from data_prep.datasets import all_datasets, get_dataset
from data_prep.prepare import Outcome, safe_name
from data_prep.report import hours_by_kind, load_table, write_report
from data_prep.runner import run_jobs
from data_prep.user import UserOptions, user_jobs

Result = tuple[int, dict[str, Any]]


def list_command(args: Namespace) -> Result:
    """Print the data sets."""
    table = Table("name", "what", "licence", "from", "under the data root")
    rows = []
    for name, dataset in all_datasets().items():
        facts = dataset.facts
        n = len(dataset.jobs(args.root))
        what = facts.title + (f"\n[red]refused: {facts.refused}[/]" if facts.refused else "")
        there = {0: "", 1: "1 recording"}.get(n, f"{n} recordings")
        table.add_row(name, what, facts.licence, str(facts.origin), there)
        rows.append(
            {
                "name": name,
                "title": facts.title,
                "kinds": facts.kinds,
                "licence": facts.licence,
                "citation": facts.citation,
                "origin": str(facts.origin),
                "splits": facts.splits,
                "nominal": facts.nominal,
                "refused": facts.refused,
                "recordings": n,
            }
        )
    _console().print(table)
    return 0, {"datasets": rows}


def fetch_command(args: Namespace) -> Result:
    """Download data sets."""
    failed = _fetch(_datasets(args), args.root)
    for outcome in failed:
        _errors().print(f"brainfm: {outcome.reason}", markup=False, highlight=False, soft_wrap=True)
    return (1 if failed else 0), {"failed": [o.reason for o in failed], "root": str(args.root)}


def run_command(args: Namespace) -> Result:
    """Fetch, prepare, finalize and report."""
    started = time.monotonic()
    recipe, datasets = recipe_of(args), _datasets(args)
    if not datasets and not args.source:
        raise DataError("nothing to do: give --dataset NAME (see `list`) or --source PATH")
    jobs = _user_jobs(args)
    state.claim_recipe(args.store, recipe)
    held = state.lock(args.store)
    try:
        outcomes = [] if args.no_fetch else _fetch(datasets, args.root)
        for dataset in datasets:
            found = dataset.jobs(args.root)
            if not found and not any(o.dataset == dataset.name for o in outcomes):
                reason = (
                    f"{dataset.name}: nothing of it lies under {args.root}; run without --no-fetch"
                )
                outcomes.append(Outcome(dataset.name, "(fetch)", "", "refused", reason))
            jobs += found
        if args.best_contacts is not None:
            # Among the options, so that another number makes another job.
            more = {"best_contacts": args.best_contacts}
            jobs = [replace(j, options=j.options | more) for j in jobs]
        state.clean_temporaries(args.store, {safe_name(j.dataset) for j in jobs})
        failures = state.FailureLog(args.store)
        for o in outcomes:
            failures.add(o)
        # Files that have come since end an earlier failure to fetch.
        for name in {j.dataset for j in jobs} - {o.dataset for o in outcomes}:
            failures.rows.pop((name, "(fetch)"), None)
        outcomes += _prepare(jobs, recipe, args, failures)
        failures.tidy()
        result = _summary(outcomes, len(jobs), started)
        if not args.no_finalize and any(o.status in ("done", "skipped") for o in outcomes):
            result |= _finalize(args.store)
            result["report"] = str(write_report(args.store))
    finally:
        held.close()
    _print_outcomes(outcomes)
    _print_hours(args.store, result)
    through = result["done"] + result["skipped"]
    total = max(1, len(outcomes))
    stopped = any(o.status == "stopped" for o in outcomes)
    failed = (total - through) / total > args.max_failure_rate or not through or stopped
    return (1 if failed else 0), result


def status_command(args: Namespace) -> Result:
    """What lies in the store and what failed."""
    failures = state.read_failures(args.store)
    table = load_table(args.store)
    console = _console()
    result: dict[str, Any] = {"store": str(args.store), "failures": failures}
    if table is None:
        files = sum(not is_stimulus(p) for p in args.store.glob("*/*.safetensors"))
        console.print(f"{args.store}: {files} recordings, no tables yet (finalize writes them)")
        result["recordings"] = files
    else:
        result["recordings"] = len(table)
        result["hours"] = hours_by_kind(table)
        _print_hours(args.store, result)
    for f in failures:
        console.print(f"{f['dataset']}/{f['name']}: {f['reason']}", markup=False, highlight=False)
    return 0, result


def finalize_command(args: Namespace) -> Result:
    """Write the tables and the report."""
    held = state.lock(args.store)
    try:
        result = _finalize(args.store, args.verify)
        result["report"] = str(write_report(args.store))
    finally:
        held.close()
    _print_hours(args.store, result)
    return (1 if result["damaged"] else 0), result


def report_command(args: Namespace) -> Result:
    """Write the report."""
    path = write_report(args.store)
    _console().print(f"{path}", markup=False, highlight=False, soft_wrap=True)
    return 0, {"report": str(path)}


def _datasets(args: Namespace) -> list[DataSet]:
    # Copies: the choice of subjects belongs to this command.
    chosen = [copy.copy(get_dataset(n)) for n in dict.fromkeys(args.dataset)]
    if args.subjects:
        for dataset in chosen:
            if hasattr(dataset, "subjects"):
                dataset.subjects = parse_subjects(args.subjects)
    return chosen


def parse_subjects(text: str) -> tuple[int, ...]:
    """Numbers of a text such as "1,3-5": (1, 3, 4, 5).

    Raises
    ------
    DataError
        If the text is something else.
    """
    out: set[int] = set()
    try:
        for part in text.split(","):
            a, _, b = part.partition("-")
            out |= set(range(int(a), int(b or a) + 1))
    except ValueError as e:
        raise DataError(f"--subjects is '{text}'; write it like 1 or 1,3 or 1-20") from e
    return tuple(sorted(out))


def _user_jobs(args: Namespace) -> list[Job]:
    options = UserOptions(
        *(args.line_freq, args.unit, args.montage, args.duplicates, args.subject),
        *(args.tr, args.atlas, args.mask, args.drop, args.denoise, args.space),
    )
    jobs: list[Job] = []
    for source in args.source:
        jobs += user_jobs(Path(source), options, args.name)
    taken = {j.dataset for j in jobs} & set(all_datasets())
    if taken:
        raise DataError(f"--source would be called '{taken.pop()}', a known data set; give --name")
    repeated = [k for k, n in Counter((j.dataset, j.name) for j in jobs).items() if n > 1]
    if repeated:
        raise DataError(f"two recordings are both {'/'.join(repeated[0])}; give --name or one root")
    return jobs


def _fetch(datasets: list[DataSet], root: Path) -> list[Outcome]:
    failed: list[Outcome] = []
    console = _errors()
    for dataset in datasets:
        try:
            dataset.fetch(root, lambda text: console.print(text, style="dim", highlight=False))
        except DataError as e:
            failed.append(Outcome(dataset.name, "(fetch)", "", "refused", str(e)))
    return failed


def _prepare(
    jobs: list[Job], recipe: Recipe, args: Namespace, failures: state.FailureLog
) -> list[Outcome]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    with Progress(*columns, console=_errors(), transient=True) as progress:
        task = progress.add_task("preparing", total=len(jobs), bad="")
        bad = 0

        def seen(outcome: Outcome) -> None:
            nonlocal bad
            failures.add(outcome)
            bad += outcome.status not in ("done", "skipped")
            text = f"[red]{bad} did not get through[/]" if bad else ""
            progress.update(task, advance=1, description=outcome.dataset, bad=text)

        common: dict[str, Any] = {"timeout_s": args.timeout, "report": seen}
        if args.cluster:
            options = parse_options(args.cluster_options)
            common |= {"cluster": args.cluster, "options": options, "n_tasks": max(1, args.jobs)}
            return run_on_cluster(jobs, recipe, args.store, **common)
        return run_jobs(jobs, recipe, args.store, n_workers=args.jobs, **common)


def _finalize(store: Path, verify: str = "new") -> dict[str, Any]:
    table = build_tables(store, verify=verify)
    return {
        "recordings": len(table),
        "hours": hours_by_kind(table),
        "damaged": table.attrs.get("rejected", []),
    }


def _summary(outcomes: list[Outcome], n_jobs: int, started: float) -> dict[str, Any]:
    count = Counter(o.status for o in outcomes)
    keys = ("done", "skipped", "refused", "crashed", "stopped")
    return {
        **{k: count.get(k, 0) for k in keys},
        "not_tried": n_jobs - sum(o.name != "(fetch)" for o in outcomes),
        "seconds": round(time.monotonic() - started, 1),
        "failures": [
            {"dataset": o.dataset, "name": o.name, "reason": o.reason}
            for o in outcomes
            if o.status not in ("done", "skipped")
        ],
    }


def _print_outcomes(outcomes: list[Outcome]) -> None:
    console = _errors()
    said: set[str] = set()
    for o in outcomes:
        # A set whose recordings all fail for one reason says it once.
        if o.status in ("done", "skipped") or o.reason in said:
            continue
        said.add(o.reason)
        console.print(f"brainfm: {o.reason}", markup=False, highlight=False, soft_wrap=True)


def _print_hours(store: Path, result: dict[str, Any]) -> None:
    table = Table("data set", "kind", "recordings", "hours", title=str(store))
    for row in result.get("hours", []):
        table.add_row(row["dataset"], row["kind"], str(row["recordings"]), f"{row['hours']:.3f}")
    console = _console()
    if result.get("hours"):
        console.print(table)
    shown = ("done", "skipped", "refused", "crashed")
    counts = [f"{result[k]} {k}" for k in shown if k in result]
    counts += [
        f"{result[k]} {k.replace('_', ' ')}" for k in ("stopped", "not_tried") if result.get(k)
    ]
    if counts:
        console.print(", ".join(counts) + f" in {result['seconds']} s", highlight=False)
    for sentence in result.get("damaged", []):
        _errors().print(f"brainfm: {sentence}", markup=False, highlight=False, soft_wrap=True)
    if "report" in result:
        console.print(f"report: {result['report']}", highlight=False, soft_wrap=True)


def _console() -> Console:
    return Console()


def _errors() -> Console:
    return Console(stderr=True)
