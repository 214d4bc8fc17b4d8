"""Folders of weights: what goes in comes out, and what does not fit is named."""

import json
import shutil

import pytest
import torch
from model_batches import make_batch
from safetensors.torch import load_file, save_file

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

PREPROCESS = Preprocess(Recipe(sfreq=128.0, lowpass_hz=40.0), Normalise(clip=10.0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    model = BrainOmni(BrainOmniConfig(preset="test", rope="cosine"), PREPROCESS)
    model.tokenizer.initialise_codebooks(make_batch(8))
    folder = tmp_path_factory.mktemp("hub") / "model"
    model.eval().save_pretrained(folder, card="Trained on noise.")
    return model, folder


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved[1], tmp_path / "model")
    return tmp_path / "model"


def _edit(folder, change):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_round_trip_is_bit_equal(saved):
    model, folder = saved
    again = BrainOmni.from_pretrained(folder)
    assert again.config == model.config
    assert again.preprocess == PREPROCESS
    assert not again.training
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert torch.equal(again(make_batch()).h_BSWD, model(make_batch()).h_BSWD)


def test_load_model_finds_the_class(saved, tmp_path):
    assert type(load_model(saved[1])) is BrainOmni
    saved[0].tokenizer.save_pretrained(tmp_path)
    assert type(load_model(tmp_path)) is BrainTokenizer


def test_the_card_tells_what_the_weights_expect(saved):
    card = (saved[1] / "README.md").read_text()
    assert "Trained on noise." in card and "128 Hz" in card and "BrainOmni" in card


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(ContractError, match=f"{name}: missing"):
        load_model(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_truncated_file_is_named(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ContractError, match=name):
        load_model(copy)


def test_another_class_than_asked_for_is_named(copy):
    with pytest.raises(ContractError, match="holds a BrainOmni, but a BrainTokenizer"):
        BrainTokenizer.from_pretrained(copy)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os.system", "not one of brainfm's"),
        ("brainfm.models.brainomni.Gone", "does not exist"),
        ("brainfm.nowhere.Gone", "does not exist"),
        ("brainfm.models.brainomni.Block", "is not a model"),
    ],
)
def test_only_own_models_are_built(copy, name, says):
    _edit(copy, lambda c: c.update({"class": name}))
    with pytest.raises(ContractError, match=says):
        load_model(copy)


def test_an_unknown_setting_is_named(copy):
    _edit(copy, lambda c: c["config"]["tokenizer"].update(n_sauces=3))
    with pytest.raises(ContractError, match="unknown key .*n_sauces"):
        load_model(copy)


def test_a_refused_setting_is_named(copy):
    _edit(copy, lambda c: c["config"].update(rope="sine"))
    with pytest.raises(ContractError, match="sine"):
        load_model(copy)


def test_other_sizes_are_named_with_both_shapes(copy):
    _edit(copy, lambda c: c["config"]["tokenizer"].update(n_sources=6))
    with pytest.raises(ContractError, match=r"source_SD has shape \(5, 32\).*\(6, 32\)"):
        load_model(copy)


def test_missing_and_unexpected_weights_are_named(copy):
    state = load_file(copy / "model.safetensors")
    state["head.extra"] = state.pop("head.bias")
    save_file(state, copy / "model.safetensors")
    with pytest.raises(ContractError, match=r"missing head\.bias; unexpected head\.extra"):
        load_model(copy)


def test_the_default_contract_travels_too(tmp_path):
    BrainTokenizer(BrainTokenizerConfig(preset="test")).save_pretrained(tmp_path)
    assert load_model(tmp_path).preprocess == Preprocess()
