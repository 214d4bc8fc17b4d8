"""Random windows per second: the store against MNE reading the same recording from EDF.

Shapes: T samples, C channels. One simulated recording, written once as EDF and once into a store;
the same window starts for both, in alternating rounds, from a warm page cache.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.collate import WindowDataset
from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.loader import ResumableLoader
from brainfm.data.sampler import PlanConfig, PlanSampler
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.data.windows import Cut, cut_windows
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Recording, WindowRef

LEAST_RATIO = 10.0
"""What the store is for: below this, a format of its own is not worth having."""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure and return `ratio` (store over MNE, median of rounds) with both rates."""
    args = _arguments(argv)
    recipe = Recipe()
    recording = synthetic_recording("EEG", 60 * args.minutes, args.channels, sfreq=recipe.sfreq)
    length = round(args.window_s * recipe.sfreq)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(recording.signal) - length, args.windows).tolist()
    refs = [WindowRef(0, start, length) for start in starts]
    with tempfile.TemporaryDirectory(prefix="brainfm_bench_") as folder:
        write_recording(recording, Path(folder, "simulated", "one.safetensors"), recipe=recipe)
        build_tables(folder)
        store = Store(folder)
        raw = _edf(recording, Path(folder, "one.edf"))
        _refuse_different(store, raw, recording, length)
        dataset = WindowDataset(store, Preprocess(recipe), length)
        batches = [refs[i : i + args.batch] for i in range(0, len(refs), args.batch)]
        few = starts[: max(1, len(starts) // 10)]
        ways: dict[str, tuple[Callable[[], Any], int]] = {
            "store, SI float32": (lambda: _each(store.read, refs), len(refs)),
            "MNE, EDF, preload=False": (
                lambda: _each(lambda a: raw[:, a : a + length], few),
                len(few),
            ),
            f"SignalBatch of {args.batch}": (
                lambda: _each(dataset.__getitem__, batches),
                len(refs),
            ),
        }
        for work, _ in ways.values():
            work()  # warms the page cache and opens the files
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.rounds):
            for name, (work, n) in ways.items():
                began = time.perf_counter()
                work()
                rates[name].append(n / (time.perf_counter() - began))
        for workers in args.workers:
            rates[f"loader, {workers} workers"] = [_loader_rate(store, args, workers)]
    return _result(args, recording, rates)


def _each(read: Callable[[Any], Any], items: Sequence[Any]) -> None:
    """Read and let go, as training does; keeping windows would measure the allocator."""
    for item in items:
        read(item)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.bench loader", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="length of the recording")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--window_s", type=float, default=2.0)
    parser.add_argument("--windows", type=int, default=2000, help="windows a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16, help="windows in a SignalBatch")
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    return parser.parse_args(argv)


def _edf(recording: Recording, path: Path) -> Any:
    """The recording as an EDF file, opened without reading it."""
    import mne

    with mne.utils.use_log_level("ERROR"):
        info = mne.create_info(list(recording.channels.name), recording.sfreq, "eeg")
        whole = mne.io.RawArray(recording.signal.T.astype(float), info)
        mne.export.export_raw(path, whole, physical_range="channelwise")
        return mne.io.read_raw_edf(path, preload=False)


def _refuse_different(store: Store, raw: Any, recording: Recording, length: int) -> None:
    """Both readers must give the recording back, or their speed means nothing."""
    at = len(recording.signal) // 3
    truth = recording.signal[at : at + length]
    for name, got in (
        ("store", store.read(WindowRef(0, at, length))),
        ("MNE", raw[:, at : at + length][0].T),
    ):
        worst = float(np.abs(got - truth).max() / truth.std())
        if worst > 0.01:
            raise DataError(f"{name} returns another signal (off by {worst:.2g} SD); no bench")


def _loader_rate(store: Store, args: argparse.Namespace, workers: int) -> float:
    """Windows a second through plan, reading, normalisation and processes."""
    patch = round(args.window_s * store.recipe.sfreq)
    cut = Cut(args.window_s, stride_s=args.window_s / 4, patch_s=patch / store.recipe.sfreq)
    plan = PlanSampler(
        cut_windows(store, store.recordings, cut),
        PlanConfig(args.batch * args.channels, jitter=True),
    )
    dataset = WindowDataset(store, Preprocess(store.recipe), patch)
    loader = ResumableLoader(dataset, plan, num_workers=workers)
    sum(len(batch) for batch in loader)  # starts the workers
    began = time.perf_counter()
    return sum(len(batch) for batch in loader) / (time.perf_counter() - began)


def _result(
    args: argparse.Namespace, recording: Recording, rates: dict[str, list[float]]
) -> dict[str, Any]:
    ours, theirs = rates["store, SI float32"], rates["MNE, EDF, preload=False"]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    window_mb = args.window_s * recording.sfreq * args.channels * 2 / 1e6
    rows = [
        {
            "way": name,
            "windows/s": round(statistics.median(values)),
            "from": round(min(values)),
            "to": round(max(values)),
            "MB/s stored": round(statistics.median(values) * window_mb),
        }
        for name, values in rates.items()
    ]
    threads = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    verdict = "reached" if ratio >= LEAST_RATIO else "MISSED"
    return {
        "title": f"Random windows of {args.window_s:g} s x {args.channels} channels",
        "ratio": ratio,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "least_ratio": LEAST_RATIO,
        "reached": ratio >= LEAST_RATIO,
        "store_windows_per_s": statistics.median(ours),
        "mne_windows_per_s": statistics.median(theirs),
        "batch_windows_per_s": statistics.median(rates[f"SignalBatch of {args.batch}"]),
        "page_cache": "warm",
        "simulated": True,
        "rounds": args.rounds,
        "threads": threads,
        "rows": rows,
        "notes": [
            f"Store over MNE: {ratio:.1f} (rounds {min(ratios):.1f} to {max(ratios):.1f}); at "
            f"least {LEAST_RATIO:g} {verdict}.",
            f"One simulated recording, {args.minutes:g} min at {recording.sfreq:g} Hz, page cache "
            f"warm, one process, {args.rounds} alternating rounds; MNE reads raw[:, a:b].",
            "A SignalBatch is read, checked, normalised and cut into steps.",
        ],
    }
