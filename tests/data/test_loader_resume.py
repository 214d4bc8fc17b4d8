"""A run that stops and goes on sees the batches of a run that did not stop."""

import pytest
import torch
from diary import QUIET, Diary, fit, pages
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from brainfm.data.module import BrainDataModule
from brainfm.errors import ContractError

STEPS = 17


def data(store, **changes):
    """Eight batches an epoch, so that 17 steps cross two epochs."""
    args = {"window_s": 4, "stride_s": 2, "patch_s": 2, "tokens_per_batch": 160, "val_batches": 1}
    return BrainDataModule(str(store.root), **{**args, **changes})


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    """The diary of the run that never stopped."""
    folder = tmp_path_factory.mktemp("straight")
    fit(data(store), Diary(folder / "diary"), folder, STEPS)
    return pages(folder / "diary")


def test_an_epoch_is_shorter_than_the_run(store):
    n = len(data(store).train_dataloader())
    assert 4 < n < STEPS / 2


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [3, 8, 11])
def test_a_stopped_run_goes_on_with_the_next_batch(store, straight, tmp_path, stop, workers):
    for steps, ckpt in ((stop, None), (STEPS, tmp_path / "last.ckpt")):
        module = data(store, num_workers=workers)
        fit(module, Diary(tmp_path / "diary"), tmp_path, steps, ckpt)
    assert pages(tmp_path / "diary") == straight


def test_a_run_may_stop_after_every_step(store, straight, tmp_path):
    for steps in range(1, 11):
        ckpt = tmp_path / "last.ckpt" if steps > 1 else None
        fit(data(store), Diary(tmp_path / "diary"), tmp_path, steps, ckpt)
    assert pages(tmp_path / "diary") == straight[:10]


def test_steps_after_the_last_save_are_repeated_not_skipped(store, straight, tmp_path):
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(data(store), Diary(tmp_path / "a", die_at=6), tmp_path, STEPS, every=4)
    assert pages(tmp_path / "a") == straight[:6]
    fit(data(store), Diary(tmp_path / "b"), tmp_path, STEPS, tmp_path / "last.ckpt")
    assert pages(tmp_path / "b") == straight[4:]


def test_validation_between_steps_moves_no_training_batch(store, straight, tmp_path):
    often = {"val_check_interval": 3, "check_val_every_n_epoch": None}
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, 10, **often)
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, STEPS, tmp_path / "last.ckpt", **often)
    assert pages(tmp_path / "diary") == straight
    seen = [refs for _, refs in pages(tmp_path / "diary", "val")]
    assert len(seen) == STEPS // 3 and all(refs == seen[0] for refs in seen)


def test_a_run_resumes_from_a_save_made_after_validation(store, straight, tmp_path):
    often = {**QUIET, "val_check_interval": 3, "check_val_every_n_epoch": None, "max_epochs": -1}

    def go(steps, ckpt):
        saver = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=False)
        trainer = Trainer(max_steps=steps, callbacks=[saver], **often)
        trainer.fit(Diary(tmp_path / f"to{steps}"), datamodule=data(store), ckpt_path=ckpt)

    go(11, None)
    go(STEPS, tmp_path / "last.ckpt")
    assert pages(tmp_path / f"to{STEPS}") == straight[9:]


def test_limited_epochs_see_the_rest_later(store, straight, tmp_path):
    few = {"limit_train_batches": 3}
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, 8, **few)
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, STEPS, tmp_path / "last.ckpt", **few)
    assert pages(tmp_path / "diary") == straight


def test_accumulated_gradients_resume_between_optimiser_steps(store, straight, tmp_path):
    two = {"accumulate_grad_batches": 2}
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, 3, **two)
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, 8, tmp_path / "last.ckpt", **two)
    assert [refs for _, refs in pages(tmp_path / "diary")] == [r for _, r in straight[:16]]


def test_another_seed_is_refused_with_both_plans(store, tmp_path):
    fit(data(store), Diary(tmp_path / "diary"), tmp_path, 2)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    plan = saved["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["plan"]
    with pytest.raises(ContractError, match=plan):
        fit(data(store, seed=1), Diary(tmp_path / "x"), tmp_path, 4, tmp_path / "last.ckpt")


def test_start_batch_continues_a_run_whose_loader_state_does_not_fit(store, straight, tmp_path):
    fit(data(store, start_batch=5), Diary(tmp_path / "diary"), tmp_path, 4)
    assert [refs for _, refs in pages(tmp_path / "diary")] == [r for _, r in straight[5:9]]


def test_lightning_leaves_the_plan_alone_with_its_own_sampler_switched_on(
    store, straight, tmp_path
):
    trainer = Trainer(
        max_steps=3, enable_checkpointing=False, use_distributed_sampler=True, **QUIET
    )
    trainer.fit(Diary(tmp_path / "diary"), datamodule=data(store))
    assert pages(tmp_path / "diary") == straight[:3]
