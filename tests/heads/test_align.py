"""Alignment: pairs are found, the same speech is no rival, duplicates in a pool are refused."""

import math

import pytest
import torch
import torch.nn.functional as F

from brainfm.errors import ContractError, DataError
from brainfm.heads.align import Align, AlignConfig, ranks, refuse_duplicates, retrieval
from brainfm.types import Features


def features(h_BSWD):
    b, s, w, _ = h_BSWD.shape
    return Features(h_BSWD, torch.ones(b, s, dtype=torch.bool), torch.arange(w).double(), 1.0)


def head(**given):
    torch.manual_seed(0)
    sizes = {"dim": 6, "n_features": 4, "n_frames": 5, "hidden": None, "dropout": 0.0, **given}
    return Align(AlignConfig(**sizes))


def pairs(b=8, seed=0):
    """Speech, and features that hold it through a fixed mixing."""
    g = torch.Generator().manual_seed(seed)
    y = 40 + 3 * torch.randn(b, 10, 4, generator=g)
    mixing = torch.randn(4, 6, generator=torch.Generator().manual_seed(9))
    h = (y.unflatten(1, (5, 2)).mean(2) - 40) @ mixing
    return features(h[:, None] + 0.05 * torch.randn(b, 2, 5, 6, generator=g)), y


@pytest.mark.parametrize(
    "given", [{"direction": "brain"}, {}, {"width": 8}, {"width": 8, "speech_dropout": 0.1}]
)
def test_pairs_are_learned_and_found_among_new_ones(given):
    model = head(**given)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(60):
        loss = model(*pairs(seed=step + 1)).losses["contrastive"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    new, y = pairs(b=30, seed=0)
    found = retrieval(model.brain(new) @ model.speech(y).T, torch.arange(30))
    assert found["top1"] > 0.7 and found["top10"] == 1
    assert model.log_scale.detach().exp() != pytest.approx(1 / 0.07), "the temperature is learned"


def test_the_loss_of_one_direction_by_hand():
    model = head(direction="brain").eval()
    x, y = pairs()
    score = model.brain(x) @ model.speech(y).T / 0.07
    expected = (score.logsumexp(1) - score.diagonal()).mean()
    torch.testing.assert_close(model(x, y).losses["contrastive"], expected)


def test_the_same_speech_in_a_batch_is_no_rival():
    model = head().eval()
    x, y = pairs(b=2)
    y[1] = y[0]
    assert model(x, y).losses["contrastive"].detach() == pytest.approx(0, abs=1e-6)


def test_what_is_common_to_all_speech_does_not_count():
    model = head().train()
    x, y = pairs(b=30)
    model(x, y)
    cosine = model.speech(y) @ model.speech(y).T
    assert cosine.fill_diagonal_(0).abs().mean() < 0.4, "its mean of 40 would make all alike"


def test_with_a_width_both_sides_go_through_matrices_that_learn():
    model = head(width=8).eval()
    x, y = pairs()
    flat = model.standard(y).unflatten(1, (5, 2)).mean(2).flatten(1)
    by_hand = F.normalize(flat @ model.of_speech[1].weight.T + model.of_speech[1].bias, dim=-1)
    torch.testing.assert_close(model.speech(y), by_hand)
    assert model.brain(x).shape == model(x).logits_BK.shape == (8, 8)
    model(x, y).losses["contrastive"].backward()
    for matrix in (model.of_brain, model.of_speech[1]):
        assert float(matrix.weight.grad.abs().max()) > 0
    assert not list(head().of_speech.parameters()), "without a width speech is taken as it is"


def test_speech_is_dropped_in_training_alone():
    model = head(width=8, speech_dropout=0.5)
    _, y = pairs(b=16)
    model.standard.see(y)
    assert not torch.equal(model.speech(y), model.speech(y))
    model.eval()
    torch.testing.assert_close(model.speech(y), model.speech(y))


@pytest.mark.parametrize("training", [True, False])
def test_the_same_speech_is_no_rival_behind_a_matrix_either(training):
    model = head(width=8, speech_dropout=0.5 if training else 0.0).train(training)
    x, y = pairs(b=2)
    y[1] = y[0]
    assert model(x, y).losses["contrastive"].detach() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "given",
    [{"width": 0}, {"speech_dropout": 0.3}, {"width": 8, "speech_dropout": 1.0}],
)
def test_sizes_that_make_no_sense_are_refused(given):
    with pytest.raises(ValueError, match="width"):
        AlignConfig(**given)


def test_other_speech_features_are_refused():
    with pytest.raises(ContractError, match="has 3 features, the head was made for 4"):
        head()(pairs()[0], torch.zeros(8, 10, 3))
    with pytest.raises(ValueError, match="n_features is None"):
        Align(AlignConfig(dim=6))


def test_ranks_by_hand_and_ties_count_against():
    score = torch.tensor([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.3, 0.3, 0.3]])
    assert ranks(score, torch.tensor([0, 2, 1])).tolist() == [1, 2, 3]


def test_retrieval_states_the_pool_and_chance():
    score = torch.eye(20)[:5]
    found = retrieval(score, torch.tensor([0, 1, 2, 3, 7]), top=(1, 10))
    assert (found["pool"], found["queries"]) == (20, 5)
    assert found["top1"] == pytest.approx(0.8) and found["chance_top10"] == 0.5
    assert found["rank_Q"] == [1, 1, 1, 1, 20] and found["median_rank"] == 1


def test_a_constant_decoder_finds_nothing():
    assert retrieval(torch.zeros(6, 50), torch.arange(6))["top10"] == 0


@pytest.mark.parametrize(
    ("score", "own"), [(torch.zeros(0, 3), []), (torch.full((1, 3), math.nan), [0])]
)
def test_scores_that_are_no_numbers_are_refused(score, own):
    with pytest.raises(DataError, match="none counts"):
        retrieval(score, torch.tensor(own, dtype=torch.int64))
    with pytest.raises(DataError, match="not among the 3"):
        retrieval(torch.zeros(1, 3), torch.tensor([3]))


def test_a_pool_with_duplicates_is_refused_by_name():
    pool = torch.randn(1200, 7, generator=torch.Generator().manual_seed(0))
    refuse_duplicates(pool)
    pool[1100] = pool[3]
    names = [f"segment {i}" for i in range(1200)]
    with pytest.raises(DataError, match="of 1200 candidates, segment 3 and segment 1100"):
        refuse_duplicates(pool, names)
    pool[3], pool[700] = 0.5, 0.5
    with pytest.raises(DataError, match="number 3 and number 700"):
        refuse_duplicates(pool)
