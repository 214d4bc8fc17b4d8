"""Sizes as data: from YAML, from JSON, and refused by name."""

from dataclasses import asdict, fields

import pytest
from jsonargparse import ArgumentParser

from brainfm.codecs.braintokenizer import BrainTokenizerConfig
from brainfm.codecs.presets import BRAINTOKENIZER
from brainfm.errors import ContractError
from brainfm.hub import config_from_dict
from brainfm.models.brainomni import BrainOmniConfig
from brainfm.models.mvpformer import MVPFormerConfig
from brainfm.models.presets import BRAINOMNI, MVPFORMER


def _parse(config, cls=BrainOmniConfig):
    class Task:
        def __init__(self, config: cls):
            self.config = config

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Task, "model")
    parsed = parser.parse_object({"model": {"config": config}})
    return parser.instantiate_classes(parsed).model.config


@pytest.mark.parametrize(
    ("cls", "presets"),
    [
        (BrainOmniConfig, BRAINOMNI),
        (BrainTokenizerConfig, BRAINTOKENIZER),
        (MVPFormerConfig, MVPFORMER),
    ],
)
def test_every_preset_fills_every_size(cls, presets):
    for name in presets:
        config = cls(preset=name)
        assert all(
            getattr(config, f.name) is not None
            or f.name in ("dead_count", "band", "amplitude_past")
            for f in fields(cls)
        )


def test_a_preset_in_yaml_with_one_thing_changed():
    config = _parse({"preset": "base", "dropout": 0.1, "tokenizer": {"preset": "demo"}})
    assert (config.dim, config.dropout, config.tokenizer.window) == (512, 0.1, 256)


def test_lists_of_yaml_become_tuples():
    assert _parse({"preset": "test", "ratios": [2, 4]}, BrainTokenizerConfig).ratios == (2, 4)


def test_a_misspelt_setting_in_yaml_is_named():
    with pytest.raises(Exception, match="presett"):
        _parse({"presett": "tiny"})


@pytest.mark.parametrize("config", [BrainOmniConfig(preset="test"), BrainTokenizerConfig()])
def test_a_configuration_survives_json(config):
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    assert config_from_dict(type(config), as_json, "here") == config


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1], "expected a table"),
        ({"deep": 3}, "unknown key .*deep"),
        ({"dim": 3}, "does not split"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(content, says):
    with pytest.raises(ContractError, match=f"here: .*{says}"):
        config_from_dict(BrainOmniConfig, content, "here")


def test_a_window_that_is_no_multiple_of_the_hop_is_refused():
    with pytest.raises(ValueError, match="window 60 is no multiple of the hop 8"):
        BrainTokenizerConfig(preset="test", window=60)
