"""Tokens a second of a mixture of four kinds: as streams, and padded to the largest recording.

Padding is what a batch of different recordings costs where every row must have one shape: as many
sensors and steps as the largest has. A stream's batches hold one layout each, and recordings made
at once are joined token by token, so nothing is padded. Same weights, same windows, same answers
(checked); CPU seconds, in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.types import Kind, SignalBatch, TokenStream

MIXTURE = {
    "EEG": (Kind.EEG, 64, 10.0, 256.0),
    "MEG": (Kind.MAG, 306, 10.0, 256.0),
    "SEEG": (Kind.SEEG, 120, 10.0, 256.0),
    "fMRI": (Kind.BOLD, 100, 80.0, 0.5),
}
"""Kind, sensors, seconds and Hz of a window: usual sizes. Contents are noise."""
WORST = 1e-3
"""Largest difference between answers, in units of their spread."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure; see the module's first lines.

    Raises
    ------
    DataError
        If padded and unpadded answers differ.
    """
    parser = argparse.ArgumentParser("python -m eval.bench stream", description=__doc__)
    parser.add_argument("--windows", type=int, default=8, help="of each kind (default 8)")
    parser.add_argument("--preset", default="tiny", help="of UnifiedEncoder (default tiny)")
    parser.add_argument("--rounds", type=int, default=5, help="in turns (default 5)")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    encoder = UnifiedEncoder(UnifiedEncoderConfig(preset=args.preset)).eval()
    batches = {name: _noise(*sizes, args.windows) for name, sizes in MIXTURE.items()}
    with torch.no_grad():
        streams = {name: encoder.embedding(b) for name, b in batches.items()}
    n_tokens = sum(len(s) for s in streams.values()) * args.windows
    padded = padded_to_largest(list(streams.values()))
    ways: dict[str, Callable[[], list[Tensor]]] = {
        "streams": lambda: [encoder.encode(s) for s in streams.values()],
        "padded": lambda: [encoder.encode(padded)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        _require_same(encoder, streams, padded, args.windows)
        for _ in range(args.rounds):
            for name, way in ways.items():
                began = time.process_time()
                way()
                seconds[name].append(time.process_time() - began)
    rate = {name: n_tokens / float(np.median(s)) for name, s in seconds.items()}
    whole = padded.h_BND.shape[0] * len(padded)
    ratio = rate["streams"] / rate["padded"]
    return {
        "title": "Tokens a second: streams against padding",
        "rows": [
            {
                "way": name,
                "tokens that say something": n_tokens,
                "tokens computed": n_tokens if name == "streams" else whole,
                "tokens/CPU s": round(rate[name]),
                "ratio": round(rate[name] / rate["padded"], 2),
            }
            for name in ways
        ],
        "ratio": ratio,
        "notes": [
            f"{args.windows} windows each of "
            + ", ".join(f"{n} ({c} sensors, {s:g} s)" for n, (_, c, s, _) in MIXTURE.items())
            + f"; UnifiedEncoder {args.preset}, {torch.get_num_threads()} threads, forward, "
            "tokens given. Answers agree.",
        ],
    }


def padded_to_largest(streams: Sequence[TokenStream]) -> TokenStream:
    """All windows of all streams in one batch, each with as many slots and sensors as any has."""
    n_slots = max(s.n_slots for s in streams)
    n_sensors = max(len(s) // s.n_slots for s in streams)
    grown = []
    for s in streams:
        w = s.n_slots
        index = torch.arange(len(s)).reshape(-1, w)
        # Repeat what there is, and mark it as not to be seen.
        index = torch.nn.functional.pad(index, (0, n_slots - w), value=0)
        index = torch.nn.functional.pad(index, (0, 0, 0, n_sensors - len(index)), value=0)
        there = torch.zeros(n_sensors, n_slots, dtype=torch.bool)
        there[: len(s) // w, :w] = True
        big = s.take(index.flatten())
        slot = torch.arange(n_slots).repeat(n_sensors)
        length = float(s.duration_N[0])
        # A padded step comes after the others, so that times rise.
        time_BN = s.time_BN[:, :1] + slot.double() * length
        grown.append(
            replace(
                big,
                valid_BN=big.valid_BN & there.flatten(),
                slot_N=slot,
                time_BN=time_BN,
                duration_N=torch.full_like(big.duration_N, length),
            )
        )
    joined = {
        f.name: torch.cat([getattr(s, f.name) for s in grown])
        for f in fields(TokenStream)
        if not f.name.endswith("_N")
    }
    return replace(grown[0], **joined)


def _require_same(
    encoder: UnifiedEncoder, streams: dict[str, TokenStream], padded: TokenStream, windows: int
) -> None:
    """Sources of the first step do not depend on padding (later blocks see padded steps)."""
    seen = padded.valid_BN
    whole, _ = encoder.sources(padded, seen)
    for k, (name, stream) in enumerate(streams.items()):
        alone, _ = encoder.sources(stream, stream.valid_BN)
        both = whole[k * windows : (k + 1) * windows, : alone.shape[1]]
        off = float((both - alone).abs().max() / alone.std())
        if off > WORST:
            raise DataError(f"{name}: padded sources differ by {off:.2g} SD; no bench")


def _noise(
    kind: Kind, n_channels: int, seconds: float, sfreq: float, n_windows: int
) -> SignalBatch:
    x = torch.randn(n_windows, n_channels, 1, round(seconds * sfreq))
    pos = torch.randn(n_windows, n_channels, 3)
    return SignalBatch(
        x_BCWP=x,
        pos_BC3=0.07 * pos / pos.norm(dim=-1, keepdim=True),
        ori_BC3=torch.zeros(n_windows, n_channels, 3),
        kind_BC=torch.full((n_windows, n_channels), int(kind)),
        valid_BC=torch.ones(n_windows, n_channels, dtype=torch.bool),
        time_BW=torch.zeros(n_windows, 1, dtype=torch.float64),
        scale_BC=torch.ones(n_windows, n_channels),
        offset_BC=torch.zeros(n_windows, n_channels),
        sfreq=sfreq,
        frame="mni",
    )
