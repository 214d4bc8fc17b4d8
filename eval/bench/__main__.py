"""`python -m eval.bench NAME [--json]`: one measurement, its table, and its report.

Every file beside this one is a benchmark with `main(argv) -> dict`. Of that dict, `title`, `rows`
(the table) and `notes` (sentences) are shown; all of it goes into runs/bench_NAME/report.json.
NAME "all" runs every one of them into runs/bench.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from brainfm.errors import ContractError, DataError
from eval.report import Report, print_json
from eval.tables import cell, columns_of


def names() -> list[str]:
    """Benchmarks there are: the modules of this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(p.stem for p in files if not p.stem.startswith("_"))


def main(argv: list[str] | None = None) -> int:
    """Run one benchmark; 1 if it was refused."""
    parser = argparse.ArgumentParser("python -m eval.bench", description=__doc__)
    parser.add_argument("name", choices=["all", *names()])
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    parser.add_argument("--runs", default="runs", help="folder of all reports")
    args, rest = parser.parse_known_args(argv)
    chosen = names() if args.name == "all" else [args.name]
    results = {}
    try:
        for name in chosen:
            results[name] = importlib.import_module(f"eval.bench.{name}").main(rest)
            show(_title(name, results[name]), _rows(results[name]), results[name].get("notes", []))
    except (ContractError, DataError) as e:
        sys.stderr.write(f"brainfm: {e}\n")
        return 1
    if args.name == "all":
        title, data, folder = "Benchmarks", {"benchmarks": results}, "bench"
    else:
        data = results[args.name]
        title, folder = _title(args.name, data), f"bench_{args.name}"
    report = Report(folder, title, data)
    for name, result in results.items():
        if args.name == "all":
            report.heading(_title(name, result))
        report.table(_rows(result))
        for note in result.get("notes", []):
            report.text(note)
    page = report.write(Path(args.runs, folder))
    Console().print(f"written to {page}")
    if args.json:
        print_json({"name": folder, **data})
    return 0


def show(title: str, rows: list[dict[str, Any]], notes: list[str]) -> None:
    """The table on the terminal."""
    table = Table(title=title, title_justify="left")
    columns = columns_of(rows)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(cell(row.get(c)) for c in columns))
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def _title(name: str, result: dict[str, Any]) -> str:
    return str(result.get("title", f"Benchmark: {name}"))


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return result.get("rows") or [_scalars(result)]


def _scalars(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if isinstance(v, int | float | str) and k != "title"}


if __name__ == "__main__":
    sys.exit(main())
