"""A run ends with weights, sizes and contract in one folder; an old checkpoint can follow."""

import pytest
import torch

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.models.brainomni import BrainOmni
from brainfm.training.export import export_checkpoint


@pytest.fixture
def finished(runs):
    config = runs.config("codec", trainer={"max_steps": 2})
    assert runs.main("fit", "--config", config) == 0
    return runs.run("run")


def test_the_export_is_the_trained_model_with_the_contract_of_its_data(finished):
    model = load_model(finished / "export")
    saved = torch.load(finished / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert isinstance(model, BrainTokenizer)
    assert all(torch.equal(v, saved[f"model.{k}"]) for k, v in model.state_dict().items())
    assert model.preprocess.recipe.sfreq == 256.0
    assert all(level.codebook.is_ready for level in model.quantizer.levels)


def test_a_checkpoint_exports_to_the_same_weights(finished, tmp_path):
    model = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    export_checkpoint(model, finished / "checkpoints/last.ckpt", tmp_path / "later")
    one, other = (f / "model.safetensors" for f in (finished / "export", tmp_path / "later"))
    assert one.read_bytes() == other.read_bytes()


def test_the_command_exports_the_run_as_it_was_saved(runs, finished, tmp_path):
    command = ("export", "--config", finished / "config.yaml", "--out", tmp_path / "again")
    assert runs.main(*command) == 0
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / "export" / name).read_bytes()


def test_a_run_without_a_checkpoint_cannot_be_exported(runs, tmp_path, capsys):
    config = runs.config("codec", "never")
    assert runs.main("export", "--config", config) == 1
    assert "no checkpoint to export; run fit first" in capsys.readouterr().err
    assert not (runs.run("never") / "export").exists()


def test_a_checkpoint_of_other_sizes_is_refused_by_name(finished, tmp_path):
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", codebook_size=16))
    with pytest.raises(ContractError, match="codes_KE"):
        export_checkpoint(model, finished / "checkpoints/last.ckpt", tmp_path / "later")
    assert not (tmp_path / "later").exists()


def test_a_file_that_is_no_run_is_refused(tmp_path):
    torch.save({"state_dict": {"x": torch.zeros(1)}}, tmp_path / "a.ckpt")
    model = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    with pytest.raises(ContractError, match="no weights named"):
        export_checkpoint(model, tmp_path / "a.ckpt", tmp_path / "later")


def test_codec_then_encoder_is_the_whole_path(runs, finished):
    config = runs.config("masked", "encoder", trainer={"max_steps": 2})
    tokenizer = f"--model.init_args.tokenizer={finished / 'export'}"
    assert runs.main("fit", "--config", config, tokenizer) == 0
    encoder = load_model(runs.run("encoder") / "export")
    assert isinstance(encoder, BrainOmni)
    codec = load_model(finished / "export").state_dict()
    assert all(torch.equal(v, codec[k]) for k, v in encoder.tokenizer.state_dict().items())


def test_a_run_can_be_validated_afterwards(runs, finished):
    from brainfm.training.metrics import read_metrics

    assert runs.main("validate", "--config", runs.folder / "run.yaml") == 0
    assert "val/loss" in read_metrics(finished, "val")


def test_validating_a_run_that_never_was_is_refused(runs, capsys):
    config = runs.config("codec", "never")
    assert runs.main("validate", "--config", config) == 1
    assert "no checkpoint to validate" in capsys.readouterr().err
