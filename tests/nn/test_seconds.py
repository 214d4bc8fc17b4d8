"""Attention in seconds: relative, exact far from the origin, blind to the order of tokens."""

import pytest
import torch

from brainfm.nn.seconds import PERIODS_S, SpanCode, TimedAttention, periods, rotate, turns


def test_periods_span_five_decades_half_below_ten_seconds():
    found = periods(16)
    assert float(found[0]) == pytest.approx(PERIODS_S[0])
    assert float(found[-1]) == pytest.approx(PERIODS_S[2])
    assert int((found < PERIODS_S[1]).sum()) == 8
    assert (found.diff() > 0).all()


def test_a_turn_of_one_period_is_none():
    time = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    fast = turns(time * periods(4)[1], 4)[0, :, 1]
    torch.testing.assert_close(fast[0], fast[1])


def test_similarity_depends_on_the_difference_of_times_alone():
    x = torch.randn(1, 1, 2, 16)

    def similarity(a, b):
        turned = rotate(x, turns(torch.tensor([[a, b]], dtype=torch.float64), 8))
        return float((turned[0, 0, 0] * turned[0, 0, 1]).sum())

    assert similarity(0.0, 0.37) == pytest.approx(similarity(5.0, 5.37), abs=1e-5)
    assert similarity(0.0, 0.37) != pytest.approx(similarity(0.0, 0.5), abs=1e-2)


def test_ten_thousand_seconds_later_is_the_same_to_float32():
    torch.manual_seed(0)
    layer = TimedAttention(32, 2)
    x = torch.randn(2, 5, 32)
    time = torch.tensor([[0.0, 0.004, 1.0, 20.0, 21.5]], dtype=torch.float64).expand(2, -1)
    near, far = (layer(x, turns(time + shift, layer.n_pairs)) for shift in (0.0, 1e4))
    torch.testing.assert_close(near, far, atol=1e-5, rtol=1e-5)


def test_tokens_that_are_not_seen_change_nothing():
    torch.manual_seed(0)
    layer = TimedAttention(16, 2)
    x = torch.randn(1, 3, 16)
    time = turns(torch.arange(3, dtype=torch.float64)[None], layer.n_pairs)
    see = torch.tensor([[[1, 0, 0], [1, 1, 0], [1, 1, 1]]], dtype=torch.bool)
    before = layer(x, time, see)
    x[0, 2] += 5.0
    after = layer(x, time, see)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_spans_of_a_decade_apart_have_different_codes():
    torch.manual_seed(0)
    code = SpanCode(8)
    codes = [code(d, r) for d, r in ((1.0, 256.0), (20.0, 0.5), (20.0, 1 / 0.72), (0.2, 256.0))]
    for i, a in enumerate(codes):
        for b in codes[:i]:
            assert float((a - b).norm()) > 0.05


def test_an_odd_head_is_refused():
    with pytest.raises(ValueError, match="heads of even width"):
        TimedAttention(12, 4)
