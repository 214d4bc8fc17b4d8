"""The region encoder: what is hidden cannot be seen, and every token is guessed while hidden."""

import math

import pytest
import torch
from model_batches import make_batch

from brainfm.codecs.duin import DuINConfig
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig, code_losses, mask_of


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = DuINConfig(preset="test", dropout=0.0)
    model = DuINEncoder(DuINEncoderConfig(tokenizer=sizes))
    model.tokenizer.initialise_codebooks(make_batch(b=8, t=128, seed=5))
    return model.eval()


def test_the_larger_half_of_an_odd_number_is_hidden_first():
    noise = torch.rand(50, 7)
    mask = mask_of(noise, 0.5)
    assert mask.sum(1).tolist() == [4] * 50
    assert bool((noise[mask].view(50, -1).amin(1) > noise[~mask].view(50, -1).amax(1)).all())


def test_a_hidden_token_is_not_seen(model):
    tokens = torch.randn(2, 8, model.dim)
    hide = torch.zeros(2, 8, dtype=torch.bool)
    hide[:, 3] = True
    other = tokens.clone()
    other[:, 3] += 5.0
    assert torch.equal(model.run_hidden(tokens, hide), model.run_hidden(other, hide))
    assert not torch.equal(model.run_hidden(tokens, ~hide), model.run_hidden(other, ~hide))


def test_every_guess_comes_from_the_pass_in_which_its_token_was_hidden(model):
    tokens = torch.randn(2, 8, model.dim)
    mask = mask_of(torch.rand(2, 8), 0.5)
    guess = model.guess(tokens, mask)
    hidden, rest = (model.head(model.run_hidden(tokens, m)) for m in (mask, ~mask))
    assert torch.equal(guess[mask], hidden[mask])
    assert torch.equal(guess[~mask], rest[~mask])


def test_codes_to_guess_are_those_of_the_frozen_tokenizer(model):
    batch = make_batch()
    want = model.tokenizer.encode(batch).ids_BSWQ[:, 0, :, 0]
    assert torch.equal(model.train().tokenize(batch), want)
    assert not model.tokenizer.training
    model.masked_losses(batch, want)["loss"].backward()
    assert all(p.grad is None for p in model.tokenizer.parameters())
    assert model.mask_D.grad.abs().max() > 0


def test_features_have_one_source_and_the_times_of_tokens(model):
    found = model(make_batch(t=128))
    assert found.h_BSWD.shape == (2, 1, 8, model.dim)
    assert found.time_W.tolist() == [i * 16 / 256 for i in range(8)]


def test_an_even_guess_costs_the_log_of_the_number_of_codes():
    losses = code_losses(torch.zeros(2, 3, 24), torch.zeros(2, 3, dtype=torch.long))
    assert losses["loss"] == pytest.approx(math.log(24))


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_mask_of_nothing_or_everything_is_refused(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        DuINEncoderConfig(preset="test", mask_ratio=ratio)
