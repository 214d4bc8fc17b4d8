"""Loaders that can stop anywhere and go on as if they had not.

The state is one integer: batches handed to the trainer since training began. Batches that
workers had prepared but nobody had seen do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from brainfm.data.sampler import PlanSampler
from brainfm.errors import ContractError, DataError
from brainfm.types import SignalBatch


class FixedLoader:
    """The same batches in the same order at every pass: validation.

    It is no `DataLoader`, but holds one: Lightning would replace the sampler of a DataLoader
    under DDP, and with it the plan. It has a length, else Lightning fetches one batch ahead.

    Parameters
    ----------
    dataset : `WindowDataset`, indexed by lists of `WindowRef`
    plan : PlanSampler of this rank
    num_workers : processes that read ahead; 0 reads in the training process
    pin_memory : for copies to a GPU that do not wait
    limit : only the first so many batches
    """

    def __init__(
        self,
        dataset: Dataset[SignalBatch],
        plan: PlanSampler,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        limit: int | None = None,
    ) -> None:
        self.dataset, self.plan, self.limit = dataset, plan, limit
        self._loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=plan,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            collate_fn=_as_it_is,
        )

    def __len__(self) -> int:
        return len(self.plan) if self.limit is None else min(len(self.plan), self.limit)

    def __iter__(self) -> Iterator[SignalBatch]:
        return self._from(0)

    def close(self) -> None:
        """End the reading processes.

        Left to the garbage collector, it happens while their queues are taken apart, and torch
        waits five seconds for each of them.
        """
        iterator = self._loader._iterator
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
        self._loader._iterator = None

    def _from(self, start: int) -> Iterator[SignalBatch]:
        """Batches of one epoch's length, from number `start` on."""
        self.plan.start = start
        batches = iter(self._loader)
        try:
            for _ in range(len(self)):
                yield next(batches)
        except DataError as e:
            # A worker wraps the sentence into its traceback; give the sentence back.
            raise DataError(str(e).rsplit("DataError: ", 1)[-1].strip()) from e


class ResumableLoader(FixedLoader):
    """A stream of batches that continues where its state says.

    Each pass gives one epoch's length of batches and goes on where the last pass was left, also
    if that was in the middle: with `limit_train_batches`, later passes see the rest.

    Parameters
    ----------
    dataset, plan, num_workers, pin_memory : see `FixedLoader`
    start_batch : batches already seen by earlier training that this one continues without its
        loader state (another number of processes, say)
    """

    def __init__(
        self,
        dataset: Dataset[SignalBatch],
        plan: PlanSampler,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        start_batch: int = 0,
    ) -> None:
        super().__init__(dataset, plan, num_workers=num_workers, pin_memory=pin_memory)
        self.position = start_batch

    def __iter__(self) -> Iterator[SignalBatch]:
        # Nothing runs before the first batch is asked for: Lightning makes the iterator first
        # and loads the state afterwards. The count moves before the batch goes out: Lightning
        # never exhausts an iterator, so what follows the last `yield` may not run.
        for batch in self._from(self.position):
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Position, and the identity of the plan in which it means something."""
        return {"position": self.position, "plan": self.plan.hash, "world": self.plan.world}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after `state["position"]` batches.

        Raises
        ------
        ContractError
            If the state belongs to another plan: other recordings, window, seed, token budget
            or number of processes.
        """
        if state["world"] != self.plan.world:
            raise ContractError(
                f"the checkpoint was trained by {state['world']} processes, this run has "
                f"{self.plan.world}; use as many, or start from its weights with "
                f"data.start_batch={state['position'] * state['world'] // self.plan.world}"
            )
        if state["plan"] != self.plan.hash:
            raise ContractError(
                f"the checkpoint's sampling plan is {state['plan']}, this run's is "
                f"{self.plan.hash}: recordings, windows, seed or token budget changed; restore "
                "them, or start from the checkpoint's weights"
            )
        self.position = int(state["position"])


def _as_it_is(batch: Any) -> Any:
    return batch
