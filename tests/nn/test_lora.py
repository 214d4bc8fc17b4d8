"""Adapters: few numbers trained, nothing else touched, and a plain model in the end."""

import subprocess
import sys

import pytest
import torch
from model_batches import make_batch

from brainfm.errors import ContractError
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.nn.lora import merged, with_lora


def fresh():
    torch.manual_seed(0)
    return MVPFormer(MVPFormerConfig(preset="test"))


def trained(model, steps=3):
    opt = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.05)
    for _ in range(steps):
        opt.zero_grad()
        model(make_batch()).h_BSWD.square().mean().backward()
        opt.step()
    return model.eval()


def features(model):
    with torch.no_grad():
        return model.eval()(make_batch(seed=1)).h_BSWD


def test_only_the_published_adapters_are_trained():
    model = with_lora(fresh(), rank=8)
    left = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    assert all(".query." in n or ".value." in n for n in left)
    c = model.config
    value = c.dim // c.n_heads * c.n_kv_heads
    assert sum(left.values()) == c.depth * 8 * ((c.dim + c.dim) + (c.dim + value))


def test_fresh_adapters_change_nothing():
    assert torch.equal(features(with_lora(fresh())), features(fresh()))


def test_training_adapters_moves_queries_and_values_and_nothing_else():
    before, after = fresh().state_dict(), merged(trained(with_lora(fresh()))).state_dict()
    assert list(after) == list(before)
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved == {
        f"blocks.{i}.attention.{part}.weight" for i in range(2) for part in ("query", "value")
    }, "keys stay"


def test_a_change_counts_alpha_over_rank():
    model = with_lora(fresh(), rank=2, alpha=6.0)
    query = model.blocks[0].attention.query
    torch.nn.init.normal_(query.lora_B["default"].weight)
    change = 3.0 * query.lora_B["default"].weight @ query.lora_A["default"].weight
    plain = merged(model).blocks[0].attention.query
    torch.testing.assert_close(plain.weight, fresh().blocks[0].attention.query.weight + change)


def test_the_merged_copy_is_the_adapted_model_and_leaves_it_in_training():
    model = trained(with_lora(fresh()))
    wanted = features(model)
    plain = merged(model)
    torch.testing.assert_close(features(plain), wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(features(model), wanted)
    assert all(p.requires_grad for p in plain.parameters())
    assert not torch.allclose(features(fresh()), wanted), "or the test would mean nothing"


def test_an_export_is_read_where_there_is_no_peft(tmp_path):
    plain = merged(trained(with_lora(fresh())))
    plain.save_pretrained(tmp_path)
    value = plain.blocks[1].attention.value.weight.detach()
    code = (
        "import sys, torch\n"
        "sys.modules['peft'] = None\n"
        "from brainfm.hub import load_model\n"
        f"print(float(load_model({str(tmp_path)!r}).blocks[1].attention.value.weight.sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(float(value.sum()))


def test_a_model_without_adapters_is_only_copied():
    model = fresh()
    plain = merged(model)
    assert plain is not model and torch.equal(features(plain), features(model))


def test_layers_that_are_not_there_and_adapters_twice_are_refused():
    with pytest.raises(ContractError, match=r"MVPFormer has no linear layer called \['kv'\]"):
        with_lora(fresh(), targets=("query", "kv"))
    with pytest.raises(ContractError, match="has adapters already"):
        with_lora(with_lora(fresh()))
