"""Does it matter which montage a probe was taught with? The same SIMULATED brains in another cap.

Heads that pretraining never saw do the same under each cap and helmet. A probe learns on some heads
in one montage and is judged on other heads in each: what is lost against a probe taught in the
judged montage itself is the price of another montage.

Shapes: N trials, F features.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.activity import Experiment
from brainfm.data.anatomy import Head, HeadConfig
from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.simulated_heads import prepared, simulate
from brainfm.data.store import Store
from brainfm.models.unified import UnifiedEncoder
from brainfm.signals.preprocess import Preprocess
from brainfm.types import SignalBatch
from eval.metrics.classification import scores
from eval.probe.linear import WideLogistic
from eval.unified.features import classical, of_encoder
from eval.unified.trials import Trials, by_recording, read_trials

MONTAGES: dict[str, tuple[str, dict[str, str]]] = {
    "19 electrodes": ("EEG", {"cap": "ten-twenty"}),
    "64 electrodes": ("EEG", {"cap": "biosemi64"}),
    "CTF": ("MEG", {"helmet": "ctf"}),
    "Vectorview": ("MEG", {"helmet": "vectorview"}),
}
TAUGHT, JUDGED = tuple(range(901, 907)), tuple(range(951, 954))
"""Seeds of heads; pretraining's are others."""
MINUTES = 3.0

Measure = Callable[[Trials, str], NDArray[np.float32]]


def montages(preprocess: Preprocess, names: Sequence[str] = tuple(MONTAGES)) -> dict[str, Trials]:
    """Trials of the same heads in every montage; split "train" teaches, "test" judges."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="brainfm_montages_") as folder:
        for name in names:
            kind, worn = MONTAGES[name]
            root = Path(folder, name.replace(" ", "_"))
            for seed in (*TAUGHT, *JUDGED):
                (made,) = simulate(
                    [Head(seed, HeadConfig(**worn))],  # type: ignore[arg-type]
                    60 * MINUTES,
                    [kind],
                    seed=1,
                    experiment=Experiment(),
                )
                made.split = "train" if seed in TAUGHT else "test"
                recording = prepared(made, preprocess.recipe)
                path = root / "montage" / f"head{seed}.safetensors"
                write_recording(recording, path, recipe=preprocess.recipe)
            build_tables(root)
            found[name] = read_trials(Store(root), kind, preprocess)
    return found


def without_positions(trials: Trials) -> Trials:
    """The same trials, sensors in unknown places."""

    def blind(batch: SignalBatch) -> SignalBatch:
        return replace(batch, pos_BC3=batch.pos_BC3 * float("nan"))

    return replace(trials, batches=[blind(b) for b in trials.batches])


def transfer(encoder: UnifiedEncoder, trials: dict[str, Trials]) -> list[dict[str, Any]]:
    """Balanced accuracy of every pair of montages of a kind, for each system.

    Returns
    -------
    rows: kind, taught, judged, and one column a system; "loss" columns are what was lost against a
    probe taught in the judged montage
    """
    systems: dict[str, Measure] = {
        "encoder": lambda t, _: of_encoder(encoder, t),
        "encoder, no positions": lambda t, _: of_encoder(encoder, without_positions(t)),
    }
    z = {
        (name, system): by_recording(measure(t, MONTAGES[name][0]), t.recording_N)
        for name, t in trials.items()
        for system, measure in systems.items()
    }
    for kind in dict.fromkeys(MONTAGES[n][0] for n in trials):
        # Places are those of both montages together, so that features mean the same.
        mine = [n for n in trials if MONTAGES[n][0] == kind]
        both = _joined([trials[n] for n in mine])
        x_NF = by_recording(classical(both), both.recording_N)
        ends = np.cumsum([len(trials[n].y_N) for n in mine])
        for name, part in zip(mine, np.split(x_NF, ends[:-1]), strict=True):
            z[name, "classical features"] = part
    rows: list[dict[str, Any]] = []
    for judged, j in trials.items():
        for taught, t in trials.items():
            if MONTAGES[taught][0] != MONTAGES[judged][0]:
                continue
            row: dict[str, Any] = {
                "kind": MONTAGES[judged][0],
                "judged in": judged,
                "taught in": taught,
            }
            for system in (*systems, "classical features"):
                fit, seen = t.of("train"), j.of("test")
                decoder = WideLogistic(spreads=("shared",)).fit(
                    z[taught, system][fit], t.y_N[fit], t.recording_N[fit]
                )
                guess = decoder.predict_proba(z[judged, system][seen])
                row[system] = scores(j.y_N[seen], guess)["balanced_accuracy"]
            rows.append(row)
    return rows


def lost(rows: list[dict[str, Any]], system: str) -> float:
    """Mean over pairs of what another montage costs a system."""
    own = {r["judged in"]: r[system] for r in rows if r["judged in"] == r["taught in"]}
    gone = [own[r["judged in"]] - r[system] for r in rows if r["judged in"] != r["taught in"]]
    return float(np.mean(gone))


def _joined(parts: Sequence[Trials]) -> Trials:
    """Trials of several montages as one; their recordings keep apart."""
    first, recordings = 0, []
    for t in parts:
        recordings.append(t.recording_N + first)
        first += int(t.recording_N.max()) + 1
    return Trials(
        [b for t in parts for b in t.batches],
        np.concatenate([t.since_N for t in parts]),
        parts[0].length_s,
        np.concatenate([t.y_N for t in parts]),
        np.concatenate(recordings),
        np.concatenate([t.split_N for t in parts]),
        parts[0].classes,
    )
