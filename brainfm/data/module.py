"""What a run trains on: recordings chosen by a query, cut into windows, planned into batches.

Shapes: C channels, W steps in a window.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from lightning.pytorch import LightningDataModule

from brainfm.data.collate import WindowDataset, require_store_recipe
from brainfm.data.images import ImageTargets, ImageWindows, cut_images, images_judged_on
from brainfm.data.index import select
from brainfm.data.loader import FixedLoader, ResumableLoader
from brainfm.data.sampler import PlanConfig, PlanSampler
from brainfm.data.seizures import SeizureSampling, SeizureWindows, annotated, repeat_around_seizures
from brainfm.data.simultaneous import SimultaneousWindows, cut_simultaneous, made_at_once
from brainfm.data.speech import (
    SpeechTargets,
    SpeechWindows,
    cut_speech,
    frequent_words,
    sentences_judged_on,
    spoken,
)
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_store
from brainfm.data.windows import Cut, WindowIndex, cut_windows
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import SignalBatch, Simultaneous

log = logging.getLogger(__name__)

SYNTHETIC = "synthetic"


class BrainDataModule(LightningDataModule):
    """Train and validation batches from a store; test recordings are never read here.

    Parameters
    ----------
    store : folder of a store, "synthetic" (a small simulated one, made in a temporary folder),
        or None for `$BRAINFM_DATA/store`
    recordings : pandas query on the recordings table, such as "kind == 'EEG' and hours > 0.1".
        Empty: all. The split column is respected whatever the query says
    window_s : seconds a window lasts; shorter intervals (trials) give shorter windows
    stride_s : seconds from window to window. Default: `window_s`
    min_s : shortest window. Default: one step
    patch_s : seconds of a model step; windows hold whole steps. None: a window is one step
    simultaneous : read recordings that share a clock together, as `Simultaneous` batches, and no
        others; windows lie where all of them do
    bold : lengths of windows and steps of fMRI, where they are others. Default: the same; with
        `simultaneous`, windows are as long as the others' and one step each
    tokens_per_batch : largest channels x steps in one batch of one process
    preprocess : contract of the model. Its recipe must be the store's. None: the store's
        recipe and the default normalisation
    mixture : data set to weight; 2.0 shows its windows twice an epoch
    seizures : label every step as seizure or not, use annotated recordings alone, and show
        seizures in training as often as it says; None: windows without labels
    speech : cut windows around words, sentences or stretches of speech instead, use recordings
        with a transcript alone, and give batches what was said; window_s, stride_s and min_s play
        no part then. None: no speech
    images : cut windows of fMRI around images instead, and give batches their vectors
    jitter : move training windows by up to half a stride, anew each epoch
    seed : of the plan; torch's seed plays no part
    num_workers : reading processes; 0 reads in the training process
    val_batches : at most so many validation batches (a fixed fair sample); None: all
    pin_memory : for GPUs
    start_batch : first batch, when weights come from a run whose loader state does not fit

    Attributes
    ----------
    vocabulary : classes of `target_B` in order, known after `setup`; None without `speech`, or
        where it asks for none

    Raises
    ------
    ContractError
        If the model's recipe is not the store's; both values are named.
    DataError
        If the query names no column, matches nothing, or leaves no training window.
    """

    def __init__(
        self,
        store: str | None = None,
        recordings: str = "",
        window_s: float = 10.0,
        stride_s: float | None = None,
        min_s: float | None = None,
        patch_s: float | None = 2.0,
        tokens_per_batch: int = 1024,
        preprocess: Preprocess | None = None,
        mixture: dict[str, float] | None = None,
        seizures: SeizureSampling | None = None,
        speech: SpeechTargets | None = None,
        jitter: bool = True,
        seed: int = 0,
        num_workers: int = 0,
        val_batches: int | None = None,
        pin_memory: bool = False,
        start_batch: int = 0,
        bold: Cut | None = None,
        simultaneous: bool = False,
        images: ImageTargets | None = None,
    ) -> None:
        super().__init__()
        self.simultaneous = simultaneous
        self._made_at_once: dict[int, tuple[int, ...]] = {}
        self.store_path, self.query = store, recordings
        self.window_s, self.patch_s = window_s, patch_s
        self.cut = Cut(window_s, stride_s, min_s, patch_s)
        self.bold = bold or self.cut
        self.tokens_per_batch, self.seed = tokens_per_batch, seed
        self.mixture: Mapping[str, float] = mixture or {}
        aims = (seizures is not None, speech is not None, images is not None, simultaneous)
        if sum(aims) > 1:
            raise DataError(
                "of data.seizures, data.speech, data.images and data.simultaneous more than one is "
                "set; a run learns one of them, drop the others"
            )
        self.seizures, self.speech, self.images = seizures, speech, images
        self.vocabulary: list[str] | None = None
        self.jitter, self.num_workers, self.pin_memory = jitter, num_workers, pin_memory
        self.val_batches, self.start_batch = val_batches, start_batch
        self._given = preprocess
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._index: dict[str, WindowIndex] = {}
        self._loaders: list[FixedLoader] = []

    def setup(self, stage: str | None = None) -> None:
        """Open the store, check the contract, choose recordings and cut windows."""
        if self._index:
            return
        if stage not in (None, "fit", "validate"):
            raise DataError(
                f"stage '{stage}': a BrainDataModule serves train and val only; "
                "held-out recordings are read by `python -m eval.probe`"
            )
        self.store = self._open()
        self.preprocess = self._given or Preprocess(recipe=self.store.recipe)
        require_store_recipe(self.preprocess, self.store)
        chosen = select(self.store, self.query)
        if self.seizures is not None:
            chosen = annotated(self.store, chosen)
        if self.speech is not None:
            chosen = spoken(self.store, chosen)
        rows = {split: chosen[chosen["split"] == split] for split in ("train", "val")}
        if self.simultaneous:
            self._made_at_once = made_at_once(self.store, chosen)
            index = {
                split: cut_simultaneous(self.store, part, self._made_at_once, self.cut)
                for split, part in rows.items()
            }
        elif self.images is not None:
            index = self._cut_images(self.images, chosen, rows)
        elif self.speech is None:
            index = {
                split: cut_windows(self.store, part, self.cut, self.bold)
                for split, part in rows.items()
            }
        else:
            index = self._cut_speech(self.speech, chosen, rows)
        if self.seizures is not None:
            index["train"] = repeat_around_seizures(
                self.store, rows["train"], index["train"], self.seizures
            )
        self._refuse_empty(chosen, index["train"])
        self._index = index
        self._summarise(chosen)

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the train split, resumable by one integer."""
        self._require_setup()
        plan = PlanSampler(
            self._index["train"],
            self._plan_config(jitter=self.jitter, mixture=self.mixture),
            *self._rank_and_world(),
        )
        loader = ResumableLoader(
            self._windows(),
            plan,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            start_batch=self.start_batch,
        )
        self._loaders.append(loader)
        return loader

    def to_meet(self) -> Iterator[SignalBatch]:
        """Training windows in an order of their own, once, the same in every process.

        For what a model takes from data before it learns; nothing is read unless it asks.
        """
        self._require_setup()
        config = self._plan_config(mixture=self.mixture, seed=self.seed + 1)
        dataset, plan = self._windows(), PlanSampler(self._index["train"], config)
        for refs in itertools.islice(iter(plan), len(plan)):
            batch = dataset[refs]
            yield from batch.batches if isinstance(batch, Simultaneous) else (batch,)

    def val_dataloader(self) -> FixedLoader | list[FixedLoader]:
        """The same batches of the val split every time; an empty list if it holds none."""
        self._require_setup()
        if not len(self._index["val"]):
            return []
        plan = PlanSampler(
            self._index["val"],
            self._plan_config(fixed=True, pad=True),
            *self._rank_and_world(),
        )
        loader = FixedLoader(
            self._windows(),
            plan,
            num_workers=min(self.num_workers, 1),
            pin_memory=self.pin_memory,
            limit=self.val_batches,
        )
        self._loaders.append(loader)
        return loader

    def teardown(self, stage: str | None = None) -> None:
        """End the reading processes; the loaders start new ones if they are used again."""
        for loader in self._loaders:
            loader.close()

    @property
    def patch(self) -> int | None:
        """Samples in a model step."""
        return self.cut.patch(self.store.recipe.sfreq)

    def _open(self) -> Store:
        if self.store_path != SYNTHETIC:
            return Store(self.store_path)
        recipe = (self._given or Preprocess()).recipe
        self._temporary = tempfile.TemporaryDirectory(prefix="brainfm_simulated_")
        log.warning("SIMULATED recordings: nothing learned from them is about brains")
        # Five minutes of speech hold every word of the vocabulary.
        least = 20.0 if self.speech is None else 300.0
        return synthetic_store(
            Path(self._temporary.name),
            self.seed,
            seconds=max(least, 3 * self.window_s),
            recipe=recipe,
            kinds=("EEG", "MEG") if self.speech is None else ("SEEG",),
            seizures=self.seizures is not None,
            speech=self.speech is not None,
            at_once=self.simultaneous,
        )

    def _windows(self) -> WindowDataset:
        if self.speech is not None:
            return SpeechWindows(
                self.store, self.preprocess, self.patch, self.speech, self.vocabulary
            )
        if self.images is not None:
            return ImageWindows(self.store, self.preprocess, self.images)
        if self.simultaneous:
            return SimultaneousWindows(self.store, self.preprocess, self.patch, self._made_at_once)
        if self.seizures is not None:
            return SeizureWindows(self.store, self.preprocess, self.patch)
        return WindowDataset(self.store, self.preprocess, self.patch, self.bold.patch_s)

    def _cut_speech(
        self, speech: SpeechTargets, chosen: pd.DataFrame, rows: Mapping[str, pd.DataFrame]
    ) -> dict[str, WindowIndex]:
        """Windows of both splits, without sentences that a later split is judged on."""
        wanted = speech.vocabulary
        if isinstance(wanted, int):
            wanted = frequent_words(self.store, rows["train"], wanted)
        self.vocabulary = wanted
        found = {}
        for split, part in rows.items():
            elsewhere = sentences_judged_on(self.store, chosen, split)
            found[split], dropped = cut_speech(
                self.store, part, speech, wanted, patch=self.patch, elsewhere=elsewhere
            )
            for reason, count in dropped.items():
                log.info("%s: %d %ss left out: %s", split, count, speech.unit, reason)
        return found

    def _cut_images(
        self, images: ImageTargets, chosen: pd.DataFrame, rows: Mapping[str, pd.DataFrame]
    ) -> dict[str, WindowIndex]:
        """Windows of both splits, without images that a later split is judged on."""
        found = {}
        for split, part in rows.items():
            elsewhere = images_judged_on(self.store, chosen, split)
            found[split], dropped = cut_images(self.store, part, images, elsewhere)
            if dropped:
                log.info("%s: %d windows left out: image of another split", split, dropped)
        return found

    def _plan_config(self, **changes: object) -> PlanConfig:
        base: dict[str, object] = {"tokens_per_batch": self.tokens_per_batch, "seed": self.seed}
        return PlanConfig(**{**base, **changes})  # type: ignore[arg-type]

    def _rank_and_world(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _require_setup(self) -> None:
        if not self._index:
            self.setup("fit")

    def _refuse_empty(self, chosen: pd.DataFrame, train: WindowIndex) -> None:
        table = self.store.recordings
        query = f'query "{self.query}"' if self.query else "the store"
        if not len(chosen):
            have = ", ".join(f"{d} ({n})" for d, n in table.value_counts("dataset").items())
            raise DataError(
                f"{query} matches none of {len(table)} recordings in {self.store.root}; "
                f"data sets there: {have}"
            )
        if not (chosen["split"] == "train").any():
            have = ", ".join(f"{s} {n}" for s, n in chosen.value_counts("split").items())
            raise DataError(
                f"{query} matches no recording of split 'train' ({have}); choose more data sets, "
                "or prepare more subjects"
            )
        if not len(train):
            if self.speech is not None:
                raise DataError(
                    f"{query} leaves no {self.speech.unit} to train on: {train.skipped} are left "
                    "out; look at the log for the reasons, and change data.speech"
                )
            raise DataError(
                f"{query} leaves no window: all {train.skipped} training intervals are shorter "
                f"than {self.cut.min_s or self.patch_s or self.window_s:g} s; lower window_s or "
                "patch_s"
            )

    def _summarise(self, chosen: pd.DataFrame) -> None:
        for split in ("train", "val"):
            rows, index = chosen[chosen["split"] == split], self._index[split]
            if not len(index):
                log.warning("no validation recording among those chosen: training without")
                continue
            log.info(
                "%s%s: %d recordings, %d subjects, %.2f h, %d windows (%.2f h), %d layouts, "
                "%d left out",
                "SIMULATED " if self.store_path == SYNTHETIC else "",
                split,
                len(rows),
                len(rows[["dataset", "subject"]].drop_duplicates()),
                rows["hours"].sum(),
                len(index),
                index.seconds / 3600,
                len({b.layout for b in index.buckets}),
                index.skipped,
            )
