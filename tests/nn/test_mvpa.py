"""One attention, two ways to compute it; what its terms may and may not depend on."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from brainfm.nn.mvpa import (
    MVPAInputs,
    by_distance,
    list_order,
    mvpa_dense,
    mvpa_lean,
    repeat_groups,
)


def inputs(t=14, c=3, heads=4, groups=2, width=8, window=4, relation=None, dtype=torch.float32):
    g = torch.Generator().manual_seed(t * 100 + c)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()

    relation = list_order(c) if relation is None else relation
    n_relations = relation.shape[-1] if relation.is_floating_point() else c
    return MVPAInputs(
        draw(2, heads, t, c, width),
        draw(2, groups, t, c, width),
        draw(2, groups, t, c, width),
        draw(groups, t, width),
        draw(groups, n_relations, width),
        relation,
        draw(groups, width),
        draw(groups, width),
        draw(groups, width),
        window,
    )


def leaves(x):
    values = [getattr(x, f.name) for f in fields(x)]
    return [v for v in values if isinstance(v, Tensor) and v.requires_grad]


def spread(c, n_relations=6):
    pos = torch.randn(c, 3, generator=torch.Generator().manual_seed(5)) * 0.03
    pos[-1] = float("nan")
    return by_distance(pos[None], n_relations, 0.08)


@pytest.mark.parametrize("t, c, window", [(14, 3, 4), (5, 1, 10), (1, 4, 10), (9, 2, 1)])
@pytest.mark.parametrize("geometry", [False, True])
def test_the_lean_path_is_the_formula_forward_and_backward(t, c, window, geometry):
    relation = spread(c).double() if geometry else None
    x = inputs(t, c, window=window, relation=relation, dtype=torch.float64)
    if c > 1:
        x = replace(x, valid_BC=torch.arange(c).expand(2, c) != 1)
    whole = repeat_groups(x, 4)
    dense, _ = mvpa_dense(whole)
    lean = mvpa_lean(whole)
    torch.testing.assert_close(lean, dense, rtol=1e-10, atol=1e-12)
    g = torch.randn(dense.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = (torch.autograd.grad(y, leaves(x), g, retain_graph=True) for y in (lean, dense))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_weights_are_a_formula_by_hand_for_one_pair():
    x = repeat_groups(inputs(3, 2, heads=1, groups=1, window=1), 1)
    q, e = x.q_BHTCE[0, 0], 8
    logits = torch.full((2, 2), float("nan"))
    for s in range(2):
        for d in range(2):
            # The query of segment 1 and channel 0; lag 1 - s, two channels, three segments.
            a = (q[1, 0] + x.content_bias_HE[0]) @ x.k_BHTCE[0, 0, s, d]
            b = (q[1, 0] + x.time_bias_HE[0]) @ x.time_HTE[0, 2 - (1 - s)]
            z = (q[1, 0] + x.channel_bias_HE[0]) @ x.relation_HRE[0, 1 - d]
            logits[s, d] = (a + b + z) / e**0.5
    _, weight = mvpa_dense(x)
    torch.testing.assert_close(weight[0, 0, 2, :4], logits.flatten().softmax(0))
    assert torch.all(weight[0, 0, 2, 4:] == 0), "nothing of a later segment"


def test_no_segment_sees_a_later_one():
    x = repeat_groups(inputs(6, 3), 4)
    k, v = x.k_BHTCE.detach().clone(), x.v_BHTCE.detach().clone()
    k[:, :, 4], v[:, :, 4] = 9.0, -9.0
    before, after = mvpa_lean(x), mvpa_lean(replace(x, k_BHTCE=k, v_BHTCE=v))
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.allclose(before[:, :, 4], after[:, :, 4])


def test_outside_the_window_content_is_silent_but_for_the_last_segment():
    x = repeat_groups(inputs(8, 2, window=2), 4)
    k = x.k_BHTCE.detach().clone()
    k[:, :, 0] += 5.0
    before, after = mvpa_lean(x), mvpa_lean(replace(x, k_BHTCE=k))
    same = [torch.equal(before[:, :, t], after[:, :, t]) for t in range(8)]
    assert same == [False, False, False, True, True, True, True, False]


def shuffled(x, order):
    axis = {"q_BHTCE": 3, "k_BHTCE": 3, "v_BHTCE": 3}
    return replace(x, **{n: getattr(x, n).index_select(a, order) for n, a in axis.items()})


def test_in_list_order_only_the_reversed_list_gives_the_same():
    x = repeat_groups(inputs(5, 4), 4)
    y = mvpa_lean(x)
    for order, same in ((torch.tensor([3, 2, 1, 0]), True), (torch.tensor([1, 0, 2, 3]), False)):
        z = mvpa_lean(shuffled(x, order))
        assert torch.allclose(z, y.index_select(3, order), atol=1e-5) is same


def test_nobody_sees_a_channel_that_is_not_valid():
    x = replace(repeat_groups(inputs(5, 3), 4), valid_BC=torch.tensor([[True, False, True]] * 2))
    k, v = x.k_BHTCE.detach().clone(), x.v_BHTCE.detach().clone()
    k[:, :, :, 1], v[:, :, :, 1] = 7.0, 100.0
    before, after = mvpa_lean(x), mvpa_lean(replace(x, k_BHTCE=k, v_BHTCE=v))
    assert torch.equal(before, after)


def test_by_distance_the_order_of_channels_means_nothing():
    relation, order = spread(4), torch.tensor([2, 0, 3, 1])
    x = repeat_groups(inputs(5, 4, relation=relation), 4)
    turned = replace(shuffled(x, order), relation_CC=relation[:, order][:, :, order])
    torch.testing.assert_close(
        mvpa_lean(turned), mvpa_lean(x).index_select(3, order), rtol=1e-4, atol=1e-5
    )


def test_relations_by_distance_are_shares_of_neighbouring_rows():
    pos = torch.tensor([[0.0, 0, 0], [0.02, 0, 0], [0.5, 0, 0], [float("nan")] * 3])
    share = by_distance(pos[None], 6, 0.08)[0]
    assert torch.allclose(share.sum(-1), torch.ones(4, 4))
    assert share[0, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert torch.allclose(share[0, 1], torch.tensor([0.0, 1, 0, 0, 0, 0]), atol=1e-6)
    assert share[0, 2].tolist() == [0, 0, 0, 0, 1, 0], "beyond reach"
    assert torch.all(share[3, :, 5] == 1) and torch.all(share[:, 3, 5] == 1), "unknown"


def test_the_lean_path_holds_no_matrix_of_all_pairs():
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else (out,):
                if isinstance(one, Tensor):
                    largest = max(largest, one.untyped_storage().nbytes())
            return out

    t, c, heads = 24, 8, 4
    x = repeat_groups(inputs(t, c), heads)
    with Watch():
        mvpa_lean(x).sum().backward()
    pairs = 2 * heads * (t * c) ** 2 * 4
    assert largest <= pairs / t
