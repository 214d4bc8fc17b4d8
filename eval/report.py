"""One self-contained HTML page and one JSON file a run, both written whole or not at all.

report = Report("probe", "What the encoder knows", data)
report.text("...")
report.table(rows, "Table 1. ...")
report.figure(fig, "Learning curves.", simulated=False)
report.write(Path("runs/probe"))
"""

from __future__ import annotations

import base64
import json
import math
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any

from eval.tables import Row, html_table

PACKAGES = ("torch", "lightning", "transformers", "mne", "scikit-learn", "pyriemann", "braindecode")

SIMULATED = "Simulated data, not a recording. "

STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dde3ea; --best: #eef6f1;
        --accent: #0f766e; }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
       max-width: 72rem; margin: 2.5rem auto; padding: 0 1.25rem; background: #fff }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .9rem;
     border-top: 1px solid var(--line) }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem }
p { max-width: 48rem } .subtitle { color: var(--soft); margin-top: 0 }
.verdict { border-left: 4px solid var(--accent); padding: .35rem .9rem; margin: 0;
           background: #f4f8f8; max-width: 60rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .86rem; margin: .7rem 0 }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line) }
th, td { padding: .32rem .8rem .32rem 0; vertical-align: top }
td { border-bottom: 1px solid var(--line) } td:first-child { white-space: nowrap }
td.num { font-variant-numeric: tabular-nums;
     white-space: nowrap }
tr.best td { background: var(--best); font-weight: 600 } tr.control td { color: var(--soft) }
figure { margin: 1.2rem 0 } figure img { max-width: 100%; height: auto }
figcaption, .caption { color: var(--soft); font-size: .88rem; max-width: 48rem }
.simulated { color: #9a3412; font-weight: 600 }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
         font-size: .8rem } code { font-size: .92em; overflow-wrap: anywhere }
"""


class Report:
    """Collects texts, tables and figures in reading order, then writes the page and the JSON.

    Parameters
    ----------
    name : of the run; becomes ``report["name"]`` and the page's footer
    title : first line of the page
    data : what goes into report.json, besides name, versions, device and command
    subtitle : one sentence under the title
    """

    def __init__(
        self, name: str, title: str, data: dict[str, Any] | None = None, subtitle: str = ""
    ) -> None:
        self.name, self.title, self.subtitle = name, title, subtitle
        self.data = data if data is not None else {}
        self.parts: list[str] = []
        self.started = time.time()

    def heading(self, text: str, level: int = 2) -> None:
        self.parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def text(self, *sentences: str, kind: str = "") -> None:
        """A paragraph; ``kind="verdict"`` sets it off."""
        attribute = f' class="{kind}"' if kind else ""
        self.parts.append(f"<p{attribute}>{escape(' '.join(sentences))}</p>")

    def table(
        self,
        rows: Sequence[Row],
        caption: str = "",
        columns: Sequence[str] | None = None,
        simulated: bool = False,
    ) -> None:
        self.parts.append(f'<div class="wide">{html_table(rows, columns)}</div>')
        if caption or simulated:
            self.parts.append(f'<p class="caption">{_caption(caption, simulated)}</p>')

    def figure(self, figure: Any, caption: str, simulated: bool = False) -> None:
        """Embed a matplotlib figure (or the path of a PNG) and close it.

        Parameters
        ----------
        simulated : the caption then begins by saying so
        """
        picture = figure_png(figure) if not isinstance(figure, str | Path) else None
        png = picture if picture is not None else Path(figure).read_bytes()
        coded = base64.b64encode(png).decode()
        alt = escape(caption, quote=True)
        self.parts.append(
            f'<figure><img alt="{alt}" src="data:image/png;base64,{coded}">'
            f"<figcaption>{_caption(caption, simulated)}</figcaption></figure>"
        )

    def html(self) -> str:
        """The page; it loads nothing from anywhere."""
        about = provenance()
        footer = (
            f"{escape(self.name)} · {about['date']} · {escape(about['device'])} · "
            + ", ".join(f"{k} {v}" for k, v in about["versions"].items())
            + f"<br><code>{escape(about['command'])}</code>"
        )
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style>"
            f"<h1>{escape(self.title)}</h1>{subtitle}{''.join(self.parts)}"
            f"<footer>{footer}</footer></html>\n"
        )

    def write(self, folder: str | Path) -> Path:
        """Write report.html and report.json into `folder`; returns the page's path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            **self.data,
            **provenance(),
            "seconds": round(time.time() - self.started, 1),
        }
        write_atomic(folder / "report.json", json_text(content, indent=2) + "\n")
        return write_atomic(folder / "report.html", self.html())


def figure_png(figure: Any, dpi: int = 144) -> bytes:
    """A matplotlib figure as PNG bytes; the figure is closed."""
    import matplotlib.pyplot as plt

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    return buffer.getvalue()


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON of numbers, numpy arrays and dataclasses' dicts; NaN and infinity become null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def print_json(value: Any) -> None:
    """The one JSON line that ends every ``python -m eval.NAME --json``."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()


def write_atomic(path: Path, text: str) -> Path:
    """Write beside, sync, rename: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def provenance() -> dict[str, Any]:
    """Command, date, device and versions, as every report carries them."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "command": command_line(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "device": device(),
        "versions": versions,
    }


def command_line() -> str:
    """How to run this again; a module's file name is turned back into ``-m eval.probe``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or not spec.name:
        return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])


def device() -> str:
    """GPU names where torch is loaded and sees one, otherwise the processor and its cores."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU {platform.machine()}, {cores} cores"


def _caption(caption: str, simulated: bool) -> str:
    mark = f'<span class="simulated">{SIMULATED}</span>' if simulated else ""
    return mark + escape(caption)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
