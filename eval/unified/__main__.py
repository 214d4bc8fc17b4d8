"""`python -m eval.unified`: does one encoder for four kinds of recording know as much as four?

For each kind: a linear probe of events on the jointly pretrained encoder, on one pretrained on that
kind alone, on random weights, and on classical features. Across kinds: EEG and MEG of the same
seconds among a hundred, and the lag of BOLD behind electrophysiology. Encoders that are missing are
trained first (configs/pretrain/unified_*.yaml).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from eval.metrics.classification import paired_difference, summarise
from eval.probe.linear import WideLogistic
from eval.report import print_json
from eval.unified.across import (
    alike_at_trs,
    envelopes,
    lag_of,
    matched,
    retrieve,
    sources,
    twin_windows,
)
from eval.unified.features import classical, load_encoder, of_encoder, random_twin
from eval.unified.pages import write_report
from eval.unified.transfer import lost, montages, transfer
from eval.unified.trials import Trials, by_recording, read_trials

KINDS = ("EEG", "MEG", "SEEG", "BOLD")
JOINT, OWN = "configs/pretrain/unified_simultaneous.yaml", "configs/pretrain/unified_demo.yaml"
SEEDS = 3
"""Of random weights."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, probe, write the report; 1 if something is refused."""
    parser = argparse.ArgumentParser("python -m eval.unified", description=__doc__)
    parser.add_argument("--joint", help="exported encoder; default: trained into --runs")
    parser.add_argument(
        "--own", nargs="*", default=[], metavar="KIND=DIR", help="encoders of one kind alone"
    )
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    parser.add_argument("--recordings", default="dataset == 'simulated_heads'", metavar="QUERY")
    parser.add_argument("--steps", type=int, default=1000, help="of each training (default 1000)")
    parser.add_argument("--runs", default="runs/unified", help="folder of trainings and report")
    parser.add_argument("--resamples", type=int, default=1000, help="of heads, for intervals")
    parser.add_argument("--transfer", action="store_true", help="also probe across montages")
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    args = parser.parse_args(argv)
    console = Console()
    try:
        store = Store(args.store)
        folders = _encoders(args, store, console)
        result = evaluate(args, store, folders, console)
        page = write_report(result, Path(args.runs))
    except (DataError, ContractError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1
    except subprocess.CalledProcessError as e:
        sys.stderr.write(
            f"brainfm: training ended with exit code {e.returncode}; its last lines say why\n"
        )
        return 1
    for sentence in result["verdicts"]:
        console.print(sentence, highlight=False)
    console.print(f"report: {page}", highlight=False)
    if args.json:
        print_json(result)
    return 0


def evaluate(
    args: argparse.Namespace, store: Store, folders: dict[str, str], console: Console
) -> dict[str, Any]:
    """Everything the report shows.

    Parameters
    ----------
    folders : "joint" and kinds to exported encoders
    """
    joint = load_encoder(folders["joint"])
    result: dict[str, Any] = {"encoders": folders, "kinds": {}, "verdicts": []}
    for kind in args.kinds:
        own = load_encoder(folders[kind])
        stream = joint.config.stream
        step_s = stream.bold_step_s if kind == "BOLD" else stream.step_s
        trials = read_trials(store, kind, joint.preprocess, args.recordings, step_s)
        rows = {
            "joint pretraining": [of_encoder(joint, trials)],
            "own-kind pretraining": [of_encoder(own, trials)],
            "random init": [of_encoder(random_twin(joint, s), trials) for s in range(SEEDS)],
            "classical features": [classical(trials)],
        }
        found = probe(trials, rows, args.resamples)
        result["kinds"][kind] = found
        result["verdicts"].append(_verdict(kind, found))
        console.print(result["verdicts"][-1], highlight=False)
    if {"EEG", "MEG"} <= set(args.kinds):
        pairs = twin_windows(store, joint, args.recordings)
        own, twin = (load_encoder(folders[k]) for k in ("EEG", "MEG")), random_twin(joint, 0)
        result["retrieval"] = {
            "joint pretraining": retrieve(pairs, sources(joint, joint)),
            "own-kind pretraining": retrieve(pairs, sources(*own)),
            "random init": retrieve(pairs, sources(twin, twin)),
            "band power over time": retrieve(pairs, envelopes),
        }
        if joint.matcher.is_trained:
            found = retrieve(pairs, matched(joint))
            result["retrieval"]["joint pretraining, its matcher"] = found
        top, rival = (result["retrieval"][n] for n in ("joint pretraining", "band power over time"))
        result["verdicts"].append(
            f"EEG and MEG of the same seconds: top-1 {top['EEG to MEG, top-1']:.2f} and "
            f"{top['MEG to EEG, top-1']:.2f} of {top['pool']} (chance {1 / top['pool']:.2f}); "
            f"band power over time {rival['EEG to MEG, top-1']:.2f} and "
            f"{rival['MEG to EEG, top-1']:.2f}."
        )
    if args.transfer:
        rows = transfer(joint, montages(joint.preprocess))
        result["transfer"] = rows
        named = [s for s in rows[0] if s not in ("kind", "judged in", "taught in")]
        result["lost_by_montage"] = {s: lost(rows, s) for s in named}
        costs = ", ".join(f"{s} {v:+.3f}" for s, v in result["lost_by_montage"].items())
        result["verdicts"].append(f"Balanced accuracy lost in another montage: {costs}.")
    if "BOLD" in args.kinds:
        result["trs"] = alike_at_trs(joint)
        told = ", ".join(f"{tr} {v:.4f}" for tr, v in result["trs"].items())
        result["verdicts"].append(f"The same blood at a TR of 1 s and others, cosine: {told}.")
    result["lag"] = lag_of(joint, joint.config.stream.step_s)
    result["verdicts"].append(
        f"Learned lag of BOLD behind electrophysiology: {result['lag']['peak_s']:.1f} s."
    )
    return result


def probe(trials: Trials, rows: dict[str, list[np.ndarray]], n_resamples: int) -> dict[str, Any]:
    """Logistic regression on training and validation heads, judged on test heads.

    Returns
    -------
    dict with "rows" (name -> metrics), "differences" of the first row to others, and counts
    """
    fit, judge = trials.of("train", "val"), trials.of("test")
    y, group = trials.y_N, trials.recording_N
    # Trials of a head are alike: an interval over trials would promise too much of other heads.
    heads = group[judge]
    probas: dict[str, list[np.ndarray]] = {}
    for name, seeds in rows.items():
        probas[name] = []
        for x_NF in seeds:
            z = by_recording(x_NF, trials.recording_N)
            decoder = WideLogistic(spreads=("shared",)).fit(z[fit], y[fit], group[fit])
            probas[name].append(decoder.predict_proba(z[judge]))
    first = next(iter(rows))
    return {
        "classes": trials.classes,
        "n_train": int(fit.sum()),
        "n_test": int(judge.sum()),
        "n_heads": [len(np.unique(group[m])) for m in (fit, judge)],
        "rows": {
            n: summarise(y[judge], p, groups=heads, n_resamples=n_resamples)
            for n, p in probas.items()
        },
        "differences": {
            name: paired_difference(y[judge], probas[first], probas[name], groups=heads)
            for name in rows
            if name != first
        },
    }


def _verdict(kind: str, found: dict[str, Any]) -> str:
    parts = [f"{name} {m['balanced_accuracy']['mean']:.2f}" for name, m in found["rows"].items()]
    return f"{kind}: {', '.join(parts)} (chance {1 / len(found['classes']):.2f})."


def _encoders(args: argparse.Namespace, store: Store, console: Console) -> dict[str, str]:
    """Folders of all encoders, after training those that are missing."""
    given = dict(pair.split("=", 1) for pair in args.own)
    unknown = set(given) - set(KINDS)
    if unknown:
        raise ContractError(f"--own names '{min(unknown)}'; kinds are {', '.join(KINDS)}")
    folders = {"joint": args.joint or str(Path(args.runs, "joint", "export")), **given}
    for kind in args.kinds:
        folders.setdefault(kind, str(Path(args.runs, kind.lower(), "export")))
    for name, folder in folders.items():
        if Path(folder).is_dir():
            continue
        if folder != str(Path(args.runs, name.lower(), "export")):
            raise ContractError(f"{folder}: no such folder; give an exported UnifiedEncoder")
        query = args.recordings
        if name != "joint":
            query = f"({query}) and kind == '{name}'" if query else f"kind == '{name}'"
        words = [
            *("train.py", "fit", "--config", JOINT if name == "joint" else OWN),
            *(f"--name={name.lower()}", f"--runs={args.runs}", f"--data.store={store.root}"),
            *(f"--data.recordings={query}", f"--trainer.max_steps={args.steps}"),
            f"--model.init_args.decay_steps={args.steps}",
            f"--model.init_args.warmup_steps={max(1, args.steps // 10)}",
            f"--trainer.val_check_interval={max(1, args.steps // 4)}",
            f"--save_every={args.steps}",
        ]
        console.print(f"$ python {shlex.join(words)}", highlight=False)
        subprocess.run([sys.executable, *words], check=True)
    return folders


if __name__ == "__main__":
    sys.exit(main())
