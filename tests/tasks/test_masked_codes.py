"""The encoder's objective: hidden codes of a frozen codec are guessed, beside an honest control."""

import math

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.models.brainomni import BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess
from brainfm.tasks.masked_codes import MaskedCodes, load_codec, unigram_cross_entropy
from brainfm.training.optim import adamw


@pytest.fixture
def folder(codec, tmp_path):
    return str(codec.save_pretrained(tmp_path / "codec"))


def task_of(tokenizer: str, **settings) -> MaskedCodes:
    return MaskedCodes(BrainOmniConfig(preset="test"), tokenizer, **settings)


def test_training_lowers_the_loss(batch, folder):
    task = task_of(folder, lr=3e-3).train()
    optimizer = adamw(task, task.settings)
    losses = []
    for step in range(25):
        torch.manual_seed(step)
        loss = task.losses(batch)["loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_encoder_carries_the_codec_it_was_given(batch, codec, folder):
    mine, given = task_of(folder).model.tokenizer.state_dict(), codec.state_dict()
    assert mine.keys() == given.keys()
    assert all(torch.equal(mine[k], v) for k, v in given.items())


def test_the_codec_s_sizes_win_over_those_of_the_preset(folder):
    task = MaskedCodes(BrainOmniConfig(preset="demo"), folder)
    assert task.model.config.tokenizer.codebook_size == 24
    assert task.model.config.n_levels_used == 3
    assert task.counts_QK.shape == (3, 24)


def test_the_codec_is_frozen_also_in_training(batch, folder):
    task = task_of(folder).train()
    before = {k: v.clone() for k, v in task.model.tokenizer.state_dict().items()}
    task.losses(batch)["loss"].backward()
    assert all(p.grad is None for p in task.model.tokenizer.parameters())
    after = task.model.tokenizer.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_missing_codec_is_refused_with_what_to_do():
    with pytest.raises(ContractError, match="train a codec first"):
        load_codec("no/such/folder")


def test_a_codec_of_other_signals_is_refused_with_both_values(folder):
    other = Preprocess(normalise=Normalise(reference="average"))
    with pytest.raises(ContractError, match="reference is 'none' in the codec.*'average'"):
        task_of(folder).adopt(other)


def test_a_random_codec_is_placed_by_the_first_batch_and_only_by_it(batch):
    task = task_of("random").train()
    task._trainer = None
    task.losses(batch)
    placed = {k: v.clone() for k, v in task.model.tokenizer.state_dict().items()}
    task.losses(batch)
    assert all(torch.equal(placed[k], v) for k, v in task.model.tokenizer.state_dict().items())


def test_unigram_cross_entropy_of_even_codes_is_the_log_of_their_number():
    known, seen = torch.full((2, 8), 10**6), torch.full((2, 8), 3)
    assert unigram_cross_entropy(known, seen).item() == pytest.approx(math.log(8), abs=1e-5)


def test_unigram_cross_entropy_of_one_code_is_nearly_nothing():
    known = torch.tensor([[10**7, 0]])
    assert unigram_cross_entropy(known, torch.tensor([[5, 0]])).item() < 1e-5


def test_unigram_cross_entropy_is_the_known_sum():
    known, seen = torch.tensor([[2, 0]]), torch.tensor([[1, 1]])
    expected = -0.5 * (math.log(3 / 4) + math.log(1 / 4))
    assert unigram_cross_entropy(known, seen).item() == pytest.approx(expected)


def test_the_control_learns_from_training_batches_only(batch, folder):
    task = task_of(folder)
    task.train().losses(batch)
    counted = task.counts_QK.clone()
    n_steps = task.model.tokenize(batch).ids_BSWQ[..., 0].numel()
    assert counted.sum(1).tolist() == [n_steps] * 3
    assert "unigram_ce" in task.eval().losses(batch)
    assert torch.equal(task.counts_QK, counted)


def test_half_precision_gives_finite_losses(batch, folder):
    with torch.autocast("cpu", torch.bfloat16):
        loss = task_of(folder).train().losses(batch)["loss"]
    loss.backward()
    assert loss.isfinite()
