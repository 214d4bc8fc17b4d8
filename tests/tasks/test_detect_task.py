"""Fine-tuning a detector: it learns, from a pretrained encoder or a fresh one, and says no."""

from dataclasses import replace

import pytest
import torch

from brainfm.data.collate import batch_from_arrays
from brainfm.data.seizures import label_steps
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import ContractError
from brainfm.heads.detect import DetectConfig
from brainfm.hub import load_model
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.nn.lora import LoraSettings
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.tasks.detect import DetectSeizures, some_channels
from brainfm.training.export import plain

SIZES = MVPFormerConfig(preset="test", band=4)


def task(**settings):
    torch.manual_seed(0)
    given = {"encoder": SIZES, "context": 8, "warmup_steps": 0, "decay_steps": 99, **settings}
    return DetectSeizures(**given)


@pytest.fixture(scope="module")
def batch():
    """Four windows of eight steps; the rhythm of a simulated seizure fills some."""
    torch.set_num_threads(1)
    recording = synthetic_recording("EEG", 16.0, 5, seed=1, sfreq=64.0, seizure=True)
    x_BCT = recording.signal.reshape(4, 256, 5).transpose(0, 2, 1)
    made = batch_from_arrays(x_BCT, recording.channels, 64.0, Normalise(), patch=32)
    labels = [label_steps(recording.events, 4.0 * b, 8, 0.5) for b in range(4)]
    made.label_BW = torch.tensor([row.tolist() for row in labels])
    return made


def test_a_fresh_detector_learns_what_a_seizure_is(batch):
    t = task(lr=3e-3, head_lr=1e-2, weight_decay=0.0)
    optimizer = t.configure_optimizers()["optimizer"]
    t.train()
    for _ in range(60):
        loss = t.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = t.eval().losses(batch)
    assert found["loss"] < 0.1
    assert found["sensitivity"] == 1 and found["false_alarm_rate"] == 0
    assert found["ictal_share"] == pytest.approx(batch.label_BW.float().mean().item())


def test_without_a_seizure_in_a_batch_everything_is_a_number(batch):
    calm = DetectSeizures.losses(task(), _labelled(batch, 0))
    unknown = DetectSeizures.losses(task(), _labelled(batch, -1))
    assert all(v.isfinite() for v in (*calm.values(), *unknown.values()))
    assert unknown["loss"] == 0


def test_a_batch_without_labels_names_the_setting(batch):
    with pytest.raises(ContractError, match="seizures: {}"):
        task().losses(_labelled(batch, None))


def test_labels_of_other_steps_than_the_encoders_name_the_setting(batch):
    coarse = _labelled(batch, 0)
    coarse.x_BCWP = batch.x_BCWP.flatten(2).unflatten(-1, (-1, 64))
    with pytest.raises(ContractError, match="set patch_s to 0.5"):
        task().losses(coarse)


def test_a_pretrained_encoder_is_taken_over_with_its_contract(tmp_path):
    encoder = MVPFormer(SIZES, Preprocess(Recipe(sfreq=64.0, lowpass_hz=30.0)))
    encoder.save_pretrained(tmp_path)
    t = task(encoder=None, pretrained=str(tmp_path))
    for name, p in encoder.state_dict().items():
        assert torch.equal(p, t.model.encoder.state_dict()[name])
    t.adopt(encoder.preprocess)
    with pytest.raises(ContractError, match="sfreq is 64.0 in the encoder .* but 256.0"):
        t.adopt(Preprocess())


@pytest.mark.parametrize("given", [{"encoder": None}, {"pretrained": "somewhere"}])
def test_it_takes_a_pretrained_encoder_or_sizes_and_not_both(given):
    with pytest.raises(ContractError, match="one of pretrained and encoder"):
        task(**given)


def test_frozen_trains_the_head_alone_at_its_own_rate():
    t = task(frozen=True, head_lr=7e-3)
    trained = {n for n, p in t.named_parameters() if p.requires_grad}
    assert trained and all(n.startswith("model.head.") for n in trained)
    groups = t.configure_optimizers()["optimizer"].param_groups
    assert {g["initial_lr"] for g in groups} == {7e-3}


def test_adapters_and_head_alone_are_trained_and_the_export_is_plain(tmp_path, batch):
    t = task(lora=LoraSettings(rank=2), lr=1e-2, head_lr=1e-2)
    before = {n: p.clone() for n, p in t.named_parameters() if not p.requires_grad}
    trained = {n for n, p in t.named_parameters() if p.requires_grad}
    assert all("lora_" in n or n.startswith("model.head.") for n in trained)
    optimizer = t.configure_optimizers()["optimizer"]
    for _ in range(3):
        optimizer.zero_grad()
        t.losses(batch)["loss"].backward()
        optimizer.step()
    assert all(torch.equal(p, before[n]) for n, p in t.named_parameters() if n in before)
    plain(t.eval().model).save_pretrained(tmp_path)
    again = load_model(tmp_path)
    torch.testing.assert_close(again.probabilities(batch), t.model.probabilities(batch))
    assert not any("lora" in n for n in again.state_dict())


def test_rates_of_encoder_and_head_differ_and_the_token_head_rests():
    t = task(lr=1e-4, head_lr=5e-3)
    rate = {}
    for group in t.configure_optimizers()["optimizer"].param_groups:
        rate |= {id(p): group["initial_lr"] for p in group["params"]}
    for name, p in t.named_parameters():
        if name.startswith("model.encoder.head."):
            assert id(p) not in rate
        else:
            assert rate[id(p)] == (5e-3 if name.startswith("model.head.") else 1e-4)


def test_published_reading_trains_on_the_last_step(batch):
    t = task(head=DetectConfig(pooling="mean", read="last", dropout=0.0)).eval()
    other = _labelled(batch, None)
    other.label_BW = 1 - batch.label_BW
    other.label_BW[:, -1] = batch.label_BW[:, -1]
    torch.testing.assert_close(t.losses(batch)["loss"], t.losses(other)["loss"])


def _labelled(batch, value):
    label = None if value is None else torch.full_like(batch.label_BW, value)
    return replace(batch, label_BW=label)


def test_a_training_batch_keeps_a_share_of_its_channels_whole(batch):
    torch.manual_seed(0)
    sizes = set()
    for _ in range(40):
        part = some_channels(batch, 0.4)
        sizes.add(part.x_BCWP.shape[1])
        kept = [(batch.x_BCWP[0, :, 0, 0] == v).nonzero().item() for v in part.x_BCWP[0, :, 0, 0]]
        assert kept == sorted(kept)
        assert torch.equal(part.pos_BC3, batch.pos_BC3[:, kept])
        assert torch.equal(part.scale_BC, batch.scale_BC[:, kept])
        assert part.label_BW is batch.label_BW and part.time_BW is batch.time_BW
    assert sizes == {2, 3, 4, 5}
    assert some_channels(batch, 1.0) is batch


def test_training_drops_channels_and_validation_does_not(batch, monkeypatch):
    t = task(keep_channels=0.2)
    seen = []

    def losses(given):
        seen.append(given.x_BCWP.shape[1])
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(t, "losses", losses)
    monkeypatch.setattr(t, "log", lambda *args, **kwargs: None)
    for _ in range(20):
        t.training_step(batch, 0)
    assert min(seen) < 5
    seen.clear()
    t.validation_step(batch, 0)
    assert seen == [5]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_of_channels_that_cannot_be_kept_is_refused(share):
    with pytest.raises(ContractError, match="keep_channels is"):
        task(keep_channels=share)
