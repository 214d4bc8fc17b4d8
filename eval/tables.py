"""Tables for people: Markdown for files and issues, rich for the terminal, HTML for reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]
"""Column -> value. Keys that begin with _ are not shown: ``_class`` is that of the row, ``_best``
names the columns whose value in it is set off."""


def cell(value: Any) -> str:
    """A value as a reader wants it: three digits, a leading point for shares, '' for None.

    A mapping with "mean", "low" and "high" becomes ``.662 [.57, .75]``, with "sd" besides
    ``.662 ± .013 [.57, .75]``.
    """
    if value is None:
        return ""
    if isinstance(value, Mapping) and "mean" in value:
        text = share(value["mean"])
        if value.get("sd") is not None:
            text += f" ± {share(value['sd'])}"
        if value.get("low") is not None:
            text += f" [{share(value['low'], 2)}, {share(value['high'], 2)}]"
        return text
    if isinstance(value, float):
        return "n/a" if value != value else share(value) if abs(value) <= 1 else f"{value:.4g}"
    return str(value)


def share(value: float | None, digits: int = 3) -> str:
    """``0.6622`` -> ``.662``; the sign is kept. NaN, and None as JSON has it, are "n/a"."""
    if value is None or value != value:
        return "n/a"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every key that occurs, in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def markdown_table(rows: Sequence[Row], columns: Iterable[str] | None = None) -> str:
    """GitHub Markdown, one line a row; pipes in cells are escaped."""
    names = [c for c in (columns or columns_of(rows)) if not c.startswith("_")]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in rows:
        cells = [cell(row.get(c)).replace("|", "\\|").replace("\n", " ") for c in names]
        cells = [set_off(row, c, t, "**", "**") for c, t in zip(names, cells, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def set_off(row: Row, column: str, text: str, before: str, behind: str) -> str:
    """The text of a cell, between marks if it is one of the row's best."""
    return f"{before}{text}{behind}" if column in row.get("_best", ()) else text


def html_table(rows: Sequence[Row], columns: Iterable[str] | None = None) -> str:
    """A table element; a row with ``_class`` carries it."""
    names = [c for c in (columns or columns_of(rows)) if not c.startswith("_")]
    head = "".join(f"<th>{escape(c)}</th>" for c in names)
    body = []
    for row in rows:
        kind = f' class="{escape(str(row["_class"]))}"' if row.get("_class") else ""
        cells = "".join(
            f'<td class="{"text" if isinstance(row.get(c), str) else "num"}">'
            f"{set_off(row, c, escape(cell(row.get(c))), '<b>', '</b>')}</td>"
            for c in names
        )
        body.append(f"<tr{kind}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def rich_table(rows: Sequence[Row], columns: Iterable[str] | None = None, title: str = "") -> Any:
    """A `rich.table.Table`, ready for ``Console.print``."""
    from rich.markup import escape as plain
    from rich.table import Table

    names = [c for c in (columns or columns_of(rows)) if not c.startswith("_")]
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for i, name in enumerate(names):
        table.add_column(plain(name), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        style = "bold" if row.get("_class") == "best" else None
        cells = (set_off(row, c, plain(cell(row.get(c))), "[bold]", "[/]") for c in names)
        table.add_row(*cells, style=style)
    return table
