"""The next-token model and its guesses: what they follow from, what counts, what stays frozen."""

from dataclasses import replace

import pytest
import torch
from model_batches import channels, make_batch, with_bad_channels

from brainfm.models.meggpt import MEGGPT, MEGGPTConfig


def made(**settings):
    torch.manual_seed(0)
    return MEGGPT(MEGGPTConfig(**{"preset": "test"} | settings)).eval()


def labels(b=2, t=24, c=6, seed=3):
    return torch.randint(1, 25, (b, t, c), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("changed", [0, 7, 22])
@torch.no_grad()
def test_a_guess_follows_from_what_came_before_it_alone(changed):
    model, batch, label = made(), make_batch(t=24), labels()
    other = label.clone()
    other[:, changed] = label[:, changed] % 24 + 1
    a, b = model.next_logits(batch, label), model.next_logits(batch, other)
    assert a.shape == (2, 23, 6, 25)
    # Row i is the guess at token i + 1; it may look at tokens up to i.
    torch.testing.assert_close(a[:, :changed], b[:, :changed])
    assert not torch.allclose(a[:, changed], b[:, changed])


@torch.no_grad()
def test_the_last_token_is_guessed_and_never_read():
    model, batch, label = made(), make_batch(t=24), labels()
    other = label.clone()
    other[:, -1] = 1
    assert torch.equal(model.next_logits(batch, label), model.next_logits(batch, other))


@torch.no_grad()
def test_invalid_channels_are_invisible():
    model, batch, label = made(), make_batch(t=24), labels()
    more = with_bad_channels(batch)
    junk = torch.cat((labels(c=3, seed=9), label), 2)
    got = model.next_logits(more, junk)[:, :, 3:]
    torch.testing.assert_close(got, model.next_logits(batch, label), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_channels_matters_only_to_a_list():
    order, batch, label = torch.tensor([4, 2, 0, 5, 1, 3]), make_batch(t=24), labels()
    for settings, same in (({}, True), ({"channels": "list order", "n_channels": 6}, False)):
        model = made(**settings)
        if not same:  # rows of a fresh table hardly differ
            model.channel_table.rows.mul_(50)
        a = model.next_logits(batch, label)[:, :, order]
        b = model.next_logits(channels(batch, order), label[:, :, order])
        assert torch.allclose(a, b, atol=1e-4) is same


@torch.no_grad()
def test_where_a_channel_lies_matters():
    model, batch, label = made(), make_batch(t=24), labels()
    moved = replace(batch, pos_BC3=-batch.pos_BC3)
    assert not torch.allclose(model.next_logits(batch, label), model.next_logits(moved, label))


@torch.no_grad()
def test_sessions_differ_by_their_row_alone():
    model, label = made(n_sessions=3), labels()
    sensor = torch.zeros(2, 6, 24)
    first, second = (model.embed(label, sensor, torch.full((2, 24), s)) for s in (0, 2))
    want = model.session_table.rows[2] - model.session_table.rows[0]
    torch.testing.assert_close(second - first, want.expand(2, 24, 6, 24), atol=1e-6, rtol=0)


@torch.no_grad()
def test_positions_of_sines_know_any_window():
    model = made(positions="sinusoidal")
    x = model.embed(torch.ones(1, 300, 6, dtype=torch.long), torch.zeros(1, 6, 24))
    assert x.shape == (1, 300, 6, 24)
    assert not torch.allclose(x[:, 0], x[:, 299])
    same = made().embed(torch.ones(1, 300, 6, dtype=torch.long), torch.zeros(1, 6, 24))
    assert torch.equal(same[:, 0], same[:, 299]), "rotary codes add nothing here"


def test_narrow_embeddings_are_projected():
    model = made(token_dim=5, embed_dim=12)
    assert model.token_table.rows.shape == (25, 5)
    assert model.project.weight.shape == (24, 12)
    assert model(make_batch(t=24)).h_BSWD.shape == (2, 6, 24, 24)


def test_only_the_last_positions_count_where_so_configured():
    logits, label = torch.zeros(1, 10, 2, 25), torch.ones(1, 11, 2, dtype=torch.long)
    logits[:, :7, :, 5] = 100.0  # sure, and wrong
    logits[:, 7:, :, 1] = 100.0
    found = made(guessed=3).losses(logits, label)
    assert found["loss"] < 1e-6 and found["accuracy"] == 1.0
    assert made().losses(logits, label)["accuracy"] == pytest.approx(0.3)
    assert made(guessed=99).losses(logits, label)["accuracy"] == pytest.approx(0.3)


def test_smoothed_labels_make_certainty_expensive():
    logits, label = torch.zeros(1, 4, 2, 25), torch.ones(1, 4, 2, dtype=torch.long)
    logits[..., 1] = 20.0
    assert made().losses(logits, label)["loss"] < 1e-6
    smoothed = made(label_smoothing=0.1).losses(logits, label)["loss"]
    assert smoothed == pytest.approx(20 * 0.1 * 24 / 25, abs=1e-3)


def test_a_batch_without_a_valid_channel_costs_nothing():
    logits, label = torch.randn(2, 4, 3, 25), torch.ones(2, 5, 3, dtype=torch.long)
    found = made().losses(logits, label, torch.zeros(2, 3, dtype=torch.bool))
    assert found["loss"] == found["accuracy"] == 0.0


def test_the_tokenizer_stays_frozen():
    model = made().train()
    assert model.training and not model.tokenizer.training
    batch = make_batch(t=24)
    label = model.tokenize(batch)
    model.losses(model.next_logits(batch, label), label)["loss"].backward()
    assert all(p.grad is None for p in model.tokenizer.parameters())
    assert model.head.weight.grad.abs().max() > 0
    assert model.token_table.rows.grad.abs().max() > 0
