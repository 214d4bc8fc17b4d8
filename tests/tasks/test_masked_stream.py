"""Pretraining of a stream: objectives by weight, sensors drawn, recordings made at once, a run."""

import pytest
import torch
from model_batches import make_batch

from brainfm.cli import main
from brainfm.codecs.biocodec import BioCodec, BioCodecConfig
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.models.code_guessing import CodeGuesser
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.tasks.masked_stream import MaskedStream, StreamWeights
from brainfm.types import Kind, Simultaneous


def task(**settings):
    torch.manual_seed(0)
    made = MaskedStream(UnifiedEncoder(UnifiedEncoderConfig(preset="test")), **settings)
    return made.train()


def test_a_batch_of_one_kind_gives_the_signal_and_names_its_kind():
    parts = task().losses(make_batch(t=1024, kind=int(Kind.SEEG)))
    assert {"loss", "signal", "explained_seeg"} == set(parts)
    torch.testing.assert_close(parts["loss"], parts["signal"])


def test_recordings_made_at_once_add_what_they_tell_of_one_another():
    both = Simultaneous((make_batch(t=2048), make_batch(t=2048, kind=int(Kind.MAG), seed=2)))
    made = task(weights=StreamWeights(signal=0.5, match=2.0, latent=1.0))
    parts = made.losses(both)
    assert {"explained_eeg", "explained_mag", "match", "latent"} <= set(parts)
    total = 0.5 * parts["signal"] + 2.0 * parts["match"] + parts["latent"]
    torch.testing.assert_close(parts["loss"], total)


def test_weights_that_leave_nothing_are_refused():
    with pytest.raises(ContractError, match="leaves no objective"):
        task(weights=StreamWeights(signal=0.0)).losses(make_batch(t=512))


def test_training_sees_some_sensors_and_validation_all():
    made, batch = task(most_sensors=4), make_batch(c=6, t=512)
    torch.manual_seed(0)
    drawn = [made._some_sensors(batch).pos_BC3[0] for _ in range(6)]
    assert {len(p) for p in drawn} == {4}
    assert any(not torch.equal(drawn[0], p) for p in drawn[1:])
    assert made.eval()._some_sensors(batch) is batch


def test_the_teacher_learns_nothing_by_itself():
    made = task(weights=StreamWeights(latent=1.0))
    trained = [p for p in made.parameters() if p.requires_grad]
    made.losses(make_batch(t=1024))["loss"].backward()
    slow = list(made.teacher.slow.parameters())
    assert slow and all(p.grad is None for p in slow)
    assert len(trained) == len(list(made.model.parameters())) + 4


def test_codes_of_a_frozen_codec_are_guessed_for_the_kinds_it_reads(tmp_path):
    codec = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    codec.initialise_codebooks(make_batch(b=8, t=128, seed=5))
    folder = str(codec.save_pretrained(tmp_path / "codec"))
    made = task(weights=StreamWeights(codes=1.0), tokenizer=folder)
    batch = make_batch(b=4, t=1024)
    weights = [p for p in made.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, 3e-3)
    found = []
    for _ in range(15):
        parts = made.losses(batch)
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        found.append(float(parts["codes"].detach()))
    assert found[-1] < found[0] - 0.1
    torch.testing.assert_close(parts["loss"], parts["signal"] + parts["codes"])
    assert all(p.grad is None for p in made.codec.parameters())
    assert "codes" not in made.losses(make_batch(t=1024, kind=int(Kind.SEEG)))


def test_codes_want_a_codec_and_a_codec_wants_codes():
    with pytest.raises(ContractError, match="codes is 1 and tokenizer is None"):
        task(weights=StreamWeights(codes=1.0))
    with pytest.raises(ContractError, match="codes is 0 and tokenizer is 'x'"):
        task(tokenizer="x")


def test_a_codec_without_common_sources_is_refused():
    with pytest.raises(ContractError, match="BioCodec has no codes of a fixed number of sources"):
        CodeGuesser(32, 2, BioCodec(BioCodecConfig(preset="test")))


def test_a_run_meets_data_exports_and_reads_every_kind(tmp_path):
    code = main(
        [
            *("fit", "--config", "configs/pretrain/unified_simultaneous.yaml"),
            *(f"--runs={tmp_path}", "--data.store=synthetic", "--data.recordings="),
            *("--data.window_s=6", "--data.tokens_per_batch=600", "--data.val_batches=1"),
            *("--trainer.max_steps=2", "--trainer.val_check_interval=1", "--save_every=2"),
            *("--model.init_args.encoder.init_args.config.preset=test", "--trainer.devices=1"),
            *("--model.init_args.weights={signal: 1.0, latent: 0.5}", "--trainer.accelerator=cpu"),
        ]
    )
    assert code == 0
    encoder = load_model(tmp_path / "unified_simultaneous" / "export")
    assert bool(encoder.embedding.fast_unit.met_J[[Kind.EEG, Kind.MAG]].all())
    for kind in (Kind.EEG, Kind.SEEG, Kind.BOLD):
        assert torch.isfinite(encoder(make_batch(kind=int(kind), t=512)).h_BSWD).all()
