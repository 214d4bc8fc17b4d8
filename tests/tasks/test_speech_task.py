"""Fine-tuning on speech: each head learns a toy, and what is missing names its setting."""

from types import SimpleNamespace

import pytest
import torch
from model_batches import make_batch

from brainfm.codecs.duin import DuINConfig
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.models.bands import BandEncoder
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.speech.decoder import SearchConfig
from brainfm.tasks.speech import DecodeSpeech
from brainfm.training.export import plain

SIZES = {
    "ctc": {"hidden": 32, "dropout": 0.0},
    "classify": {"n_steps": 8, "n_classes": 3, "label_smoothing": 0.0},
    "align": {"n_features": 5, "n_frames": 8, "hidden": 16},
    "regress": {"n_features": 5, "hidden": 16, "per_step": 2},
}


def fresh():
    return DuINEncoder(DuINEncoderConfig(tokenizer=DuINConfig(preset="test", dropout=0.0)))


def task(head="ctc", **settings):
    torch.manual_seed(0)
    given = {"encoder": fresh(), "warmup_steps": 0, "decay_steps": 99, **settings}
    return DecodeSpeech(head, **{"head_sizes": SIZES[head], **given})


@pytest.fixture
def batch():
    torch.set_num_threads(1)
    found = make_batch(b=6, t=128)
    g = torch.Generator().manual_seed(1)
    found.target_B = torch.tensor([0, 1, 2, 0, 1, 2])
    found.sequence_BL = torch.tensor([[1, 2, -1], [3, 3, 4], [5, -1, -1]] * 2)
    found.stimulus_BNF = torch.randn(6, 16, 5, generator=g)
    return found


GOAL = {"classify": "acc", "align": "top1", "regress": "correlation"}


@pytest.mark.parametrize("head", GOAL)
def test_a_head_and_its_encoder_learn_a_toy(head, batch):
    t = task(head, lr=1e-3, head_lr=1e-2, weight_decay=0.0)
    optimizer = t.configure_optimizers()["optimizer"]
    t.train()
    first = None
    for _ in range(60):
        loss = t.losses(batch)["loss"]
        first = first if first is not None else float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = t.eval().losses(batch)
    assert found["loss"] < 0.6 * first
    assert found[GOAL[head]] > 0.8


def test_training_on_phonemes_skips_the_search_and_watches_blanks(batch):
    assert set(task().train().losses(batch)) == {"loss", "blank_share"}
    assert set(task().eval().losses(batch)) == {"loss", "per"}


def spans(batch):
    length_B1 = (batch.sequence_BL > 0).sum(1, keepdim=True)
    at_BL = torch.arange(3.0).repeat(6, 1).where(torch.arange(3) < length_B1, torch.nan)
    return torch.stack([at_BL / 10, at_BL / 10 + 0.08], -1)


def test_phonemes_are_learned_frame_by_frame_first(batch):
    t = task(framewise_steps=10, head_sizes={**SIZES["ctc"], "hidden": None, "dropout": 0.0})
    batch.span_BL2 = spans(batch)
    found = t.train().losses(batch)
    assert torch.equal(found["loss"], found["frames"]) and found["frames"] != found["ctc"]
    assert torch.equal((held := t.eval().losses(batch))["loss"], held["ctc"])
    t = task(framewise_steps=0, head_sizes=SIZES["ctc"])
    assert torch.equal((later := t.train().losses(batch))["loss"], later["ctc"])


def test_frames_without_times_are_refused(batch):
    with pytest.raises(ContractError, match="framewise_steps is 10, but the batch does not say"):
        task(framewise_steps=10).train().losses(batch)


@pytest.mark.parametrize(
    ("head", "field", "setting"),
    [
        ("ctc", "sequence_BL", "data.speech.phonemes"),
        ("classify", "target_B", "data.speech.vocabulary"),
        ("align", "stimulus_BNF", "data.speech.stimulus"),
    ],
)
def test_a_batch_without_targets_names_the_setting(head, field, setting, batch):
    setattr(batch, field, None)
    with pytest.raises(ContractError, match=f"no {field}.*set {setting}"):
        task(head).losses(batch)


