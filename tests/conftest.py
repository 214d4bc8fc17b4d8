"""One thread (two busy cores spin), and a report of the run beside every other report."""

import json
import os
import platform
import time
from html import escape
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the numerical references."""
    return GOLDEN


def pytest_configure(config):
    config.stash_started = time.time()


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Write runs/test/report.{json,html} after a whole run (not after a single file)."""
    if config.args and any(Path(a).resolve() not in (ROOT, ROOT / "tests") for a in config.args):
        return
    outcome = {
        k: terminalreporter.stats.get(k, []) for k in ("passed", "failed", "error", "skipped")
    }
    calls = [r for r in outcome["passed"] + outcome["failed"] if r.when == "call"]
    slowest = sorted(calls, key=lambda r: -r.duration)[:20]
    report = {
        "name": "test",
        **{k: len(v) for k, v in outcome.items()},
        "exit_status": int(exitstatus),
        "seconds": round(time.time() - config.stash_started, 1),
        "python": platform.python_version(),
        "failures": [r.nodeid for r in outcome["failed"] + outcome["error"]],
        "slowest": [[r.nodeid, round(r.duration, 2)] for r in slowest],
    }
    folder = ROOT / "runs" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    rows = "".join(f"<tr><td>{escape(n)}</td><td>{s}</td></tr>" for n, s in report["slowest"])
    failed = "".join(f"<li>{escape(n)}</li>" for n in report["failures"]) or "<li>none</li>"
    (folder / "report.html").write_text(
        "<!doctype html><meta charset='utf-8'><title>brainfm tests</title>"
        f"<h1>{report['passed']} passed, {report['failed'] + report['error']} failed, "
        f"{report['skipped']} skipped in {report['seconds']} s</h1>"
        f"<h2>Failures</h2><ul>{failed}</ul>"
        f"<h2>Slowest</h2><table><tr><th>test</th><th>s</th></tr>{rows}</table>"
    )
