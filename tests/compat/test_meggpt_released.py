"""Released EphysTokenizer and MEG-GPT state dicts: exact, or a sentence that names the key."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch

from brainfm.codecs.meggpt import EphysTokenizerConfig
from brainfm.compat.meggpt import (
    config_of,
    from_released,
    load_released,
    load_tokenizer,
    our_name,
    tokenizer_from_released,
)
from brainfm.errors import ContractError
from brainfm.models.meggpt import MEGGPT

VARIANTS = ("off", "chan", "ext", "rope", "cross")


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "meggpt.npz") as f:
        config = json.loads(str(f["config_json"]))
        return {k: torch.from_numpy(np.array(f[k])) for k in f.files if "sd/" in k}, config


def state_of(arrays, name):
    return {k.split("/", 1)[1]: v for k, v in arrays[0].items() if k.startswith(f"{name}_sd/")}


@pytest.fixture(scope="module")
def tokenizer(arrays):
    return tokenizer_from_released(state_of(arrays, "tok"), arrays[1]["tok"])


def test_a_tokenizer_s_summed_waveforms_are_kept_as_their_sum(arrays, tokenizer):
    weight = state_of(arrays, "tok")["decoder_layer.token_basis_layer.weight"]
    torch.testing.assert_close(tokenizer.basis_KP, weight.sum(0))
    c = tokenizer.config
    assert c.tau(int(tokenizer.step)) == c.last_tau, "training goes on with the last tau"


@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_of_a_model_is_taken_and_every_mask_is_ours(arrays, tokenizer, name):
    state = state_of(arrays, name)
    model = from_released(state, arrays[1]["gpt"][name], tokenizer)
    assert model.config.reach == "published" and model.config.channels == "list order"
    ours = model.state_dict()
    for key, value in state.items():
        if not key.endswith("attention_mask"):
            assert torch.equal(ours[our_name(key)], value), key
    rest = {k for k in ours if not k.startswith("tokenizer.") and "hide_CC" not in k}
    named = {our_name(k) for k in state if not k.endswith("attention_mask")}
    assert rest == named | {"label_K"}


def test_a_mask_over_channels_travels_with_the_weights(arrays, tokenizer):
    model = from_released(state_of(arrays, "chan"), arrays[1]["gpt"]["chan"], tokenizer)
    assert model.layers[1].hide_CC[-1].all() and not hasattr(model.layers[0], "hide_CC")


FIRST_MASK = "transformer_decoder.layers.1.gasp_time_attention.gasp_layer.attention_mask"


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda s: s.pop("prediction_head.bias"), "missing head.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda s: s.update({"prediction_head.bias": torch.zeros(3)}), "head.bias has shape"),
        (lambda s: s.update({FIRST_MASK: ~s[FIRST_MASK]}), "attention_mask is not the mask"),
    ],
)
def test_what_does_not_fit_is_named(arrays, tokenizer, change, named):
    state = state_of(arrays, "off")
    change(state)
    with pytest.raises(ContractError, match=named):
        from_released(state, arrays[1]["gpt"]["off"], tokenizer)


@pytest.mark.parametrize(
    "where, value, named",
    [
        (("transformer_decoder", "norm_type"), "group", "norm_type is 'group'"),
        (("transformer_decoder", "patch_len_in"), [1, 4, 4, 3], "layer 3 takes 5 patches of 3"),
        (("transformer_decoder", "do_cross_attention"), [True] * 4, "layer 0 crosses"),
        (("transformer_decoder", "feed_forward_activation"), "tanh", "activation is 'tanh'"),
        (("input_embedding", "channel_embedding_dim"), None, "without embedding"),
        (("input_embedding", "extra_label_specs"), [{"name": "a"}, {"name": "b"}], "'a', 'b'"),
    ],
)
def test_settings_that_are_not_computed_are_refused(arrays, tokenizer, where, value, named):
    config = deepcopy(arrays[1]["gpt"]["off"])
    config[where[0]][where[1]] = value
    with pytest.raises(ContractError, match=named):
        config_of(config, tokenizer.config)


def test_a_missing_size_is_named(arrays, tokenizer):
    config = deepcopy(arrays[1]["gpt"]["off"])
    del config["n_channels"]
    with pytest.raises(ContractError, match="'n_channels' is missing"):
        config_of(config, tokenizer.config)
    with pytest.raises(ContractError, match="'rnn_n_units' is missing"):
        tokenizer_from_released({}, {"n_tokens": 3})


def test_both_models_are_read_from_files(arrays, tmp_path):
    path = tmp_path / "model_state.pt"
    torch.save(state_of(arrays, "tok"), path)
    tokenizer = load_tokenizer(path, arrays[1]["tok"])
    torch.save(state_of(arrays, "off"), path)
    model = load_released(path, arrays[1]["gpt"]["off"], tokenizer)
    assert torch.equal(model.tokenizer.basis_KP, tokenizer.basis_KP)


def test_the_released_settings_weigh_what_was_counted_in_the_release():
    nothing, no = [None] * 5, [False] * 5
    labels = {"name": "session_labels", "n_classes": 621, "label_dim": 66}
    config = {
        "sequence_length": 100,
        "n_channels": 52,
        "input_embedding": {
            "n_tokens": 66,
            **dict.fromkeys(("embedding_dim", "token_embedding_dim"), 256),
            **dict.fromkeys(("pos_embedding_dim", "channel_embedding_dim"), 256),
            "pos_embedding_type": "absolute",
            "extra_label_specs": [labels],
        },
        "transformer_decoder": {
            "n_heads": 4,
            "model_dim": 256,
            "feed_forward_dim": 1024,
            "feed_forward_activation": "gelu",
            "dropout": 0.2,
            "n_patches_in": [100, 25, 20, 10, 8],
            "patch_len_in": [1, 4, 4, 8, 8],
            "n_patches_out": [25, 20, 10, 8, 16],
            "patch_len_out": [4, 4, 8, 8, 1],
            "unpatched_len_in": [0] * 5,
            "l_unpatched_b": nothing,
            "l_patched_b": [8, *nothing[1:]],
            "do_chan_attention": no,
            "do_cross_attention": no,
            "chan_attention_mask": nothing,
            "chan_attn_chandim": None,
        },
        "loss": {"loss_sequence_length": 16, "label_smoothing": 0.0},
    }
    model = MEGGPT(config_of(config, EphysTokenizerConfig()))
    assert model.n_parameters - model.tokenizer.n_parameters == pytest.approx(4.08e6, rel=1e-3)
    # The release holds K x K x P waveform weights and K biases where ours are summed, and tau.
    k, taps = 128, 10
    extra = k * k * taps + k + 1 - (k * taps + 1)
    assert model.tokenizer.n_parameters + extra == 231_041