def test_a_pretrained_encoder_is_taken_over_with_its_contract(tmp_path):
    encoder = fresh()
    encoder.preprocess = Preprocess(Recipe(sfreq=200.0, lowpass_hz=80.0))
    encoder.save_pretrained(tmp_path)
    t = task(encoder=None, pretrained=str(tmp_path))
    for name, p in encoder.state_dict().items():
        assert torch.equal(p, t.model.encoder.state_dict()[name])
    t.adopt(encoder.preprocess)
    with pytest.raises(ContractError, match="sfreq is 200.0 in the encoder .* but 256.0"):
        t.adopt(Preprocess())


def test_a_fresh_encoder_takes_the_contract_of_the_data():
    t, contract = task(), Preprocess(Recipe(sfreq=200.0, lowpass_hz=80.0))
    t.adopt(contract)
    assert t.model.preprocess == t.model.encoder.preprocess == contract


def test_one_encoder_must_be_given_and_be_one(tmp_path):
    for given in ({"encoder": None}, {"pretrained": "somewhere"}):
        with pytest.raises(ContractError, match="one of pretrained and encoder"):
            task(**given)
    fresh().tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ContractError, match="holds a DuIN, which is no encoder"):
        task(encoder=None, pretrained=str(tmp_path))


def test_frozen_trains_the_head_alone_at_its_own_rate():
    t = task(frozen=("encoder.",), head_lr=7e-3)
    trained = {n for n, p in t.named_parameters() if p.requires_grad}
    assert trained and all(n.startswith("model.head.") for n in trained)
    groups = t.configure_optimizers()["optimizer"].param_groups
    assert {g["initial_lr"] for g in groups} == {7e-3}


def test_tokenizer_and_pretraining_head_rest_and_rates_differ():
    t = task(lr=1e-4, head_lr=5e-3)
    rate = {}
    for group in t.configure_optimizers()["optimizer"].param_groups:
        rate |= {id(p): group["initial_lr"] for p in group["params"]}
    for name, p in t.named_parameters():
        if ".tokenizer." in name or name.startswith("model.encoder.head."):
            assert id(p) not in rate
        else:
            assert rate[id(p)] == (5e-3 if name.startswith("model.head.") else 1e-4)


def test_words_of_the_data_name_the_classes_of_the_export(tmp_path, batch):
    t = task("classify")
    t._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(vocabulary=["Cat", "dog", "bird"], preprocess=Preprocess())
    )
    t.setup("fit")
    plain(t.eval().model).save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert again.config.vocabulary == ("cat", "dog", "bird")
    assert again.words(batch) == t.model.words(batch)
    t._trainer.datamodule.vocabulary = ["cat", "dog"]
    with pytest.raises(ContractError, match="2 words, the head 3 classes"):
        t.setup("fit")


def test_phonemes_are_learned_and_said(batch):
    t = task(lr=1e-3, head_lr=1e-2, weight_decay=0.0).train()
    optimizer = t.configure_optimizers()["optimizer"]
    for _ in range(80):
        optimizer.zero_grad()
        t.losses(batch)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        assert t.eval().losses(batch)["per"] == 0
    said = t.model.phonemes(batch, SearchConfig(beam=8))
    assert said[:3] == [("AA", "AE"), ("AH", "AH", "AO"), ("AW",)]


def test_channels_may_be_left_out_of_encoders_that_take_any(batch):
    encoder = MVPFormer(MVPFormerConfig(preset="test", band=4))
    t = task(encoder=encoder, keep_channels=0.5, head_sizes={"per_step": 4, "hidden": 8})
    assert t.training_step(batch, 0).isfinite()
    with pytest.raises(ContractError, match="keep_channels is 0"):
        task(keep_channels=0.0)


def test_a_loaded_encoder_trains_with_dropout(tmp_path):
    fresh().eval().save_pretrained(tmp_path)
    made = task(pretrained=str(tmp_path), encoder=None)
    made.train()  # as `setup` does
    assert made.model.training
    assert made.model.encoder.encoder.training
    assert not made.model.encoder.tokenizer.training, "the tokenizer only names codes"


def test_the_encoder_of_a_decoder_can_be_taken(tmp_path):
    first = task("regress")
    first.model.save_pretrained(tmp_path)
    second = task("ctc", pretrained=str(tmp_path), encoder=None)
    mine, theirs = second.model.encoder.state_dict(), first.model.encoder.state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_channels_known_by_their_place_are_not_dropped():
    with pytest.raises(ContractError, match="by their place"):
        task(encoder=BandEncoder(), keep_channels=0.5)
