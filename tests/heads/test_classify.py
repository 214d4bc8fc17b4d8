"""The classification head: what it pools, what it refuses, where it starts."""

import pytest
import torch

from brainfm.heads.classify import POOLINGS, Classify, ClassifyConfig
from brainfm.types import Features

S, W, D, K = 3, 4, 5, 2


def features(b: int = 6, seed: int = 0, valid: torch.Tensor | None = None) -> Features:
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(b, S, W, D, generator=g)
    valid = torch.ones(b, S, dtype=torch.bool) if valid is None else valid
    return Features(h, valid, torch.arange(W).double(), 0.25)


def head(**kwargs) -> Classify:
    torch.manual_seed(0)
    return Classify(ClassifyConfig(n_classes=K, n_sources=S, n_steps=W, dim=D, **kwargs))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_gives_one_row_of_logits_a_window(pooling):
    out = head(pooling=pooling)(features())
    assert out.logits_BK.shape == (6, K)
    assert out.losses == {}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_the_features(pooling):
    f = features()
    f.h_BSWD.requires_grad_(True)
    head(pooling=pooling)(f, torch.zeros(6, dtype=torch.long)).losses["cross_entropy"].backward()
    assert f.h_BSWD.grad.abs().sum() > 0


def test_flatten_sees_when_things_happen_and_mean_does_not():
    f = features()
    later = Features(f.h_BSWD.roll(1, 2), f.valid_BS, f.time_W, f.duration_s)
    flat, mean = head(pooling="flatten").eval(), head(pooling="time_mean").eval()
    assert not torch.allclose(flat(f).logits_BK, flat(later).logits_BK)
    assert torch.allclose(mean(f).logits_BK, mean(later).logits_BK, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_invalid_sources_change_nothing(pooling):
    valid = torch.tensor([[True, True, False]]).expand(6, -1)
    f = features(valid=valid)
    spoiled = f.h_BSWD.clone()
    spoiled[:, 2] = 1e6
    h = head(pooling=pooling).eval()
    other = Features(spoiled, valid, f.time_W, f.duration_s)
    assert torch.allclose(h(f).logits_BK, h(other).logits_BK, atol=1e-4)


def test_calibration_gives_centred_features_of_unit_norm():
    h = head().eval()
    f = Features(7.0 + 30.0 * features(64).h_BSWD, torch.ones(64, S, dtype=torch.bool), None, 0.25)
    h.calibrate(f)
    pooled = h.pool(f)
    assert pooled.mean(0).abs().max() < 1e-4
    assert abs(float(pooled.norm(dim=1).square().mean()) - 1.0) < 1e-3


def test_a_linear_head_repeats_the_classifier_it_starts_from():
    h = head().eval()
    f = features()
    weight, bias = torch.randn(K, h.config.n_features), torch.randn(K)
    h.start_from(weight, bias)
    assert torch.allclose(h(f).logits_BK, h.pool(f) @ weight.T + bias, atol=1e-5)


def test_a_hidden_layer_cannot_start_from_a_linear_classifier():
    with pytest.raises(ValueError, match="linear head"):
        head(hidden=8).start_from(torch.zeros(K, 1), torch.zeros(K))


def test_mixed_targets_lie_between_pure_ones():
    h = head(label_smoothing=0.0).eval()
    f = features(1)
    one = [h(f, torch.tensor([k])).losses["cross_entropy"] for k in range(K)]
    mixed = h(f, torch.tensor([[0.3, 0.7]])).losses["cross_entropy"]
    assert torch.allclose(mixed, 0.3 * one[0] + 0.7 * one[1])


def test_a_few_steps_separate_what_is_separable():
    h = head(dropout=0.0, label_smoothing=0.0)
    f = features(32)
    y = (f.h_BSWD[:, 0, 1, 2] > 0).long()
    opt = torch.optim.Adam(h.parameters(), lr=0.05)
    for _ in range(60):
        loss = h(f, y).losses["cross_entropy"]
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert (h(f).logits_BK.argmax(1) == y).all()


def test_features_of_another_size_are_refused_with_both_sizes():
    f = features()
    short = Features(f.h_BSWD[:, :, :3], f.valid_BS, f.time_W, f.duration_s)
    with pytest.raises(ValueError, match=r"\(3, 3, 5\).*\(3, 4, 5\)"):
        head()(short)


def test_unknown_pooling_names_the_known_ones():
    with pytest.raises(ValueError, match="flatten"):
        head(pooling="max")
    with pytest.raises(ValueError, match="n_steps"):
        ClassifyConfig(n_classes=2, n_sources=1, n_steps=0, dim=4)


def some_sources(n: int, seed: int) -> Features:
    h = torch.randn(6, n, W, D, generator=torch.Generator().manual_seed(seed))
    return Features(h, torch.ones(6, n, dtype=torch.bool), torch.arange(W).double(), 0.25)


@pytest.mark.parametrize("pooling", ["mean", "attend"])
def test_one_head_reads_montages_of_any_number_of_sources(pooling):
    h = Classify(ClassifyConfig(K, None, W, D, pooling=pooling)).eval()
    for n in (1, 3, 11):
        assert h(some_sources(n, n)).logits_BK.shape == (6, K)
    with pytest.raises(ValueError, match=r"\(3, 4, 6\).*n_sources null"):
        h(Features(torch.zeros(1, 3, W, 6), torch.ones(1, 3, dtype=torch.bool), None, 0.25))


def test_attention_begins_as_the_mean_and_padding_in_it_does_not_count():
    h = Classify(ClassifyConfig(K, None, W, D, pooling="attend", n_queries=2)).eval()
    small = some_sources(3, 0)
    mean_BWD = small.h_BSWD.mean(1)
    torch.testing.assert_close(h.pool(small), mean_BWD.flatten(1).repeat(1, 2))
    torch.nn.init.normal_(h.query_AD)
    padded = Features(
        torch.cat([small.h_BSWD, torch.full((6, 4, W, D), torch.nan)], 1),
        torch.tensor([True] * 3 + [False] * 4).expand(6, -1),
        small.time_W,
        0.25,
    )
    torch.testing.assert_close(h.pool(padded), h.pool(small))
    order = torch.tensor([2, 0, 1])
    turned = Features(small.h_BSWD[:, order], small.valid_BS, small.time_W, 0.25)
    torch.testing.assert_close(h.pool(turned), h.pool(small))
    nothing = Features(small.h_BSWD, torch.zeros_like(small.valid_BS), small.time_W, 0.25)
    assert torch.equal(h.pool(nothing), torch.zeros(6, 2 * W * D))


def test_attention_finds_the_one_source_that_tells_in_every_montage():
    # Source 0 alone carries the class and is marked; a mean over 20 others drowns it.
    def trial(n, seed):
        f = some_sources(n, seed)
        y = torch.arange(6) % 2
        f.h_BSWD[..., 0] = 0.0
        f.h_BSWD[:, 0, :, 0] = 4.0
        f.h_BSWD[:, 0, :, 1] = (2.0 * y - 1.0)[:, None]
        return f, y

    def accuracy(pooling):
        torch.manual_seed(0)
        h = Classify(ClassifyConfig(K, None, W, D, pooling=pooling, dropout=0.0, n_queries=2))
        opt = torch.optim.Adam(h.parameters(), lr=0.03)
        for step in range(150):
            f, y = trial((8, 14, 20)[step % 3], step)
            opt.zero_grad()
            h(f, y).losses["cross_entropy"].backward()
            opt.step()
        tried = [trial(n, 1000 + n) for n in range(6, 30)]
        return torch.cat([h(f).logits_BK.argmax(1) == y for f, y in tried]).float().mean()

    assert accuracy("attend") > 0.97 > 0.9 > accuracy("mean")


@pytest.mark.parametrize("pooling", ["flatten", "time_mean"])
def test_weights_for_every_source_need_their_number(pooling):
    with pytest.raises(ValueError, match="give n_sources, or one of"):
        ClassifyConfig(K, None, W, D, pooling=pooling)
