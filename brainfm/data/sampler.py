"""The plan of a training run: which windows form batch n, for every n, without remembering any.

Shapes: B windows in a batch, C channels, W steps in a window. One batch holds one layout and one
length, so nothing is padded; its size follows from a budget of tokens (B x C x W).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from torch.utils.data import Sampler

from brainfm.data.permute import key_of, permute
from brainfm.data.windows import WindowIndex
from brainfm.errors import DataError
from brainfm.types import WindowRef


@dataclass(frozen=True)
class PlanConfig:
    tokens_per_batch: int = 8192
    """Largest channels x steps in the batch of one rank; a single larger window still goes."""
    seed: int = 0
    shuffle: bool = True
    """Permute windows inside their bucket, and batches among all."""
    jitter: bool = False
    """Move each window by up to half a stride, differently in every epoch."""
    fixed: bool = False
    """Every epoch is epoch 0: validation compares like with like."""
    pad: bool = False
    """Where batches do not divide among ranks: True repeats some, False leaves some out."""
    mixture: Mapping[str, float] = field(default_factory=dict)
    """Data set to weight: 2.0 shows each window twice an epoch, 0.5 another half every epoch."""


class PlanSampler(Sampler[list[WindowRef]]):
    """Batches of window references: a pure function of (index, config, world, rank, number).

    Batch k of rank r is batch `k * world + r` of the epoch, so ranks never share a window of
    one epoch and all have the same number of batches. Nothing is stored but the tables of
    `WindowIndex`: any batch of any epoch is computed when it is asked for.

    Parameters
    ----------
    index : windows
    config : PlanConfig
    rank, world : which of how many processes

    Attributes
    ----------
    start : number of the batch at which iteration begins; iteration never ends
    hash : identity of the plan; resuming under another would give other batches

    Raises
    ------
    DataError
        If there is no window, or the mixture names an unknown data set.
    """

    def __init__(
        self, index: WindowIndex, config: PlanConfig, rank: int = 0, world: int = 1
    ) -> None:
        if not len(index):
            raise DataError("no window to plan; choose other recordings or a shorter window_s")
        if not 0 <= rank < world:
            raise DataError(f"rank {rank} is none of {world}; ranks count from 0")
        self.index, self.config, self.rank, self.world = index, config, rank, world
        self.start = 0
        self._slots, self._batches = self._sizes()
        # cumulative batches: bucket of a batch by bisection
        self._ends = np.cumsum(self._batches)
        total = int(self._ends[-1])
        per_rank = -(-total // world) if config.pad else total // world
        self._per_rank = max(1, per_rank)
        facts = (index.hash, json.dumps(asdict(config), sort_keys=True))
        self._base = key_of(*facts)
        self.hash = f"{key_of(*facts, world):016x}"

    def __len__(self) -> int:
        """Batches of one epoch of one rank."""
        return self._per_rank

    def __iter__(self) -> Iterator[list[WindowRef]]:
        number = self.start
        while True:
            yield self.batch(number)
            number += 1

    def batch(self, number: int) -> list[WindowRef]:
        """Batch `number` of this rank, counted from the beginning of training."""
        epoch, k = divmod(number, len(self))
        epoch = 0 if self.config.fixed else epoch
        total = int(self._ends[-1])
        # The remainder only occurs with padding, or with fewer batches than ranks.
        j = (k * self.world + self.rank) % total
        if self.config.shuffle:
            j = int(permute([j], total, self._key(epoch, "batches"))[0])
        b = int(np.searchsorted(self._ends, j, side="right"))
        i = j - int(self._ends[b] - self._batches[b])
        return self._windows(b, i, epoch)

    def _windows(self, b: int, i: int, epoch: int) -> list[WindowRef]:
        """Batch i of bucket b: batches of one bucket differ in size by at most one window."""
        bucket, slots, batches = self.index.buckets[b], int(self._slots[b]), int(self._batches[b])
        slot = np.arange(i * slots // batches, (i + 1) * slots // batches)
        turn, within = slot // bucket.count, slot % bucket.count
        if self.config.shuffle:
            for t in np.unique(turn):
                key = self._key(epoch, b, t)
                within[turn == t] = permute(within[turn == t], bucket.count, key)
        jitter = self._key(epoch, "jitter") if self.config.jitter else None
        return self.index.refs(bucket.first + within, jitter)

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Windows shown and batches formed an epoch, for each bucket."""
        weights, buckets = self.config.mixture, self.index.buckets
        unknown = set(weights) - {b.dataset for b in buckets}
        if unknown:
            raise DataError(
                f"mixture names '{sorted(unknown)[0]}', which no chosen recording belongs to; "
                f"data sets are {', '.join(sorted({b.dataset for b in buckets}))}"
            )
        if any(w <= 0 for w in weights.values()):
            raise DataError(f"mixture weights must be positive: {dict(weights)}")
        slots = [max(1, round(b.count * weights.get(b.dataset, 1.0))) for b in buckets]
        tokens = [b.n_channels * max(1, b.n_samples // b.patch) for b in buckets]
        most = [max(1, self.config.tokens_per_batch // t) for t in tokens]
        batches = [-(-s // m) for s, m in zip(slots, most, strict=True)]
        return np.array(slots, np.int64), np.array(batches, np.int64)

    def _key(self, *what: object) -> int:
        return key_of(self._base, *what)
