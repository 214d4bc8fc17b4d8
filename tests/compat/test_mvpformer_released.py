"""Released MVPFormer state dicts: exact, or a sentence that names the key."""

import json

import numpy as np
import pytest
import torch

from brainfm.compat.mvpformer import config_of, from_released, merge_lora
from brainfm.errors import ContractError
from brainfm.nn.lora import merged, with_lora


@pytest.fixture
def released(golden):
    with np.load(golden / "mvpformer.npz") as f:
        arrays = {k: torch.from_numpy(np.array(f[k])) for k in f.files if "sd/" in k}
        config = json.loads(str(f["config_json"]))
    state = {k[3:]: v for k, v in arrays.items() if k.startswith("sd/")}
    lora = {k[7:]: v for k, v in arrays.items() if k.startswith("cls_sd/")}
    return state, config, lora


def test_a_released_model_is_strict_and_takes_every_weight(released):
    state, config, _ = released
    model = from_released(state, config)
    assert model.config.relation == "list order" and model.config.lookback == 10
    assert model.config.time_rows == "from_end" and model.config.last_sees_all
    assert model.config.band is None and not model.config.amplitude and not model.config.streams
    keys_values = model.blocks[1].attention.key.weight, model.blocks[1].attention.value.weight
    assert torch.equal(torch.cat(keys_values), state["mvpformer.h.1.attn.c_attn.weight"])
    bias = state["mvpformer.h.1.attn.attn_bias"]
    assert torch.equal(model.blocks[1].attention.bias_3GE.flatten(), bias)
    unused = ("ln_2", "time_bias", "masked_bias", "seizure_embeddings")
    used = sum(v.numel() for k, v in state.items() if not any(u in k for u in unused))
    assert model.n_parameters == used


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda s: s.pop("encoder.ln.weight"), "missing encoder.norm.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda s: s.update({"head.head.weight": torch.zeros(2, 2)}), "head.weight has shape"),
        (lambda s: s.update({"mvpformer.h.0.attn.attn_bias": torch.zeros(7)}), "attn_bias has 7"),
    ],
)
def test_what_does_not_fit_is_named(released, change, named):
    state, config, _ = released
    change(state)
    with pytest.raises(ContractError, match=named):
        from_released(state, config)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"n_embd": None}, "n_embd"),
        ({"global_att": False}, "global_att is False"),
        ({"wavelet": "db2"}, "wavelet is 'db2'"),
        ({"n_head": 5}, "does not split over 5 heads"),
    ],
)
def test_settings_that_are_not_computed_are_refused(released, change, named):
    _, config, _ = released
    config = {k: v for k, v in {**config, **change}.items() if v is not None}
    with pytest.raises(ContractError, match=named):
        config_of(config, "base.pt")


def test_adapters_change_queries_and_values_and_leave_keys(released):
    state, config, lora = released
    merged = merge_lora(state, lora, 16)
    for i in range(2):
        stem = f"mvpformer.h.{i}.attn"
        q = 4.0 * lora[f"{stem}.q_attn.lora_B"] @ lora[f"{stem}.q_attn.lora_A"]
        key = f"{stem}.q_attn.weight"
        torch.testing.assert_close(merged[key], state[key] + q)
        before, after = state[f"{stem}.c_attn.weight"], merged[f"{stem}.c_attn.weight"]
        half = len(before) // 2
        assert torch.equal(before[:half], after[:half])
        assert not torch.allclose(before[half:], after[half:])


def test_released_adapters_are_those_that_are_trained_here(released):
    state, config, lora = released
    model = with_lora(from_released(state, config), rank=4, alpha=16)
    for i, block in enumerate(model.blocks):
        for ours, theirs in (("query", "q_attn"), ("value", "c_attn")):
            layer = getattr(block.attention, ours)
            for part in ("lora_A", "lora_B"):
                weight = getattr(layer, part)["default"].weight
                weight.data.copy_(lora[f"mvpformer.h.{i}.attn.{theirs}.{part}"])
    wanted = from_released(merge_lora(state, lora, 16), config).state_dict()
    torch.testing.assert_close(dict(merged(model).state_dict()), dict(wanted))


def test_half_an_adapter_is_refused(released):
    state, _, lora = released
    lora.pop("mvpformer.h.0.attn.q_attn.lora_B")
    with pytest.raises(ContractError, match="h.0.attn.q_attn lacks lora_A, lora_B"):
        merge_lora(state, lora, 16)
