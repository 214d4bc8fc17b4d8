"""Recompute published reference files, one row an array; exit 1 if one is off or left out.

python -m eval.parity tests/golden/brainomni.npz [MORE.npz szcore.json ...] [--strict] [--json]
"""

import argparse
import html
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from brainfm.errors import ContractError, DataError
from eval.parity.compare import Row, compare
from eval.parity.reference import Reference, read_reference
from eval.report import write_atomic

Part = tuple[dict[str, Any], list[Row]]
"""Summary and rows of one file."""

SYSTEMS = ("brainomni", "mvpformer", "biocodec", "duin", "meggpt", "szcore")
"""Modules of this package, asked in order whether a file is theirs."""


def run(path: str | Path, strict: bool = False) -> tuple[str, list[Row]]:
    """Recompute the file at `path`.

    Returns
    -------
    name of the system, and one `Row` per array

    Raises
    ------
    DataError, ContractError
        If the file cannot be read, or is of no known kind.
    """
    reference = read_reference(path)
    name = _system(reference)
    with torch.no_grad():
        recipes = import_module(f"eval.parity.{name}").compute(reference)
        rows = compare(reference, recipes, strict)
    if not rows:
        raise DataError(f"{path}: holds no array to compare (mid/, out/, ...); nothing was checked")
    return name, rows


def _system(reference: Reference) -> str:
    for name in SYSTEMS:
        if import_module(f"eval.parity.{name}").matches(reference):
            return name
    raise DataError(
        f"{reference.path}: holds nothing of a known system ({', '.join(SYSTEMS)}); "
        "is it a reference file?"
    )


def report(path: str | Path, name: str, rows: list[Row], strict: bool) -> dict[str, Any]:
    """The result as plain JSON."""
    return {
        "file": str(path),
        "system": name,
        "strict": strict,
        "passed": all(r.passed for r in rows),
        "n_arrays": len(rows),
        "n_failed": sum(not r.passed for r in rows),
        "rows": [r.to_dict() for r in rows],
    }


def _cells(row: Row) -> list[str]:
    error = "-" if row.max_abs_error is None else f"{row.max_abs_error:.1e}"
    limit = "exact" if row.tolerance == 0 else f"{row.tolerance:.1e}"
    verdict = "given" if row.status == "given" else "pass" if row.passed else "FAIL"
    why = row.note if row.status != "given" else ""
    return [row.name, error, limit, verdict, f"{row.status}: {why}" if why else ""]


HEAD = ("array", "max abs error", "tolerance", "result", "")


def _show(summary: dict[str, Any], rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEAD, title=f"{summary['file']} ({summary['system']})")
    for row in rows:
        table.add_row(*_cells(row), style=None if row.passed else "bold red")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    n, bad = summary["n_arrays"], summary["n_failed"]
    console.print(f"{n} arrays reproduced" if not bad else f"{bad} of {n} arrays NOT reproduced")


def write_report(folder: Path, summary: dict[str, Any], parts: list[Part]) -> None:
    """`report.json` and `report.html` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "report.json", json.dumps(summary, indent=1) + "\n")
    style = (
        "body{font:15px system-ui;margin:2em}td,th{padding:.2em .9em;text-align:left}"
        ".bad{background:#fdd}tr:nth-child(even){background-color:#f6f6f6}"
    )
    body = "".join(_section(one, rows) for one, rows in parts)
    write_atomic(
        folder / "report.html",
        "<!doctype html><meta charset=utf-8><title>brainfm parity</title>"
        f"<style>{style}</style>{body}\n",
    )


def _section(summary: dict[str, Any], rows: list[Row]) -> str:
    body = "".join(
        f"<tr class={'ok' if r.passed else 'bad'}>"
        + "".join(f"<td>{html.escape(c)}</td>" for c in _cells(r))
        + "</tr>"
        for r in rows
    )
    head = "".join(f"<th>{h}</th>" for h in HEAD)
    file = html.escape(Path(summary["file"]).name)
    verdict = "all reproduced" if summary["passed"] else f"{summary['n_failed']} not reproduced"
    return (
        f"<h1>Parity: {html.escape(summary['system'])}</h1>"
        f"<p>{file}: {summary['n_arrays']} arrays, {verdict}.</p>"
        f"<table><tr>{head}</tr>{body}</table>"
    )


def together(parts: list[Part]) -> dict[str, Any]:
    """One summary: that of the file, or of all files with theirs inside."""
    summaries = [summary for summary, _ in parts]
    if len(summaries) == 1:
        return summaries[0]
    return {
        "passed": all(s["passed"] for s in summaries),
        "n_arrays": sum(s["n_arrays"] for s in summaries),
        "n_failed": sum(s["n_failed"] for s in summaries),
        "files": summaries,
    }


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 reproduced, 1 not, 2 not a reference file."""
    parser = argparse.ArgumentParser(prog="python -m eval.parity", description=__doc__)
    parser.add_argument(
        "file", metavar="FILE", nargs="+", help="reference file of a published program"
    )
    parser.add_argument(
        "--strict", action="store_true", help="absolute tolerances, also for values above 1"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    parser.add_argument("--out", default="runs/parity", help="folder of the report")
    args = parser.parse_args(argv)
    parts: list[Part] = []
    try:
        for path in args.file:
            name, rows = run(path, args.strict)
            parts.append((report(path, name, rows, args.strict), rows))
            _show(*parts[-1])
    except (DataError, ContractError) as e:
        sys.stderr.write(f"brainfm: {' '.join(str(e).split())}\n")
        return 2
    summary = together(parts)
    write_report(Path(args.out), summary, parts)
    if args.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    return 0 if summary["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
