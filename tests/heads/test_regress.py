"""Regression of speech features: their own units, standardised losses, a line that is learned."""

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.heads.regress import Regress, RegressConfig, correlation
from brainfm.types import Features


def pair(b=6, w=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(b, 1, w, 24, generator=g).expand(-1, 2, -1, -1)
    y = -20 + 4 * h.mean(1)[..., :3]
    return Features(h, torch.ones(b, 2, dtype=torch.bool), torch.arange(w).double(), 0.02), y


def head(**given):
    torch.manual_seed(0)
    sizes = {"dim": 24, "n_features": 3, "hidden": None, "pooling": "mean", "dropout": 0.0, **given}
    return Regress(RegressConfig(**sizes))


def test_speech_features_are_learned_in_their_own_units():
    model = head(hidden=16)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(150):
        loss = sum(model(*pair(seed=step + 1)).losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = pair()
    found = model.eval()(x).logits_BK
    assert correlation(found, y) > 0.9
    assert found.detach().mean() == pytest.approx(float(y.mean()), abs=0.5)


def test_knowing_only_the_mean_costs_one_by_frame_and_the_whole_correlation():
    model = head(correlation_weight=0.5)
    torch.nn.init.zeros_(model.frames.out.weight)
    torch.nn.init.zeros_(model.frames.out.bias)
    out = model(*pair())
    out.losses = {k: v.detach() for k, v in out.losses.items()}
    assert out.losses["mse"] == pytest.approx(1, abs=1e-5)
    assert out.losses["decorrelation"] == pytest.approx(0.5)
    torch.testing.assert_close(out.logits_BK[0, 0], pair()[1].flatten(0, 1).mean(0))


def test_a_target_of_more_frames_is_met_at_its_own_frames():
    x, y = pair()
    assert head()(x, y.repeat_interleave(2, 1)).logits_BK.shape == (6, 24, 3)
    assert set(head(correlation_weight=0.0)(x, y).losses) == {"mse"}


def test_evaluation_does_not_move_the_moments():
    model = head().train()
    model(*pair())
    before = model.standard.mean_F.clone()
    model.eval()(pair()[0], pair()[1] + 100)
    assert torch.equal(model.standard.mean_F, before)


def test_correlation_by_hand():
    t = torch.arange(10.0)
    x = torch.stack([t, -t, torch.zeros(10)], -1)[None]
    y = torch.stack([2 * t + 5, t, t], -1)[None]
    assert correlation(x, y) == pytest.approx(0, abs=1e-6)
    assert correlation(x[..., :1], y[..., :1]) == pytest.approx(1)
    still = torch.cat([y[..., :1], torch.ones(1, 10, 1)], -1)
    assert correlation(x[..., :2], still) == pytest.approx(1), "a feature that rests is left out"


def test_other_features_and_wrong_settings_are_refused():
    with pytest.raises(ContractError, match="has 2 features, the head was made for 3"):
        head()(pair()[0], torch.zeros(6, 12, 2))
    with pytest.raises(ValueError, match="n_features is None"):
        Regress(RegressConfig(dim=24))
    with pytest.raises(ValueError, match="correlation_weight is -1"):
        RegressConfig(correlation_weight=-1)
