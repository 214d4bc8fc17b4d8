"""Small layers, and collective operations without a group."""

import torch

from brainfm.nn.distributed import from_rank_zero, gather_rows, sum_over_ranks, world_size
from brainfm.nn.feedforward import FeedForward


def test_feedforward_widens_four_times_and_comes_back():
    layer = FeedForward(6)
    assert layer.widen.out_features == 24
    assert layer(torch.randn(2, 3, 6)).shape == (2, 3, 6)


def test_dropout_acts_while_training_only():
    layer, x = FeedForward(6, dropout=0.5), torch.randn(4, 6)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_one_process_keeps_what_it_has():
    x = torch.randn(3, 2)
    assert world_size() == 1
    for operation in (sum_over_ranks, from_rank_zero, gather_rows):
        assert torch.equal(operation(x.clone()), x)
