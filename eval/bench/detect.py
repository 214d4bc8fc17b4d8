"""How many times faster than real time a detector reads a recording, on one core.

21 channels, filters and windows included, as `python -m brainfm detect` runs them. "tiny" is the
demonstration's detector: segments of 2 s at 128 Hz from a recording at 256 Hz. S and M are the
published sizes, segments of 5 s at 512 Hz, once as published (a window of 25 segments computed
anew at every step) and once going on from step to step. Weights are random: they do not change
the time. All rows come from one run; CPU seconds are compared, since other programs on the
machine take wall clock from the slow rows and not from the fast ones.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainfm.data.sensors import synthetic_channels
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.detect.engine import Engine
from brainfm.models.mvpformer import MVPFormerConfig
from brainfm.signals.preprocess import Preprocess, Recipe

TARGET = 50.0
"""Times real time that the tiny detector must reach in every mode."""
TINY = {"preset": "seizure", "band": 32, "n_channels": 32}
ON = {"band": 25}
PUBLISHED: dict[str, Any] = {
    **{"time_rows": "from_end", "last_sees_all": True},
    **{"amplitude": False, "relation": "list order"},
}
BYTES = 4.5
"""A parameter while a float32 model is built and used, with some room."""
PARAMETERS = {"S": 74.2e6, "M": 1.243e9}
FILL = {"tiny": 32, "S": 25, "M": 3}
"""Steps before those that are measured. Of M a few: its past is little beside its weights."""
SETTLE_S = 2.0
"""Of the recipe's high-pass at 0.5 Hz."""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure; see the module's docstring.

    Returns
    -------
    dict with `times_real_time` (tiny, causal), `times_real_time_offline` (tiny, filters that look
    ahead), `causal_over_offline`, `reached`, and a row for each model and mode
    """
    args = _arguments(argv)
    threads, cores = torch.get_num_threads(), _cores()
    torch.set_num_threads(1)
    _pin({min(cores)} if cores else set())
    try:
        return _measure(args)
    finally:
        torch.set_num_threads(threads)
        _pin(cores)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.bench detect", description=__doc__)
    parser.add_argument("--channels", type=int, default=21)
    parser.add_argument("--minutes", type=float, default=5.0, help="of signal, for tiny")
    parser.add_argument(
        "--models", nargs="*", default=["S", "M"], choices=["S", "M"], help="beside tiny"
    )
    parser.add_argument("--steps", type=int, default=2, help="that are measured of S and M")
    return parser.parse_args(argv)


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    notes = [
        f"{args.channels} channels, one core; CPU seconds are compared, wall is beside them.",
        "'published' computes a window of 25 segments at every step; the others go on from step "
        "to step.",
    ]
    rows = []
    modes = (
        ("causal", Recipe(128.0, 0.5, 40.0, causal=True)),
        ("offline", Recipe(128.0, 0.5, 40.0)),
    )
    for mode, recipe in modes:
        detector = _detector(MVPFormerConfig(**TINY), recipe, 32)
        steps = round(60 * args.minutes / detector.step_s)
        rows.append(_row("tiny", mode, detector, args.channels, 256.0, steps))
    for preset in args.models:
        need, free = BYTES * PARAMETERS[preset], _free_bytes()
        if need > free:
            notes.append(
                f"{preset} is left out: it needs {need / 2**30:.0f} GiB of memory, "
                f"{free / 2**30:.0f} are free."
            )
            continue
        recipe = Recipe(512.0, 0.5, 120.0, causal=True)
        for mode, more in (("causal", ON), ("causal, published", PUBLISHED)):
            detector = _detector(MVPFormerConfig(preset=preset, **more), recipe, 25)
            rows.append(_row(preset, mode, detector, args.channels, 512.0, args.steps))
            del detector
    causal, offline = (r["times real time"] for r in rows[:2])
    reached = min(causal, offline) >= TARGET
    notes.append(
        f"tiny must reach {TARGET:g} times real time in both modes: "
        f"{'reached' if reached else 'not reached'}."
    )
    return {
        "title": "Seizure detection against real time",
        "rows": rows,
        "notes": notes,
        "times_real_time": causal,
        "times_real_time_offline": offline,
        "causal_over_offline": causal / offline,
        "reached": reached,
        "channels": args.channels,
        "target": TARGET,
    }


def _detector(encoder: MVPFormerConfig, recipe: Recipe, context: int) -> SeizureDetector:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SeizureDetector(SeizureDetectorConfig(encoder, context=context), Preprocess(recipe))


def _row(
    model: str, mode: str, detector: SeizureDetector, n_channels: int, sfreq: float, steps: int
) -> dict[str, Any]:
    """Measured where there is a past to look back to: the first steps have less work."""
    channels = synthetic_channels("EEG", n_channels)
    engine = Engine(detector, channels, sfreq, 50.0, detector.preprocess.recipe.causal)
    rng = np.random.default_rng(0)
    length = round(detector.step_s * sfreq)

    def push(n: int, size: float = 2e-5) -> int:
        before = engine.n_steps
        for _ in range(n):
            engine.push(size * rng.standard_normal((length, n_channels)))
        return engine.n_steps - before

    if detector.streams:
        push(min(detector.context, FILL[model]))
    else:
        # A window without signal is not computed, but its place is taken; then filters settle.
        push(detector.context, np.nan)
        push(math.ceil(SETTLE_S / detector.step_s))
    cpu, wall = time.process_time(), time.perf_counter()
    # Filters that look ahead give whole blocks: what came out is what is counted.
    done = 0
    while done < steps:
        done += push(1)
    seconds = done * detector.step_s
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "model": model,
        "mode": mode,
        "parameters": detector.n_parameters,
        "step s": detector.step_s,
        "steps": done,
        "CPU s per step": cpu / done,
        "times real time": seconds / cpu,
        "by wall clock": seconds / wall,
    }


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _pin(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


def _free_bytes() -> float:
    """Memory that can be had without swapping; as much as one likes where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    return next(1024.0 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable"))
