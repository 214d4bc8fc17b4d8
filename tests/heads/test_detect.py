"""The detection head: verdicts per step, labels that count, channels that do not."""

import pytest
import torch

from brainfm.heads.detect import Detect, DetectConfig
from brainfm.types import Features


def features(b=2, c=3, w=4, d=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(b, c, w, d, generator=g)
    return Features(h, torch.ones(b, c, dtype=torch.bool), torch.arange(w).double(), 1.0)


@pytest.fixture(params=["mean", "attention"])
def head(request):
    torch.manual_seed(0)
    return Detect(DetectConfig(dim=8, pooling=request.param)).eval()


def test_every_step_gets_its_own_verdict(head):
    f = features()
    out = head(f).logits_BK
    assert out.shape == (2, 4, 2)
    f.h_BSWD[:, :, 3] += 5
    again = head(f).logits_BK
    assert torch.equal(out[:, :3], again[:, :3])
    assert not torch.allclose(out[:, 3], again[:, 3])


def test_order_of_channels_means_nothing(head):
    f = features()
    other = Features(f.h_BSWD[:, [2, 0, 1]], f.valid_BS, f.time_W, 1.0)
    torch.testing.assert_close(head(f).logits_BK, head(other).logits_BK)


def test_invalid_channels_change_nothing_and_none_at_all_is_finite(head):
    f = features()
    f.valid_BS[0, 1] = False
    out = head(f).logits_BK
    f.h_BSWD[0, 1] = torch.nan
    torch.testing.assert_close(head(f).logits_BK, out)
    f.valid_BS[0] = False
    assert head(f).logits_BK.isfinite().all()


def test_attention_hears_one_channel_among_many():
    torch.manual_seed(0)
    mean = Detect(DetectConfig(dim=8, pooling="mean")).eval()
    heard = Detect(DetectConfig(dim=8)).eval()
    f = features(c=60)
    with torch.no_grad():
        heard.listen.weight.copy_(torch.ones(1, 8))
        loud = features(c=60)
        loud.h_BSWD[:, 7] += 6.0
        moved = (heard.pool(loud) - heard.pool(f))[..., 8:].abs().mean()
        averaged = (mean.pool(loud) - mean.pool(f)).abs().mean()
    assert moved > 5 * averaged


def test_loss_counts_judged_steps_only(head):
    f = features()
    label = torch.tensor([[0, 1, -1, -1], [-1, -1, -1, -1]])
    loss = head(f, label).losses["cross_entropy"]
    logits = head(f).logits_BK[0, :2]
    want = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(loss, want)
    nothing = head(f, torch.full((2, 4), -1)).losses["cross_entropy"]
    assert nothing.item() == 0.0


def test_the_last_step_alone_is_trained_as_published():
    torch.manual_seed(0)
    head = Detect(DetectConfig(dim=8, pooling="mean", read="last")).eval()
    f, label = features(), torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1]])
    want = torch.nn.functional.cross_entropy(head(f).logits_BK[:, -1], label[:, -1])
    torch.testing.assert_close(head(f, label).losses["cross_entropy"], want)
    assert head.out.bias is None


def test_seizure_weight_moves_the_loss_towards_seizures():
    torch.manual_seed(0)
    f, label = features(), torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0]])
    light = Detect(DetectConfig(dim=8)).eval()
    heavy = Detect(DetectConfig(dim=8, seizure_weight=10.0)).eval()
    heavy.load_state_dict(light.state_dict())
    each = torch.nn.functional.cross_entropy(
        light(f).logits_BK.flatten(0, 1), label.flatten(), reduction="none"
    )
    weight = torch.where(label.flatten() == 1, 10.0, 1.0)
    want = (each * weight).sum() / weight.sum()
    torch.testing.assert_close(heavy(f, label).losses["cross_entropy"], want)


@pytest.mark.parametrize(
    "wrong", [{"pooling": "max"}, {"read": "first"}, {"seizure_weight": 0.0}, {"dim": None}]
)
def test_a_wrong_setting_is_refused_by_name(wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=name):
        Detect(DetectConfig(**{"dim": 8, **wrong}))
