"""`python -m eval.demo` (make demo): runs the stages of a YAML and binds their results.

Every stage is a command anyone can type; it is printed before it runs. The report is made from
what the stages wrote, so it can be made again without them: `python -m eval.demo --report-only`.
The YAML may name another module that binds (`report`), and data without which a stage is left
out (`needs`): `python -m eval.demo --config configs/finetune/seizure_demo.yaml`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from brainfm.data.paths import data_root
from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from brainfm.training.metrics import read_metrics
from eval.pictures import loss_curves, sensor_map
from eval.probe.pages import add_dataset, summary
from eval.report import Report, print_json

THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
"""Set where the user has not: two busy cores make OpenMP spin."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit code is that of the first stage that failed."""
    parser = argparse.ArgumentParser("python -m eval.demo", description=__doc__)
    parser.add_argument("--config", default="configs/demo.yaml")
    parser.add_argument("--runs", help="folder of its runs and report; default: runs/NAME")
    parser.add_argument("--report-only", action="store_true", help="bind what is there already")
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    args = parser.parse_args(argv)
    console = Console()
    runs = Path(args.runs or f"runs/{Path(args.config).stem}")
    try:
        config = read_config(Path(args.config))
        seconds = previous_seconds(runs) if args.report_only else {}
        if not args.report_only:
            for name, command in config["stages"].items():
                console.rule(name)
                missing = missing_data(config, name)
                if missing:
                    console.print(f"left out: {missing} is not there", highlight=False)
                    continue
                code, seconds[name] = run_stage(filled(command, runs), console)
                if code != 0:
                    sys.stderr.write(
                        f"brainfm: stage '{name}' of the demonstration ended with exit code "
                        f"{code}; its own last lines say why, and the command above repeats it\n"
                    )
                    return code
        binder = importlib.import_module(config.get("report", __name__))
        result, page = binder.bind(config, runs, seconds)
    except (DataError, ContractError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1
    console.rule("done")
    for line in result["verdicts"]:
        console.print(line, highlight=False)
    total = sum(seconds.values())
    console.print(f"{total / 60:.1f} minutes; open {page}", highlight=False)
    if args.json:
        print_json(result)
    return 0


def read_config(path: Path) -> dict[str, Any]:
    """Read and check the YAML of a demonstration.

    Raises
    ------
    ContractError
        If the file is missing, a key is unknown, or datasets or stages are missing.
    """
    if not path.exists():
        raise ContractError(f"{path}: no such file; the demonstration is configs/demo.yaml")
    config = yaml.safe_load(path.read_text())
    wanted, optional = {"datasets", "stages"}, {"report", "needs"}
    odd = sorted((wanted - set(config)) | (set(config) - wanted - optional))
    if odd:
        raise ContractError(
            f"{path}: keys {odd} are missing or unknown; it takes {sorted(wanted)} and may have "
            f"{sorted(optional)}"
        )
    return config


def filled(command: str, runs: Path) -> str:
    """The command with the folders of this demonstration in it."""
    return command.format(runs=runs, data=data_root())


def missing_data(config: dict[str, Any], stage: str) -> Path | None:
    """What a stage needs under the data root and does not find there."""
    needed = config.get("needs", {}).get(stage)
    path = data_root() / needed if needed else None
    return path if path is not None and not path.exists() else None


def run_stage(command: str, console: Console) -> tuple[int, float]:
    """Print a command, run it with this Python, and return its exit code and seconds."""
    console.print(f"$ {command}", highlight=False)
    words = shlex.split(command)
    words = [sys.executable, *words[1:]] if words[0] == "python" else words
    started = time.perf_counter()
    done = subprocess.run(words, env={**THREADS, **os.environ})
    return done.returncode, round(time.perf_counter() - started, 1)


def previous_seconds(runs: Path) -> dict[str, float]:
    """How long the stages took when they last ran, from the report they led to."""
    path = runs / "report.json"
    return json.loads(path.read_text()).get("stage_seconds", {}) if path.exists() else {}


def bind(config: dict[str, Any], runs: Path, seconds: dict[str, float]) -> tuple[dict, Path]:
    """One page and one JSON of everything the stages wrote."""
    probed = json.loads((runs / "probe" / "report.json").read_text())
    result = {
        "stage_seconds": seconds,
        "datasets": probed["datasets"],
        "verdicts": [f"{d['title']}: {' '.join(d['verdict'])}" for d in probed["datasets"]],
    }
    report = Report(
        "demo",
        "Real recordings to a probed encoder",
        result,
        "A BrainTokenizer and a BrainOmni trained for minutes on two small public sets, and what "
        "they know of trials they never saw.",
    )
    report.text(
        "Small on purpose: this shows that every step runs, and how results are judged. It says "
        "nothing about what the published models can do with thousands of hours."
    )
    summary(report, probed["datasets"])
    add_data(report, config["datasets"])
    add_codec(report, runs / "codec")
    add_encoder(report, runs / "encoder")
    for found in probed["datasets"]:
        add_dataset(report, found)
    add_seconds(report, config, seconds)
    return result, report.write(runs)


def add_seconds(report: Report, config: dict[str, Any], seconds: dict[str, float]) -> None:
    """Every stage with its command and how long it took; none where it was left out."""
    report.heading("How long it took")
    report.table(
        [{"stage": n, "command": c, "s": seconds.get(n)} for n, c in config["stages"].items()]
    )


def add_data(report: Report, datasets: Sequence[str]) -> None:
    """What was prepared: hours by split, and where the sensors are."""
    store = Store(data_root() / "store")
    table = store.recordings[store.recordings["dataset"].isin(datasets)]
    report.heading("The recordings")
    rows = []
    for (dataset, split), part in table.groupby(["dataset", "split"], sort=True):
        row = part.iloc[0]
        n_trials = sum(len(store.events(i)) for i in part.index)
        rows.append(
            {
                "data set": dataset,
                "kind": row["kind"],
                "split": split,
                "channels": int(row["n_channels"]),
                "minutes": f"{60 * part['hours'].sum():.1f}",
                "events": n_trials,
            }
        )
    report.table(
        rows,
        "Real recordings, resampled to 256 Hz. Training used the splits train and val; official "
        "test trials were first read by the probe, after everything was fitted.",
    )
    firsts = {str(d): store.channels(part.index[0]) for d, part in table.groupby("dataset")}
    report.figure(
        sensor_map(firsts),
        "Sensors from above (nose up). Positions of aeon_hmd and aeon_blink are nominal: the "
        "files name no sensors (see the data sets' notes).",
    )


def add_codec(report: Report, run: Path) -> None:
    """How the tokenizer learned, what it reconstructs, and which codes it uses."""
    report.heading("The codec")
    panels = {
        "loss": ["loss"],
        "correlation with the signal": ["pcc"],
        "codes in use (perplexity)": ["perplexity_1", "perplexity_2", "perplexity_4"],
    }
    curves = loss_curves(read_metrics(run), _validation(run), panels)
    report.figure(curves, "BrainTokenizer: training (lines) and validation (points).")
    captions = {
        "reconstruction": "A validation or training window and its reconstruction from codes.",
        "codes": "How often each code is used, level by level.",
    }
    for name, caption in captions.items():
        pictures = sorted((run / "figures").glob(f"{name}_*.png"))
        if pictures:
            report.figure(pictures[-1], caption)


def add_encoder(report: Report, run: Path) -> None:
    """How masked-code training went, against somebody who only knows how common each code is."""
    report.heading("The encoder")
    train, val = read_metrics(run), _validation(run)
    panels = {
        "masked-code cross-entropy": ["loss", "unigram_ce"],
        "accuracy of hidden codes, by level": ["acc_0", "acc_1", "acc_3"],
    }
    report.figure(
        loss_curves(train, val, panels),
        "BrainOmni: training (lines) and validation (points). unigram_ce is the cross-entropy of "
        "the code frequencies alone: below it, something of the context was learned.",
    )


def _validation(run: Path) -> Any:
    try:
        return read_metrics(run, "val")
    except DataError:
        return None


if __name__ == "__main__":
    sys.exit(main())
