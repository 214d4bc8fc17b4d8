"""Released BrainOmni layouts: every key accounted for, in both directions."""

import json

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.compat.brainomni import (
    ENCODER_KEYS,
    PREPROCESS,
    TOKENIZER_KEYS,
    from_released,
    load_released,
    to_released,
    to_released_config,
)
from brainfm.errors import ContractError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig

STRICT = BrainTokenizerConfig(
    preset="test", n_kinds=3, dead_count=2.0, init_at_eval=True, exact=True
)


def _model(**changes):
    torch.manual_seed(0)
    config = BrainOmniConfig(preset="test", tokenizer=STRICT, balance_input=False, **changes)
    model = BrainOmni(config, PREPROCESS)
    model.tokenizer.initialise_codebooks(make_batch(8))
    return model.eval()


@pytest.fixture
def released():
    model = _model()
    return model, to_released(model), to_released_config(model.config)


@pytest.fixture
def reference(golden):
    with np.load(golden / "brainomni.npz") as f:
        state = {k[3:]: torch.from_numpy(f[k]) for k in f.files if k.startswith("sd/")}
        return state, json.loads(str(f["config_json"]))


def test_published_state_dict_goes_through_us_unchanged(reference):
    state, cfg = reference
    again = to_released(from_released(state, cfg))
    assert set(again) == set(state)
    assert all(torch.equal(again[k], v) for k, v in state.items())


@pytest.mark.parametrize("rope", ["real", "cosine"])
def test_round_trip_through_the_released_layout(rope):
    model = _model(rope=rope)
    again = from_released(to_released(model), to_released_config(model.config))
    assert again.config.rope == rope
    assert again.preprocess.normalise.reference == "average"
    batch = make_batch()
    assert torch.equal(again(batch).h_BSWD, model(batch).h_BSWD)


def test_a_table_without_sine_is_recognised_even_if_stored_complex(released):
    _, state, cfg = released
    for key in state:
        if key.endswith("rotate"):
            state[key] = state[key].real.to(torch.complex64)
    assert from_released(state, cfg).config.rope == "cosine"


def test_a_table_grown_beyond_240_steps_is_read(released):
    model, state, cfg = released
    n = torch.arange(300).float()
    for key in [k for k in state if k.endswith("rotate")]:
        angle = torch.outer(n, state[key.replace("rotate", "freqs")])
        state[key] = torch.polar(torch.ones_like(angle), angle)
    batch = make_batch()
    assert torch.equal(from_released(state, cfg)(batch).h_BSWD, model(batch).h_BSWD)


def test_mixed_tables_are_refused(released):
    _, state, cfg = released
    key = "blocks.1.time_attn.rope_embedding_layer.rotate"
    state[key] = state[key].real
    with pytest.raises(ContractError, match="some rotary tables"):
        from_released(state, cfg)


def test_another_table_is_refused(released):
    _, state, cfg = released
    key = "blocks.1.time_attn.rope_embedding_layer.rotate"
    state[key] = state[key] * 1.5
    with pytest.raises(ContractError, match=key):
        from_released(state, cfg)


def test_a_bare_tokenizer_is_read():
    torch.manual_seed(0)
    codec = BrainTokenizer(STRICT, PREPROCESS)
    codec.initialise_codebooks(make_batch(8))
    state = to_released(codec)
    assert not any(k.startswith("tokenizer.") for k in state)
    again = from_released(state, to_released_config(STRICT))
    assert torch.equal(again.encode(make_batch()).ids_BSWQ, codec.encode(make_batch()).ids_BSWQ)


def test_projections_come_and_go_with_the_widths():
    tokenizer = BrainTokenizerConfig(preset="test", codebook_dim=16, n_kinds=3)
    model = BrainOmni(BrainOmniConfig(preset="test", tokenizer=tokenizer, dim=32))
    state = to_released(model)
    assert "tokenizer.quantizer.rvq.layers.0.project_in.weight" in state
    assert "projection.weight" not in state
    from_released(state, to_released_config(model.config))


def test_missing_unexpected_and_misshapen_keys_are_named(released):
    _, state, cfg = released
    del state["mask_token"]
    state["surprise"] = torch.zeros(1)
    state["predict_head.bias"] = torch.zeros(7)
    with pytest.raises(ContractError) as e:
        from_released(state, cfg, "BrainOmni.pt")
    for part in ("BrainOmni.pt", "missing mask_token", "unexpected surprise", "(7,)"):
        assert part in str(e.value)


def test_a_configuration_of_other_weights_is_refused(released):
    _, state, cfg = released
    with pytest.raises(ContractError, match=r"blocks\.3"):
        from_released(state, cfg | {"lm_depth": 4})
    with pytest.raises(ContractError, match="lm_dim"):
        from_released(state, {k: v for k, v in cfg.items() if k != "lm_dim"})
    with pytest.raises(ContractError, match="simvq"):
        from_released(state, cfg | {"quantize_optimize_method": "simvq"})


def test_files_are_loaded_without_running_anything(released, tmp_path):
    model, state, cfg = released
    torch.save(state, tmp_path / "BrainOmni.pt")
    (tmp_path / "model_cfg.json").write_text(json.dumps(cfg))
    again = load_released(tmp_path / "BrainOmni.pt")
    assert torch.equal(again(make_batch()).h_BSWD, model(make_batch()).h_BSWD)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "not a checkpoint"), (b"garbage", "not a checkpoint"), (None, "missing")],
)
def test_damaged_checkpoints_are_named(tmp_path, content, says):
    path = tmp_path / "BrainOmni.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContractError, match=f"BrainOmni.pt: {says}"):
        load_released(path, {"n_dim": 1})


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"mask_token": print}, tmp_path / "BrainOmni.pt")
    with pytest.raises(ContractError, match="plain tensors"):
        load_released(tmp_path / "BrainOmni.pt", {"n_dim": 1})


def test_a_nested_checkpoint_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "BrainOmni.pt")
    with pytest.raises(ContractError, match="no table of tensors"):
        load_released(tmp_path / "BrainOmni.pt", {"n_dim": 1})


def test_a_damaged_configuration_is_named(tmp_path):
    (tmp_path / "model_cfg.json").write_text("{")
    with pytest.raises(ContractError, match="model_cfg.json: not valid JSON"):
        load_released(tmp_path / "BrainOmni.pt")


@pytest.mark.parametrize("part", [{"linear_path": True}, {"position": "metric"}])
def test_parts_nobody_published_cannot_be_exported(part):
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", **part))
    with pytest.raises(ContractError, match="released layout knows neither"):
        to_released(model)


def test_settings_without_meaning_are_ignored_with_a_word(released, caplog):
    _, state, cfg = released
    from_released(state, cfg | {"num_workers": 8})
    assert "num_workers" in caplog.text


def test_nested_and_flat_configurations_say_the_same(released):
    model, state, cfg = released
    nested = {
        "tok": {k: v for k, v in cfg.items() if k in TOKENIZER_KEYS},
        "lm": {k: v for k, v in cfg.items() if k in ENCODER_KEYS},
    }
    assert from_released(state, nested).config == from_released(state, cfg).config
