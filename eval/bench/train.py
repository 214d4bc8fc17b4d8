"""Seconds of one codec training step, forward and backward, and where they go.

The step of the published program's figure: one window of 64 channels x 10 s at 256 Hz, five
codec windows, a quarter of the channels hidden, all losses. Our forward and the library's
(the same parameters through transformers' own layers) take turns in one run, so that their
ratio holds on any machine; the absolute seconds do not.

Shapes: B batch, C channels, T samples.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig, unfold_windows
from brainfm.codecs.losses import codec_losses, normalise_target
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.training.memory import keep_freed_memory
from brainfm.types import SignalBatch, WindowRef

PUBLISHED_S = 0.64
"""s of this step by the published program: 2 threads, 2-core x86 virtual machine, torch 2.13,
189 GFLOP/s in float32 matrix products."""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure; see the module's docstring.

    Returns
    -------
    dict with `s_per_step`, `channel_seconds_per_s`, `library_s_per_step`, `speedup`,
    `data_share` and `breakdown` (CPU seconds a piece, forward and backward)
    """
    args = _arguments(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as train.py does
    try:
        torch.manual_seed(0)
        return _measure(args)
    finally:
        torch.set_num_threads(threads)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.bench train", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=1, help="windows a step")
    parser.add_argument("--preset", default="published", help="size of the codec")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(argv)


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="brainfm_bench_") as folder:
        read = _reader(args, Path(folder))
        batch = read()
        data_s, data_cpu = _median(read, args.rounds)
    model = BrainTokenizer(BrainTokenizerConfig(preset=args.preset)).train()
    model.initialise_codebooks(batch)

    def step() -> None:
        f = model.training_forward(batch)
        losses = codec_losses(f.rec_BCNP, f.target_BCNP, f.commit, f.valid_BC)
        model.zero_grad(set_to_none=True)
        losses["loss"].backward()

    wall: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    for i in range(args.rounds + 1):
        for exact in (False, True):
            for module in (model.encoder, model.decoder):
                module.config = replace(module.config, exact=exact)
            w, c = _time(step)
            if i:  # the first round warms up
                wall[exact].append(w)
                cpu[exact].append(c)
    for module in (model.encoder, model.decoder):
        module.config = replace(module.config, exact=False)
    ours, library = statistics.median(wall[False]), statistics.median(wall[True])
    speedup = statistics.median(a / b for a, b in zip(wall[True], wall[False], strict=True))
    step_cpu = statistics.median(cpu[False])
    parts = _breakdown(model, batch, args.rounds)
    parts["attention and rest"] = max(0.0, step_cpu - sum(parts.values()))
    gflops = _matmul_gflops()
    channel_seconds = args.batch * args.channels * args.seconds
    rows = [
        {"piece": k, "CPU s": v, "share of step": v / step_cpu}
        for k, v in {"step": step_cpu, **parts, "data loading": data_cpu}.items()
    ]
    return {
        "title": f"Codec training step, {args.channels} channels x {args.seconds:g} s, "
        f"{args.threads} threads",
        "rows": rows,
        "s_per_step": ours,
        "s_per_step_best": min(wall[False]),
        "cpu_s_per_step": step_cpu,
        "channel_seconds_per_s": channel_seconds / ours,
        "library_s_per_step": library,
        "library_cpu_s_per_step": statistics.median(cpu[True]),
        "speedup": speedup,
        "data_s_per_step": data_s,
        "data_share": data_s / ours,
        "matmul_gflops": gflops,
        "published_s": PUBLISHED_S,
        "threads": args.threads,
        "breakdown": parts,
        "notes": [
            f"{ours:.3f} s a step, {channel_seconds / ours:.0f} channel-seconds/s; "
            f"{speedup:.2f} times as fast as the library's forward ({library:.2f} s) in the same "
            f"run; median of {args.rounds}.",
            f"The published program takes {PUBLISHED_S} s on a machine with 189 GFLOP/s; "
            f"this one gives {gflops:.0f} at the moment.",
        ],
    }


def _reader(args: argparse.Namespace, folder: Path) -> Callable[[], SignalBatch]:
    """Reads one batch of random windows of a simulated recording in a store."""
    from brainfm.data.collate import WindowDataset
    from brainfm.data.format import write_recording
    from brainfm.data.index import build_tables
    from brainfm.data.store import Store
    from brainfm.data.synthetic import synthetic_recording

    recipe = Recipe()
    recording = synthetic_recording("EEG", 8 * args.seconds, args.channels, sfreq=recipe.sfreq)
    write_recording(recording, folder / "simulated" / "one.safetensors", recipe=recipe)
    build_tables(folder)
    length = round(args.seconds * recipe.sfreq)
    dataset = WindowDataset(Store(folder), Preprocess(recipe), length)
    last = len(recording.signal) - length

    def read() -> SignalBatch:
        starts = torch.randint(last + 1, (args.batch,)).tolist()
        return dataset[[WindowRef(0, s, length) for s in starts]]

    return read


def _breakdown(model: BrainTokenizer, batch: SignalBatch, rounds: int) -> dict[str, float]:
    """CPU seconds of each piece alone, forward and backward, at the shapes of a step."""
    x = unfold_windows(batch.signal_BCT, model.config.window)
    b, c, n, p = x.shape
    seen = c - max(1, int(model.config.drop_share * c))
    d, f, s = model.config.dim, p // model.config.hop, model.config.n_sources
    wave = torch.randn(b * seen * n, 1, p)
    frames = torch.randn(b * c * n, d, f, requires_grad=True)
    latent = torch.randn(b, s, n, f, d, requires_grad=True)
    rec = torch.randn(x.shape, requires_grad=True)
    target = normalise_target(x)
    zero = torch.zeros(())
    pieces: dict[str, Callable[[], Tensor]] = {
        "SEANet encoder": lambda: model.encoder(wave).sum(),
        "SEANet decoder": lambda: model.decoder(frames).sum(),
        "quantiser": lambda: model.quantise(latent).latent.sum(),
        "losses": lambda: codec_losses(rec, target, zero)["loss"],
    }
    return {k: _median(lambda g=g: g().backward(), rounds)[1] for k, g in pieces.items()}


def _time(work: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _median(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    _time(work)
    wall, cpu = zip(*(_time(work) for _ in range(rounds)), strict=True)
    return statistics.median(wall), statistics.median(cpu)


def _matmul_gflops() -> float:
    """What the machine gives right now: float32 product of (2048, 1024) and (1024, 1024)."""
    a, b = torch.randn(2048, 1024), torch.randn(1024, 1024)
    return 2 * 2048 * 1024 * 1024 / _median(lambda: a @ b, 7)[0] / 1e9
