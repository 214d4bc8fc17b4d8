"""What a run may train on, and what it is told when it may not."""

import logging

import pytest
import torch
from diary import QUIET, Diary, pages
from lightning.pytorch import Trainer

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.loader import FixedLoader, ResumableLoader
from brainfm.data.module import BrainDataModule
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import ContractError, DataError
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe


def module(store, **args):
    return BrainDataModule(str(store.root), **{"window_s": 4, "patch_s": 2, **args})


def recordings_in(loader):
    return {r.recording for batch in loader for r in batch.refs}


def test_train_and_val_read_their_own_split_and_nobody_reads_test(store):
    data = module(store)
    for loader, split in ((data.train_dataloader(), "train"), (data.val_dataloader(), "val")):
        rows = store.recordings.iloc[sorted(recordings_in(loader))]
        assert (
            set(rows["split"]) == {split} and len(rows) == (store.recordings.split == split).sum()
        )


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_test_recordings_are_not_served(store, stage):
    with pytest.raises(DataError, match=f"stage '{stage}'.*eval.probe"):
        module(store).setup(stage)


def test_a_query_for_test_recordings_finds_no_training(store):
    with pytest.raises(DataError, match="no recording of split 'train'.*test 2"):
        module(store, recordings="split == 'test'").setup("fit")


def test_a_query_narrows_what_is_read(store):
    data = module(store, recordings="kind == 'MEG' and n_channels > 6")
    rows = store.recordings.iloc[sorted(recordings_in(data.train_dataloader()))]
    assert set(rows["kind"]) == {"MEG"} and set(rows["n_channels"]) == {12}


def test_a_query_that_matches_nothing_says_what_there_is(store):
    with pytest.raises(DataError, match=r"matches none of 8.*simulated_eeg \(4\)"):
        module(store, recordings="kind == 'SEEG'").setup("fit")


def test_a_mistyped_column_is_named(store):
    with pytest.raises(DataError, match="'knid'"):
        module(store, recordings="knid == 'EEG'").setup("fit")


def test_windows_longer_than_every_recording_use_them_whole(store):
    batch = next(iter(module(store, window_s=60).train_dataloader()))
    assert batch.seconds == 20


def test_no_window_says_how_long_the_shortest_may_be(store):
    with pytest.raises(DataError, match="all 4 training intervals are shorter than 30 s"):
        module(store, window_s=60, min_s=30).setup("fit")


def test_another_recipe_is_refused_with_both_values(store):
    other = Preprocess(recipe=Recipe(sfreq=200.0))
    with pytest.raises(ContractError, match=r"sfreq is 200\.0 in the model's recipe but 256\.0"):
        module(store, preprocess=other).setup("fit")


def test_without_a_contract_the_stores_recipe_is_taken(store):
    data = module(store)
    data.setup("fit")
    assert data.preprocess == Preprocess(recipe=store.recipe)


def test_normalisation_is_the_models(store):
    raw = Preprocess(normalise=Normalise(clip=0.5))
    batch = next(iter(module(store, preprocess=raw).train_dataloader()))
    assert batch.x_BCWP.abs().max() == 0.5


def test_validation_is_the_same_every_time_and_training_is_not(store):
    data = module(store)
    val, train = data.val_dataloader(), data.train_dataloader()
    assert [b.refs for b in val] == [b.refs for b in val]
    assert [b.refs for b in train] != [b.refs for b in train]


def test_val_batches_limits_validation(store):
    assert len(module(store, tokens_per_batch=24, val_batches=3).val_dataloader()) == 3
    assert len(list(module(store, tokens_per_batch=24, val_batches=3).val_dataloader())) == 3


def test_a_step_must_be_whole_samples(store):
    with pytest.raises(DataError, match=r"patch_s 0\.3 is 76\.8 samples at 256 Hz"):
        module(store, patch_s=0.3).setup("fit")


def test_without_steps_a_window_is_one(store):
    batch = next(iter(module(store, patch_s=None).train_dataloader()))
    assert batch.x_BCWP.shape[2:] == (1, 1024)


def test_the_summary_names_hours_windows_and_layouts(store, caplog):
    caplog.set_level(logging.INFO, logger="brainfm")
    module(store).setup("fit")
    assert "train: 4 recordings, 4 subjects, 0.02 h, 20 windows (0.02 h), 4 layouts" in caplog.text


def test_training_goes_on_without_validation_recordings_and_says_so(tmp_path, caplog):
    recording = synthetic_recording("EEG", 20, 4, split="train")
    write_recording(recording, tmp_path / "d" / "a.safetensors", recipe=Recipe())
    build_tables(tmp_path)
    data = BrainDataModule(str(tmp_path), window_s=4)
    Trainer(max_steps=2, enable_checkpointing=False, **QUIET).fit(Diary(tmp_path / "x"), data)
    assert len(pages(tmp_path / "x")) == 2 and not pages(tmp_path / "x", "val")
    assert "no validation recording" in caplog.text


def test_any_run_can_be_tried_without_data(caplog):
    caplog.set_level(logging.INFO, logger="brainfm")
    data = BrainDataModule(
        "synthetic", window_s=10, preprocess=Preprocess(Recipe(128.0, 0.1, 48.0))
    )
    batch = next(iter(data.train_dataloader()))
    assert isinstance(data.train_dataloader(), ResumableLoader)
    assert isinstance(data.val_dataloader(), FixedLoader)
    assert batch.sfreq == 128 and torch.isfinite(batch.x_BCWP).all()
    assert "SIMULATED" in caplog.text


def test_a_missing_store_is_refused_at_setup(tmp_path):
    with pytest.raises(DataError, match="no finished store"):
        BrainDataModule(str(tmp_path)).setup("fit")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_damaged_under_the_run_is_one_sentence_from_any_process(broken, workers):
    data = BrainDataModule(str(broken), window_s=4, num_workers=workers)
    loader = data.train_dataloader()
    for path in broken.glob("*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError) as refusal:
        list(loader)
    assert "\n" not in str(refusal.value) and "truncated" in str(refusal.value)


def test_windows_to_meet_are_those_of_training_once_and_always_the_same(store):
    data = module(store)
    refs = [batch.refs for batch in data.to_meet()]
    assert refs == [batch.refs for batch in data.to_meet()]
    rows = store.recordings.iloc[sorted({r.recording for part in refs for r in part})]
    assert set(rows["split"]) == {"train"}
    assert sum(map(len, refs)) == sum(len(batch) for batch in data.train_dataloader())
