"""Rotary codes: distances in time, and the cosine table of released weights."""

import pytest
import torch

from brainfm.nn.rope import Rotary


def test_scores_depend_on_the_distance_in_time_only():
    rope = Rotary(16)
    q, k = torch.randn(2, 16)
    rows = rope(q.expand(30, 16)) @ rope(k.expand(30, 16)).T
    torch.testing.assert_close(rows[3, 7], rows[20, 24], rtol=1e-4, atol=1e-4)
    assert not torch.isclose(rows[3, 7], rows[3, 8])


def test_first_pairs_turn_fastest_across_the_whole_width():
    rope = Rotary(8)
    turned = rope(torch.tensor([[1.0, 0] * 4]).expand(2, 8))[1]
    angles = torch.atan2(turned[1::2], turned[0::2])
    torch.testing.assert_close(angles, torch.tensor([1.0, 0.1, 0.01, 0.001]))


def test_cosine_mode_is_multiplication_by_the_cosine():
    x = torch.randn(5, 8)
    real, cosine = Rotary(8), Rotary(8, "cosine")
    ones = real(torch.tensor([[1.0, 0] * 4]).expand(5, 8))[:, 0::2]
    torch.testing.assert_close(cosine(x), x * ones.repeat_interleave(2, -1))


def test_rotation_keeps_lengths_and_cosine_mode_does_not():
    x = torch.randn(50, 8)
    torch.testing.assert_close(Rotary(8)(x).norm(dim=-1), x.norm(dim=-1))
    assert (Rotary(8, "cosine")(x).norm(dim=-1) < x.norm(dim=-1))[1:].all()


def test_table_grows_beyond_what_it_was_built_for():
    x = torch.randn(300, 8)
    torch.testing.assert_close(Rotary(8, table_steps=10)(x), Rotary(8, table_steps=300)(x))


def test_mode_can_be_changed_and_a_wrong_one_is_named():
    rope, x = Rotary(8), torch.randn(5, 8)
    rope.mode = "cosine"
    torch.testing.assert_close(rope(x), Rotary(8, "cosine")(x))
    with pytest.raises(ValueError, match="'sine'.*real"):
        rope.mode = "sine"
    with pytest.raises(ValueError, match="'sine'"):
        Rotary(8, "sine")


def test_half_precision_comes_back_in_half_precision():
    assert Rotary(8)(torch.randn(3, 8).bfloat16()).dtype == torch.bfloat16


def test_casting_a_module_keeps_the_sine_of_its_table():
    rotary = Rotary(8)
    x = torch.randn(3, 8)
    expected = rotary(x)
    for dtype in (torch.bfloat16, torch.float32):
        rotary.to(dtype)
    assert torch.equal(rotary(x), expected)
