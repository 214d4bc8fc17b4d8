"""Whatever moment a kill hits, one whole checkpoint is left and found."""

import logging

import pytest
import torch

from brainfm.errors import ContractError, DataError
from brainfm.training.checkpoint import Checkpoints, damage, latest, publish


def checkpoint(path, step: int):
    torch.save({"step": step, "weights": torch.arange(1000.0)}, path)
    return path


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["step"]


def test_publishing_keeps_the_one_before(tmp_path):
    for step in (1, 2, 3):
        publish(checkpoint(tmp_path / "partial.tmp", step))
    assert step_of(tmp_path / "last.ckpt") == 3
    assert step_of(tmp_path / "previous.ckpt") == 2
    assert not (tmp_path / "partial.tmp").exists()


def test_a_run_that_saved_nothing_has_no_latest(tmp_path):
    assert latest(tmp_path / "checkpoints") is None


def test_a_kill_while_writing_leaves_the_last_one(tmp_path):
    publish(checkpoint(tmp_path / "partial.tmp", 1))
    whole = checkpoint(tmp_path / "other", 2).read_bytes()
    (tmp_path / "partial.tmp").write_bytes(whole[: len(whole) // 2])
    assert step_of(latest(tmp_path)) == 1


def test_a_kill_between_the_two_renames_falls_back_to_the_one_before(tmp_path):
    for step in (1, 2):
        publish(checkpoint(tmp_path / "partial.tmp", step))
    (tmp_path / "last.ckpt").rename(tmp_path / "previous.ckpt")
    assert step_of(latest(tmp_path)) == 2


@pytest.mark.parametrize("harm", ["cut", "empty", "flip"])
def test_a_damaged_last_one_is_named_and_the_one_before_taken(tmp_path, caplog, harm):
    for step in (1, 2):
        publish(checkpoint(tmp_path / "partial.tmp", step))
    last = tmp_path / "last.ckpt"
    content = bytearray(last.read_bytes())
    if harm == "flip":
        content[content.index(torch.arange(1000.0).numpy().tobytes()) + 2000] ^= 1
    last.write_bytes({"cut": content[:-100], "empty": b""}.get(harm, content))
    with caplog.at_level(logging.WARNING):
        assert step_of(latest(tmp_path)) == 1
    assert "last.ckpt is damaged" in caplog.text
    assert "previous.ckpt instead" in caplog.text


def test_when_all_are_damaged_one_sentence_says_so(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="no whole checkpoint is left"):
        latest(tmp_path)


def test_sharded_folders_need_their_index(tmp_path):
    folder = tmp_path / "last.ckpt"
    folder.mkdir()
    assert "no index" in damage(folder)
    (folder / ".metadata").write_bytes(b"x")
    assert damage(folder) is None


def test_sharded_folders_rotate_too(tmp_path):
    for step in (1, 2, 3):
        partial = tmp_path / "partial.tmp"
        partial.mkdir()
        (partial / ".metadata").write_text(str(step))
        publish(partial)
    assert (tmp_path / "last.ckpt/.metadata").read_text() == "3"
    assert (tmp_path / "previous.ckpt/.metadata").read_text() == "2"


def test_saving_every_zero_steps_is_refused(tmp_path):
    with pytest.raises(ContractError, match="save_every is 0"):
        Checkpoints(tmp_path, every=0)
