"""The fused path is the formula: its result on CPU, the gradients of its terms, all on a GPU."""

import warnings
from dataclasses import fields, replace

import pytest
import torch
from mvpa_inputs import inputs, leaves, spread
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.nn.mvpa import mvpa_dense, mvpa_lean
from brainfm.nn.mvpa_flex import block_mask, mvpa_flex, score, seen

CASES = {
    "plain": dict(t=7, window=2),
    "as published": dict(t=7, window=2, last_sees_all=True),
    "a past and a band": dict(t=4, s=9, window=2, band=5),
    "by distance": dict(t=5, window=2, relation=spread(3)),
    "not all valid": dict(t=5, window=2, valid_BSC=(torch.arange(30) % 4 > 0).view(2, 5, 3)),
}


def made(case, **settings):
    return inputs(**{"c": 3, **case, **settings})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_on_cpu_the_result_is_that_of_the_formula(case):
    x = made(case)
    known = {f.name: getattr(x, f.name) for f in fields(x)}
    x = replace(x, **{k: v.detach() for k, v in known.items() if isinstance(v, Tensor)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not fused is what is wanted here
        found = mvpa_flex(x)
    torch.testing.assert_close(found, mvpa_dense(x)[0], rtol=1e-5, atol=1e-6)


def by_pairs(x):
    """What the kernel does with `score` and `seen`, one pair at a time, and differentiable."""
    b, h, t, c, e = x.q_BHTCE.shape
    s = x.k_BGSCE.shape[2]
    content = (x.q_BHTCE + x.content_bias_HE[:, None, None]).flatten(2, 3)
    k, v = (y.repeat_interleave(2, 1).flatten(2, 3) for y in (x.k_BGSCE, x.v_BGSCE))
    content = content @ k.mT * e**-0.5
    logit, pair = score(x), seen(t, s, c, x.band)
    every = tuple(torch.arange(n) for n in (b, h, t * c, s * c))
    for place in (4, 3, 2, 1):  # over keys first, windows last
        where = tuple(0 if i == place else None for i in range(1, 5))
        logit = torch.vmap(logit, (0, *where))
        pair = torch.vmap(pair, where)
    logits = logit(content, *every).masked_fill(~pair(*every), -float("inf"))
    weight = logits.softmax(-1).nan_to_num(0.0)
    return (weight @ v).view(b, h, t, c, e)


@pytest.mark.parametrize("case", [v for k, v in CASES.items() if k != "not all valid"])
def test_gradients_of_what_the_kernel_looks_up_are_those_of_the_formula(case):
    x = made(case, dtype=torch.float64)
    one, other = by_pairs(x), mvpa_dense(x)[0]
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    g = torch.randn(one.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad(y, leaves(x), g) for y in (one, other)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_blocks_out_of_sight_are_not_visited():
    assert block_mask(8, 8, 128, None, "cpu").sparsity() == pytest.approx(100 * 28 / 64)
    assert block_mask(8, 8, 128, 2, "cpu").sparsity() == pytest.approx(100 * (64 - 15) / 64)


def test_gradients_on_cpu_are_refused_with_the_path_that_has_them():
    with pytest.raises(ContractError, match="no gradients on 'cpu'; train with path 'lean'"):
        mvpa_flex(inputs(3, 2))


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_on_a_gpu_all_three_paths_agree_forward_and_backward(case):
    case = {**case, "c": 40, "width": 32, "device": "cuda"}
    if "relation" in case:
        case["relation"] = spread(40)
    if "valid_BSC" in case:
        case["valid_BSC"] = (torch.arange(400, device="cuda") % 4 > 0).view(2, 5, 40)
    x = inputs(**case)
    results = mvpa_dense(x)[0], mvpa_lean(x), mvpa_flex(x)
    g = torch.randn_like(results[0])
    grads = [torch.autograd.grad(y, leaves(x), g, retain_graph=True) for y in results]
    for found, grad in zip(results[1:], grads[1:], strict=True):
        torch.testing.assert_close(found, results[0], rtol=1e-3, atol=1e-3)
        for a, b in zip(grad, grads[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)
