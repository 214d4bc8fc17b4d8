"""Tokens of a frozen codec are guessed: the next of each channel, or the hidden of a region."""

import pytest
import torch

from brainfm.codecs.duin import DuIN, DuINConfig
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.errors import ContractError
from brainfm.models.duin import DuINEncoderConfig
from brainfm.models.meggpt import MEGGPTConfig
from brainfm.signals.preprocess import Normalise, Preprocess
from brainfm.tasks.next_token import MaskedRegions, NextToken
from brainfm.training.optim import adamw


def next_token(tokenizer="random", **settings):
    return NextToken(MEGGPTConfig(preset="test"), tokenizer, **settings)


def masked_regions(tokenizer="random", **settings):
    return MaskedRegions(DuINEncoderConfig(preset="test"), tokenizer, **settings)


@pytest.fixture(params=["next", "masked"])
def case(request, batch, tmp_path):
    """A task, and the folder of a codec with other sizes than its preset."""
    torch.manual_seed(0)
    if request.param == "next":
        codec, make = EphysTokenizer(EphysTokenizerConfig(preset="test", n_tokens=10)), next_token
        torch.nn.init.zeros_(codec.score.bias)  # else one token nearly everywhere
        torch.nn.init.normal_(codec.rnn.weight_ih_l0)
    else:
        codec = DuIN(DuINConfig(preset="test", codebook_size=10, dropout=0.0))
        codec.initialise_codebooks(batch)
        make = masked_regions
    return make, str(codec.save_pretrained(tmp_path / "codec")), codec


def test_training_lowers_the_loss_below_that_of_frequencies(case, batch):
    make, folder, _ = case
    task = make(folder, lr=1e-2).train()
    optimizer = adamw(task, task.settings)
    for step in range(30):
        torch.manual_seed(step)
        loss = task.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        known = task.eval().losses(batch)
    assert known["loss"] < known["unigram_ce"]
    assert int(task.counts_QK.sum()) > 0


def test_the_codec_of_the_folder_is_inside_frozen_with_its_sizes(case, batch):
    make, folder, codec = case
    task = make(folder).train()
    mine, given = task.model.tokenizer.state_dict(), codec.state_dict()
    assert all(torch.equal(mine[k], v) for k, v in given.items())
    task.losses(batch)["loss"].backward()
    assert all(p.grad is None for p in task.model.tokenizer.parameters())
    after = task.model.tokenizer.state_dict()
    assert all(torch.equal(after[k], v) for k, v in given.items())


def test_a_missing_codec_or_one_of_another_kind_is_refused(case, tmp_path):
    make, folder, codec = case
    with pytest.raises(ContractError, match="no folder 'nowhere'; train a"):
        make("nowhere")
    other = next_token if make is masked_regions else masked_regions
    with pytest.raises(ContractError, match=f"holds a {type(codec).__name__}"):
        other(folder)


def test_a_codec_of_other_signals_is_refused_with_both_values(case):
    make, folder, _ = case
    with pytest.raises(ContractError, match="reference is 'none' in the codec.*'average'"):
        make(folder).adopt(Preprocess(normalise=Normalise(reference="average")))


def test_a_picture_shows_how_often_each_token_occurs(case, batch):
    make, folder, _ = case
    counts = make(folder).eval().preview(batch).counts_QK
    n = 4 * 6 * 128 if make is next_token else 4 * 8
    assert counts.shape[0] == 1 and int(counts.sum()) == n


def test_a_random_region_codec_is_placed_by_the_first_batch(batch):
    task = masked_regions().train()
    task._trainer = None
    task.losses(batch)
    assert task.model.tokenizer.codebook.is_ready
