"""Released Du-IN state dicts: exact and strict, or a sentence that names the key."""

import json

import numpy as np
import pytest
import torch

from brainfm.compat.duin import (
    config_of,
    encoder_from_released,
    from_released,
    load_released,
    mae_from_released,
    our_name,
    released_layout,
)
from brainfm.compat.state import read_state
from brainfm.errors import ContractError


@pytest.fixture
def released(golden):
    with np.load(golden / "duin.npz") as f:
        arrays = {k: torch.from_numpy(np.array(f[k])) for k in f.files if "sd/" in k}
        config = json.loads(str(f["config_json"]))
    parts = {
        prefix: {k[len(prefix) + 1 :]: v for k, v in arrays.items() if k.startswith(f"{prefix}/")}
        for prefix in ("sd", "mae_sd", "cls_sd")
    }
    return parts, config


def test_a_released_codec_is_strict_and_takes_every_weight(released):
    parts, config = released
    model = from_released(parts["sd"], config)
    c = model.config
    assert c.mixing == "subject" and c.n_subjects == 2 and c.n_channels == 7
    assert c.dead_share is None and c.init_at_eval and c.count_at_eval
    state = model.state_dict()
    computed = ("time_encodings", "attention.scale")
    for key, value in parts["sd"].items():
        if not key.endswith(computed):
            assert torch.equal(released_layout(key, state[our_name(key)]), value), key
    used = {our_name(k) for k in parts["sd"] if not k.endswith(computed)}
    assert used == set(state)


def test_the_masked_encoder_and_the_classifier_s_are_read_from_their_own_weights(released):
    parts, config = released
    codec = from_released(parts["sd"], config)
    mae = mae_from_released(parts["mae_sd"], codec)
    assert torch.equal(mae.mask_D, parts["mae_sd"]["mask_emb"])
    assert torch.equal(mae.tokenizer.codebook.codes_KE, codec.codebook.codes_KE)
    words = encoder_from_released(parts["cls_sd"], codec.config)
    key = "encoder.1.xfmr_blocks.1.mha.proj.0.weight"
    assert torch.equal(words.blocks[1].out.weight, parts["cls_sd"][key])
    repeated = parts["mae_sd"] | {"vqkd.vq_block.counts": torch.ones(24)}
    mae_from_released(repeated, codec)


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda s: s.pop("vq_block.layernorm.weight"), "missing code_norm.weight"),
        (lambda s: s.pop("vq_block.codex.embeddings"), "embeddings.* is missing; is it the state"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda s: s.update({"vq_block.counts": torch.zeros(3)}), "count_K has shape"),
        (lambda s: s["emb_time.time_encodings"].add_(1), "time_encodings is not the published"),
        (lambda s: s["encoder.1.xfmr_blocks.0.mha.attention.scale"].mul_(2), "scale is not the"),
        (
            lambda s: s.update({"desubj_block.subj_layer.W.weight": torch.zeros(9, 2)}),
            "desubj_block.* has 9 rows, not 56",
        ),
    ],
)
def test_what_does_not_fit_is_named(released, change, named):
    parts, config = released
    change(parts["sd"])
    with pytest.raises(ContractError, match=named):
        from_released(parts["sd"], config)


def test_a_codec_is_no_masked_encoder(released):
    parts, config = released
    codec = from_released(parts["sd"], config)
    with pytest.raises(ContractError, match="unexpected vq_block.counts; is it the state"):
        mae_from_released(parts["sd"], codec)


def test_settings_that_are_not_computed_are_refused(released):
    parts, config = released
    config["rgs"]["dilation_rates"] = [1, 2, 1, 1, 1]
    with pytest.raises(ContractError, match="rgs is dilated"):
        config_of(parts["sd"], config)
    config["rgs"] |= {"dilation_rates": [1] * 5, "n_strides": [1, 1, 2, 1, 10]}
    with pytest.raises(ContractError, match="do not multiply to 40"):
        config_of(parts["sd"], config)


def test_a_file_is_read_plain_or_nested_and_never_unpickled(released, tmp_path):
    parts, _ = released
    path = tmp_path / "checkpoint-399.pth"
    torch.save({"model": parts["sd"], "epoch": 399}, path)
    assert read_state(path).keys() == parts["sd"].keys()
    # A file without settings is taken for a released sEEG model, whose tokens are 100 samples.
    with pytest.raises(ContractError, match="checkpoint-399"):
        load_released(path)
    torch.save({"model": object}, path)
    with pytest.raises(ContractError, match="not a checkpoint of plain tensors"):
        read_state(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(ContractError, match="no table of tensors"):
        read_state(path)
    with pytest.raises(ContractError, match="missing"):
        read_state(tmp_path / "none.pth")
