"""One attention, two ways to compute it; what its terms may and may not depend on."""

from dataclasses import replace

import pytest
import torch
from mvpa_inputs import inputs, leaves, spread
from torch import Tensor

from brainfm.nn import mvpa
from brainfm.nn.mvpa import by_distance, list_order, mvpa_dense, mvpa_lean

CASES = {
    "far ones": dict(t=14, window=4),
    "as published": dict(t=14, window=4, last_sees_all=True),
    "a band": dict(t=14, window=4, band=7),
    "a band inside the window": dict(t=9, window=6, band=3),
    "only itself": dict(t=6, c=2, window=10, band=1),
    "one channel": dict(t=5, c=1),
    "one segment": dict(t=1, c=4, last_sees_all=True),
    "a past": dict(t=3, s=9, window=4),
    "a past and a band": dict(t=4, s=9, window=2, band=5),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("geometry", [False, True])
@pytest.mark.parametrize("kept_bytes", [-1, 2**40], ids=["computed again", "kept"])
def test_the_lean_path_is_the_formula_forward_and_backward(case, geometry, kept_bytes, monkeypatch):
    monkeypatch.setattr(mvpa, "KEPT_BYTES", kept_bytes)
    c = case.get("c", 3)
    relation = spread(c).double() if geometry else None
    x = inputs(**{"c": 3, **case}, relation=relation, dtype=torch.float64)
    if c > 1:
        g = torch.Generator().manual_seed(3)
        s = x.k_BGSCE.shape[2]
        valid = torch.rand(2, s, c, generator=g) > 0.3
        x = replace(x, valid_BSC=valid | (torch.arange(c) == 0))
    dense, _ = mvpa_dense(x)
    lean = mvpa_lean(x)
    torch.testing.assert_close(lean, dense, rtol=1e-10, atol=1e-12)
    g = torch.randn(dense.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = (torch.autograd.grad(y, leaves(x), g, retain_graph=True) for y in (lean, dense))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_the_size_of_near_logits_counts_every_pair_whose_content_counts():
    x = inputs(t=6, c=3, window=2, band=4)
    h = x.q_BHTCE.shape[1]
    pairs = sum(min(t, 2) + 1 for t in range(6)) * 9
    assert mvpa.near_bytes(x) == 4 * len(x.q_BHTCE) * h * pairs


def test_weights_are_a_formula_by_hand_for_one_pair():
    x = inputs(3, 2, heads=1, groups=1, window=1)
    q, e = x.q_BHTCE[0, 0], 8
    logits = torch.full((2, 2), float("nan"))
    for s in range(2):
        for d in range(2):
            # The query of segment 1 and channel 0; lag 1 - s, two channels.
            a = (q[1, 0] + x.content_bias_HE[0]) @ x.k_BGSCE[0, 0, s, d]
            b = (q[1, 0] + x.time_bias_HE[0]) @ x.time_HLE[0, 1 - s]
            z = (q[1, 0] + x.channel_bias_HE[0]) @ x.relation_HRE[0, 1 - d]
            logits[s, d] = (a + b + z) / e**0.5
    _, weight = mvpa_dense(x)
    torch.testing.assert_close(weight[0, 0, 2, :4], logits.flatten().softmax(0))
    assert torch.all(weight[0, 0, 2, 4:] == 0), "nothing of a later segment"


def seen_by(x, **change):
    """Which queries' results a change of segment `at` of keys and values reaches."""
    before, after = mvpa_lean(x), mvpa_lean(replace(x, **change))
    return [not torch.equal(before[:, :, t], after[:, :, t]) for t in range(before.shape[2])]


def test_no_segment_sees_a_later_one():
    x = inputs(6, 3)
    k, v = x.k_BGSCE.detach().clone(), x.v_BGSCE.detach().clone()
    k[:, :, 4], v[:, :, 4] = 9.0, -9.0
    assert seen_by(x, k_BGSCE=k, v_BGSCE=v) == [False] * 4 + [True] * 2


@pytest.mark.parametrize("last", [False, True])
def test_outside_the_window_content_is_silent_but_for_the_published_last_segment(last):
    x = inputs(8, 2, window=2, last_sees_all=last)
    k = x.k_BGSCE.detach().clone()
    k[:, :, 0] += 5.0
    assert seen_by(x, k_BGSCE=k) == [True] * 3 + [False] * 4 + [last]


def test_outside_the_band_nothing_is_seen_at_all():
    x = inputs(8, 2, window=2, band=4)
    v = x.v_BGSCE.detach().clone()
    v[:, :, 1] += 5.0
    assert seen_by(x, v_BGSCE=v) == [False, True, True, True, True, False, False, False]


def test_segments_asked_later_answer_as_if_all_were_asked_at_once():
    x = inputs(9, 3, window=2, band=4)
    later = replace(x, q_BHTCE=x.q_BHTCE[:, :, 6:])
    torch.testing.assert_close(mvpa_lean(later), mvpa_lean(x)[:, :, 6:])
    torch.testing.assert_close(mvpa_dense(later)[0], mvpa_dense(x)[0][:, :, 6:])


def shuffled(x, order):
    axis = {"q_BHTCE": 3, "k_BGSCE": 3, "v_BGSCE": 3}
    return replace(x, **{n: getattr(x, n).index_select(a, order) for n, a in axis.items()})


def test_in_list_order_only_the_reversed_list_gives_the_same():
    x = inputs(5, 4)
    y = mvpa_lean(x)
    for order, same in ((torch.tensor([3, 2, 1, 0]), True), (torch.tensor([1, 0, 2, 3]), False)):
        z = mvpa_lean(shuffled(x, order))
        assert torch.allclose(z, y.index_select(3, order), atol=1e-5) is same


@pytest.mark.parametrize("segments", [slice(None), slice(3, 12)])
def test_nobody_sees_what_is_not_valid_however_loud(segments):
    valid = torch.ones(2, 15, 3, dtype=torch.bool)
    valid[:, segments, 1] = False
    x = replace(inputs(15, 3), valid_BSC=valid)
    k, v = x.k_BGSCE.detach().clone(), x.v_BGSCE.detach().clone()
    k[:, :, segments, 1], v[:, :, segments, 1] = 1e4, 100.0
    before, after = mvpa_lean(x), mvpa_lean(replace(x, k_BGSCE=k, v_BGSCE=v))
    assert torch.equal(before, after)


def test_who_sees_nobody_gets_zeros_and_finite_gradients():
    x = replace(inputs(14, 3, groups=4), valid_BSC=torch.zeros(2, 14, 3, dtype=torch.bool))
    for y in (mvpa_lean(x), mvpa_dense(x)[0]):
        assert torch.all(y == 0)
        grads = torch.autograd.grad(y.sum(), leaves(x))
        assert all(torch.isfinite(g).all() for g in grads)


def test_logits_of_hundreds_overflow_nothing():
    x = inputs(14, 3)
    x = replace(x, q_BHTCE=300 * x.q_BHTCE.detach())
    torch.testing.assert_close(mvpa_lean(x), mvpa_dense(x)[0], rtol=1e-3, atol=1e-4)


def test_by_distance_the_order_of_channels_means_nothing():
    relation, order = spread(4), torch.tensor([2, 0, 3, 1])
    x = inputs(5, 4, relation=relation)
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
    assert list_order(3).tolist() == [[2, 1, 0], [1, 2, 1], [0, 1, 2]]


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

    t, c, heads = 24, 12, 4
    x = inputs(t, c)
    with Watch():
        mvpa_lean(x).sum().backward()
    pairs = 2 * heads * (t * c) ** 2 * 4
    assert largest <= pairs / t
