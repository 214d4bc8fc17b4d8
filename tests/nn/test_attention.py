"""Attention: what is hidden does not matter, what is shown does."""

import pytest
import torch

from brainfm.nn.attention import SelfAttention, attend
from brainfm.nn.rope import Rotary


def test_hidden_keys_change_nothing():
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    keep = torch.tensor([[True, True, False, True, False], [True] * 5])
    out = attend(q, k, v, 2, keep)
    torch.testing.assert_close(out[:1], attend(q[:1], k[:1, [0, 1, 3]], v[:1, [0, 1, 3]], 2))


def test_one_set_of_queries_serves_all_rows():
    q, k, v = torch.randn(1, 3, 8), torch.randn(4, 5, 8), torch.randn(4, 5, 8)
    torch.testing.assert_close(attend(q, k, v, 2), attend(q.expand(4, -1, -1), k, v, 2))


def test_equal_keys_give_the_mean_of_values():
    v = torch.randn(1, 5, 8)
    out = attend(torch.randn(1, 3, 8), torch.ones(1, 5, 8), v, 4)
    torch.testing.assert_close(out, v.mean(1, keepdim=True).expand(1, 3, 8))


def test_without_rotary_order_does_not_matter_and_with_it_does():
    x = torch.randn(1, 6, 8)
    for rotary, same in ((None, True), (Rotary(8), False)):
        layer = SelfAttention(8, 2, rotary=rotary)
        turned = layer(x.flip(1)).flip(1)
        assert torch.allclose(layer(x), turned, atol=1e-6) == same


def test_dropout_sleeps_at_evaluation_unless_asked_as_published():
    x = torch.randn(2, 6, 8)
    layer = SelfAttention(8, 2, dropout=0.5).eval()
    assert torch.equal(layer(x), layer(x))
    published = SelfAttention(8, 2, dropout=0.5, dropout_at_eval=True).eval()
    assert not torch.equal(published(x), published(x))


def test_a_width_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match="10.*4 heads"):
        SelfAttention(10, 4)
