"""How many times faster than real time each codec codes 64 channels, at its published size.

Offline (`encode` of a stretch at once), as a stream (`Codec.stream`: windowed codecs window by
window, the others in pieces of a second), and back (`decode`). Weights and signals are random: they
do not change the time. The library's own layers with the same weights (`exact`) take turns with
ours in one run, so that their ratio holds on any machine.

Seconds are those of the fastest round, since other programs on a machine only ever take time. By
CPU: what the threads would need if they shared the work evenly and nothing else ran.

Shapes: B batch, C channels, T samples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from brainfm.codecs.base import Codec
from brainfm.codecs.biocodec import BioCodec, BioCodecConfig
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.duin import DuIN, DuINConfig
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.training.memory import keep_freed_memory
from brainfm.types import Kind, SignalBatch

TARGET = 100.0
"""Times real time that BrainTokenizer must reach at its published size, offline and streaming."""


class Entry(NamedTuple):
    """A codec at a size, the rate it is for, and samples of a window where it needs one given."""

    make: Callable[[str], Codec]
    preset: str
    sfreq: float
    window: int | None = None
    half: bool = False
    """Networks in bfloat16 (`torch.autocast`), quantisers in float32."""


CODECS = {
    "BrainTokenizer": Entry(
        lambda p: BrainTokenizer(BrainTokenizerConfig(preset=p)), "published", 256.0
    ),
    "BrainTokenizer, bfloat16": Entry(
        lambda p: BrainTokenizer(BrainTokenizerConfig(preset=p)), "published", 256.0, half=True
    ),
    "BioCodec eeg": Entry(lambda p: BioCodec(BioCodecConfig(preset=p)), "eeg", 250.0),
    "BioCodec emg": Entry(lambda p: BioCodec(BioCodecConfig(preset=p)), "emg", 1000.0),
    "ScalarCodec eeg": Entry(lambda p: ScalarCodec(ScalarCodecConfig(preset=p)), "eeg", 256.0),
    "ScalarCodec demo": Entry(lambda p: ScalarCodec(ScalarCodecConfig(preset=p)), "demo", 256.0),
    "DuIN": Entry(lambda p: DuIN(DuINConfig(preset=p)), "published", 1000.0, 4000),
    "EphysTokenizer": Entry(
        lambda p: EphysTokenizer(EphysTokenizerConfig(preset=p)), "published", 250.0, 200
    ),
}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure; see the module's docstring.

    Returns
    -------
    dict with BrainTokenizer's `times_real_time` and `times_real_time_streaming`, both by CPU too,
    `library_times_real_time`, `speedup` and `reached`; the same ending in `_bfloat16`;
    `matmul_gflops`, and a row for each codec
    """
    args = _arguments(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as `python -m brainfm codes` does
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _measure(args)
    finally:
        torch.set_num_threads(threads)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.bench codec", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8.0, help="of signal; whole windows of it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codecs", nargs="*", default=list(CODECS), choices=list(CODECS))
    parser.add_argument("--preset", help="size of all, instead of the published ones")
    return parser.parse_args(argv)


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    rows = [_row(name, CODECS[name], args) for name in args.codecs]
    found: dict[str, Any] = {
        "title": f"Codecs against real time, {args.channels} channels, {args.threads} threads",
        "rows": rows,
        "channels": args.channels,
        "threads": args.threads,
        "target": TARGET,
        "matmul_gflops": _matmul_gflops(),
    }
    notes = [
        f"Fastest of {args.rounds} rounds; a float32 matrix product gives "
        f"{found['matmul_gflops']:.0f} GFLOP/s at the moment.",
        "Latency: from the first sample of a code to the last one that it depends on.",
    ]
    by_name = {row["codec"]: row for row in rows}
    for name, ending in (("BrainTokenizer", ""), ("BrainTokenizer, bfloat16", "_bfloat16")):
        if name not in by_name:
            continue
        row = by_name[name]
        reached = min(row["encode"], row["stream"]) >= TARGET
        found |= {
            f"times_real_time{ending}": row["encode"],
            f"times_real_time_cpu{ending}": row["encode, CPU"],
            f"times_real_time_streaming{ending}": row["stream"],
            f"times_real_time_streaming_cpu{ending}": row["stream, CPU"],
            f"library_times_real_time{ending}": row["library"],
            f"speedup{ending}": row["encode"] / row["library"],
            f"reached{ending}": reached,
        }
        notes.append(
            f"{name} must reach {TARGET:g} times real time, streaming included: "
            f"{'reached' if reached else 'not reached'} ({row['encode']:.0f} and "
            f"{row['stream']:.0f}; {row['encode, CPU']:.0f} and {row['stream, CPU']:.0f} by CPU); "
            f"{row['encode'] / row['library']:.1f} times as fast as the library's layers in the "
            "same run."
        )
    return found | {"notes": notes}


def _row(name: str, entry: Entry, args: argparse.Namespace) -> dict[str, Any]:
    codec = entry.make(args.preset or entry.preset).eval()
    window = getattr(codec.config, "window", None) if entry.window is None else entry.window
    length = round(args.seconds * entry.sfreq)
    if window:
        length = max(window, length // window * window)
    batch = noise(args.channels, length, entry.sfreq)
    if hasattr(codec, "initialise_codebooks"):
        codec.initialise_codebooks(batch)
    seconds, piece = length / entry.sfreq, window or round(entry.sfreq)
    offline = _windows(batch, window) if entry.window else batch
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=entry.half):
        codes = codec.encode(offline)
        stream = codec.stream(batch, *([window] if entry.window else []))
        pieces = batch.signal_BCT[0].split(piece, 1)

        def streamed() -> None:
            for x_CT in pieces:
                stream.push(x_CT)

        work: dict[str, Callable[[], Any]] = {
            "encode": lambda: codec.encode(offline),
            "stream": streamed,
            "decode": lambda: codec.decode(codes, offline),
        }
        if isinstance(codec, BrainTokenizer):
            library = entry.make(args.preset or entry.preset).eval()
            library.load_state_dict(codec.state_dict(), strict=True)
            library.encoder.config = replace(library.encoder.config, exact=True)
            work["library"] = lambda: library.encode(offline)
        took = _rounds(work, args.rounds)
    rate = codec.bits_per_second(entry.sfreq) * (args.channels if codec.per_channel else 1)
    return {
        "codec": name,
        "Hz": entry.sfreq,
        "bit/s": rate,
        "latency s": stream.latency_s,
        **{key: seconds / best for key, (best, _) in took.items()},
        **{f"{key}, CPU": args.threads * seconds / cpu for key, (_, cpu) in took.items()},
    }


def noise(n_channels: int, length: int, sfreq: float) -> SignalBatch:
    """One window of unit noise on sensors at random places of a head."""
    place_BC3 = torch.nn.functional.normalize(torch.randn(1, n_channels, 3), dim=-1)
    return SignalBatch(
        x_BCWP=torch.randn(1, n_channels, 1, length),
        pos_BC3=0.09 * place_BC3,
        ori_BC3=torch.zeros(1, n_channels, 3),
        kind_BC=torch.full((1, n_channels), int(Kind.EEG)),
        valid_BC=torch.ones(1, n_channels, dtype=torch.bool),
        time_BW=torch.zeros(1, 1, dtype=torch.float64),
        scale_BC=torch.ones(1, n_channels),
        offset_BC=torch.zeros(1, n_channels),
        sfreq=sfreq,
    )


def _windows(batch: SignalBatch, window: int) -> SignalBatch:
    """The one window of `batch` cut into a batch of shorter ones."""
    x_NCWP = batch.signal_BCT[0].unflatten(-1, (-1, window)).transpose(0, 1)[:, :, None]
    n = len(x_NCWP)
    many = {
        key: getattr(batch, key).expand(n, *getattr(batch, key).shape[1:])
        for key in ("pos_BC3", "ori_BC3", "kind_BC", "valid_BC", "scale_BC", "offset_BC", "time_BW")
    }
    return replace(batch, x_BCWP=x_NCWP.contiguous(), **many)


def _rounds(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Fewest seconds of each piece of work, by the clock and of the CPU; they take turns."""
    took: dict[str, list[tuple[float, float]]] = {key: [] for key in work}
    for i in range(rounds + 1):
        for key, one in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            one()
            if i:  # the first round warms up
                took[key].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {key: (min(w for w, _ in both), min(c for _, c in both)) for key, both in took.items()}


def _matmul_gflops() -> float:
    """What the machine gives right now: float32 product of (2048, 1024) and (1024, 1024)."""
    a, b = torch.randn(2048, 1024), torch.randn(1024, 1024)
    best, _ = _rounds({"product": lambda: a @ b}, 7)["product"]
    return 2 * 2048 * 1024 * 1024 / best / 1e9
