"""One attention layer of MVPFormer S, forward and backward: seconds and memory of every path.

The yardstick is the published dense formulation as braindecode ports it; it gets our weights, and
must give our numbers before anything is timed. Paths take turns in one run, so that their ratio
holds on any machine; peak memory on CPU is measured in a process of its own for each path.

Shapes: B batch (1), T segments, C channels, D width, N = T C tokens.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.models.mvpformer import Attention, Geometry, MVPFormerConfig, attend
from brainfm.nn.mvpa import list_order

LEAST_SPEEDUP, MOST_MEMORY = 3.0, 1 / 3
DENSE_COPIES = 5
"""Matrices of all pairs and heads that the dense formulation holds at its peak: 4.2 measured with
40 segments of 96 channels, and some room."""

Step = Callable[[], Tensor]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure; see the module's docstring.

    Returns
    -------
    dict with `speedup` and `memory_ratio` (lean against dense; None where dense does not fit),
    and for each path `s`, `system_s`, `tokens_per_s`, `extra_mb` and `peak_mb`
    """
    args = _arguments(argv)
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ContractError(f"device is '{args.device}', but there is no GPU; use --device cpu")
    if min(args.segments, args.channels, args.rounds, args.threads) < 1:
        raise ContractError("segments, channels, rounds and threads must all be 1 or more")
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        return _measure(args, device)
    finally:
        torch.set_num_threads(threads)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.bench mvpa", description=__doc__)
    parser.add_argument("--segments", type=int, default=40)
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument("--preset", default="S", help="size of the layer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="on CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def _measure(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    paths = ["lean", "flex", "dense"] if device.type == "cuda" else ["lean", "dense"]
    config, n = MVPFormerConfig(preset=args.preset), args.segments * args.channels
    wanted = DENSE_COPIES * config.n_heads * n**2 * 4
    free = _free_bytes(device)
    notes = []
    if wanted > free:
        paths.remove("dense")
        notes.append(
            f"Dense was left out: its logits of {n} x {n} tokens and {config.n_heads} heads would "
            f"take about {wanted / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free."
        )
    memory = {path: _memory_of(args, path, device) for path in paths}
    layer = Layer(args, device)
    off = layer.difference() if "dense" in paths else None
    seconds: dict[str, list[float]] = {path: [] for path in paths}
    system: dict[str, list[float]] = {path: [] for path in paths}
    for i in range(args.rounds + 1):
        for path in paths:
            took, of_system = _time(layer.step(path), device)
            if i:  # the first round warms up, and compiles
                seconds[path].append(took)
                system[path].append(of_system)
    middle = {path: statistics.median(values) for path, values in seconds.items()}
    rows = [
        {
            "path": path,
            "s": middle[path],
            "system s": statistics.median(system[path]),
            "tokens/s": n / middle[path],
            "peak extra MB": memory[path]["extra_mb"],
            "peak MB": memory[path]["peak_mb"],
        }
        for path in paths
    ]
    found = {
        path: {
            "s": middle[path],
            "system_s": statistics.median(system[path]),
            "tokens_per_s": n / middle[path],
            **memory[path],
        }
        for path in paths
    }
    return {
        "title": f"Attention layer of MVPFormer {args.preset}, forward and backward: "
        f"{args.segments} segments x {args.channels} channels on {_name(device, args.threads)}",
        "rows": rows,
        "tokens": n,
        **_ratios(seconds, memory, notes),
        **found,
        "difference": off,
        "device": str(device),
        "threads": args.threads,
        "rounds": args.rounds,
        "under_8_gb": memory["lean"]["peak_mb"] < 8000,
        "notes": notes,
    }


def _ratios(
    seconds: dict[str, list[float]], memory: dict[str, dict[str, float]], notes: list[str]
) -> dict[str, Any]:
    """How the lean path stands beside the dense one; adds its sentences to `notes`."""
    notes.append(
        "Peak extra memory: what one step adds to weights, inputs and program; peak: all of it. "
        "System: CPU seconds spent on handing out memory, by the allocator as it comes."
    )
    if "dense" not in seconds:
        return {"speedup": None, "memory_ratio": None, "reached": None}
    found: dict[str, Any] = {}
    for path in [p for p in seconds if p != "dense"]:
        each = [a / b for a, b in zip(seconds["dense"], seconds[path], strict=True)]
        speedup = statistics.median(each)
        ratio = memory[path]["extra_mb"] / memory["dense"]["extra_mb"]
        notes.append(
            f"{path}: {speedup:.1f} times as fast as dense (rounds {min(each):.1f} to "
            f"{max(each):.1f}) with {ratio:.2f} of its peak extra memory."
        )
        name = "" if path == "lean" else f"{path}_"
        found |= {f"{name}speedup": speedup, f"{name}memory_ratio": ratio}
    reached = found["speedup"] >= LEAST_SPEEDUP and found["memory_ratio"] <= MOST_MEMORY
    verdict = "reached" if reached else "MISSED"
    notes.append(f"At least {LEAST_SPEEDUP:g} times with at most a third: {verdict}.")
    return {**found, "reached": reached}


class Layer:
    """The same layer and inputs in our module and in braindecode's, published geometry."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        torch.manual_seed(0)
        self.config = MVPFormerConfig(
            preset=args.preset, relation="list order", time_rows="from_end", last_sees_all=True
        )
        t, c, d = args.segments, args.channels, self.config.dim
        self.ours = Attention(self.config)
        for p in self.ours.parameters():
            nn.init.normal_(p, std=d**-0.5)
        self.ours.to(device)
        self.x = torch.randn(1, t, c, d, device=device).requires_grad_()
        self.time, self.channel = torch.randn(t, d, device=device), torch.randn(c, d, device=device)
        self.grad = torch.randn(1, t, c, d, device=device)
        self.where = Geometry(self.time.flip(0), list_order(c, device), self.channel)

    def step(self, path: str) -> Step:
        """Forward and backward by one path, all gradients; the result is returned."""
        module = self._dense() if path == "dense" else self.ours
        forward = self._theirs(module) if path == "dense" else self._by(path)

        def run() -> Tensor:
            self.x.grad = None
            module.zero_grad(set_to_none=True)
            y = forward()
            y.backward(self.grad)
            return y.detach()

        return run

    def difference(self) -> float:
        """Largest difference of results and of gradients to the inputs, relative to their spread.

        Raises
        ------
        ContractError
            If the two do not compute the same thing, so that their times mean nothing.
        """
        ends = []
        for path in ("lean", "dense"):
            y = self.step(path)()
            ends.append((y, self.x.grad))
        both = zip(*ends, strict=True)
        worst = max(float((a - b).abs().max() / b.std()) for a, b in both)
        if worst > 1e-3:
            raise ContractError(f"lean and dense differ by {worst:.2g} SD; no bench")
        return worst

    def _by(self, path: str) -> Step:
        def forward() -> Tensor:
            kv = self.ours.keys_values(self.x)
            y_BHTCE = attend(self.ours.inputs(self.x, kv, self.where), path)
            return self.ours.out(y_BHTCE.permute(0, 2, 3, 1, 4).flatten(3))

        return forward

    def _theirs(self, module: nn.Module) -> Step:
        return lambda: module(self.x, self.time[None], self.channel[None])

    def _dense(self) -> nn.Module:
        try:
            from braindecode.models.mvpformer import _MVPAttention
        except ImportError as e:
            raise ContractError(
                "the dense yardstick is braindecode's attention, which is not installed; "
                "pip install 'brainfm-decoding[eval]'"
            ) from e
        c, ours = self.config, self.ours
        theirs = _MVPAttention(c.dim, c.n_heads, c.n_kv_heads, local_window=c.lookback)
        key_value = torch.cat([ours.key.weight, ours.value.weight])
        theirs.load_state_dict(
            {
                "attn_bias": ours.bias_3GE.flatten(),
                "q_attn.weight": ours.query.weight,
                "c_attn.weight": key_value,
                "position_net.weight": ours.time.weight,
                "channel_net.weight": ours.channel.weight,
                "c_proj.weight": ours.out.weight,
            }
        )
        return theirs.to(self.x.device)


def _memory_of(args: argparse.Namespace, path: str, device: torch.device) -> dict[str, float]:
    """`extra_mb` that one step adds, and `peak_mb` altogether."""
    if device.type == "cuda":
        return _memory(args, path, device)
    # A process that has done nothing else: its high-water mark is that of this path.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(_memory, args, path, device).result()


def _memory(args: argparse.Namespace, path: str, device: torch.device) -> dict[str, float]:
    torch.set_num_threads(args.threads)
    small = argparse.Namespace(**{**vars(args), "segments": 2, "channels": 2})
    Layer(small, device).step(path)()  # loads libraries, compiles
    step = Layer(args, device).step(path)
    if device.type == "cuda":
        step()  # compiles for these sizes
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        peak = torch.cuda.max_memory_allocated(device)
    else:
        before = _high_water()
        step()
        peak = _high_water()
    return {"extra_mb": (peak - before) / 1e6, "peak_mb": peak / 1e6}


def _high_water() -> int:
    """Most bytes this process ever had in memory."""
    try:
        with open("/proc/self/status") as f:
            line = next(line for line in f if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if os.uname().sysname == "Darwin" else 1024 * most


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as f:
            line = next(line for line in f if line.startswith("MemAvailable"))
        return 1024 * int(line.split()[1])
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _time(step: Step, device: torch.device) -> tuple[float, float]:
    """Seconds, and CPU seconds the system took to hand out memory."""
    system, began = os.times().system, time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, os.times().system - system


def _name(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {threads} threads"
