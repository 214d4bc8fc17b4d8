"""A piece of signal, original and decoded, for a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.codec.coders import Coder
from eval.codec.curves import REFERENCE
from eval.codec.windows import Piece

MOST_CODECS = 3
TRACE_S = 2.0
"""Seconds of signal that a figure shows."""


def traces(
    kind: str, coders: Sequence[Coder], pieces: Sequence[Piece], records: Sequence[dict]
) -> dict[str, Any]:
    """A stretch of one channel, original and decoded at a low and a high rate by a few coders.

    The first recording that all coders with codes can code; of its windows and channels the one of
    median variance.
    """
    shown = [c for c in coders if c.sort == "codec"][:MOST_CODECS]
    shown += [c for c in coders if c.name == REFERENCE]
    able = {c.name: {r["path"] for r in records if r["coder"] == c.name} for c in shown}
    shown = [c for c in shown if able[c.name]]
    piece = next((p for p in pieces if all(p.path in able[c.name] for c in shown)), pieces[0])
    where = np.argwhere(piece.valid_BC)
    std = piece.x_BCT[piece.valid_BC].std(1)
    b, c = where[np.argsort(std)[len(std) // 2]]
    n = round(TRACE_S * piece.sfreq)
    out: dict[str, Any] = {
        "kind": kind,
        "path": piece.path,
        "channel": piece.channels.name[c],
        "unit": piece.channels.unit[c],
        "sfreq": piece.sfreq,
        "simulated": piece.simulated,
        "original": piece.x_BCT[b, c, :n],
        "decoded": {},
    }
    for coder in shown:
        if piece.path not in able[coder.name]:
            continue
        rated = {
            r["setting"]: r["bits_per_s"]
            for r in records
            if (r["coder"], r["path"]) == (coder.name, piece.path)
        }
        wanted = two_settings(rated)
        out["decoded"][coder.name] = [
            {"setting": k.setting, "bits_per_s": rated[k.setting], "y": k.rec_BCT[b, c, :n]}
            for k in coder.code(piece)
            if k.setting in wanted
        ]
    return out


def two_settings(rate: Mapping[str, float]) -> set[str]:
    """The settings nearest to .25 and 1 kbit/s a channel; lowest and highest if these are one."""
    near = {min(rate, key=lambda s: abs(math.log(max(rate[s], 1) / goal))) for goal in (250, 1000)}
    ends = sorted(rate, key=rate.__getitem__)
    return near if len(near) == 2 else {ends[0], ends[-1]}
