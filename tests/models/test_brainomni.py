"""BrainOmni: sizes, invariances, and what stays frozen."""

import pytest
import torch
from model_batches import channels, make_batch, with_bad_channels

from brainfm.codecs.braintokenizer import BrainTokenizerConfig
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = BrainOmni(BrainOmniConfig(preset="test"))
    model.tokenizer.initialise_codebooks(make_batch(8))
    return model.eval()


@pytest.mark.parametrize(("preset", "size"), [("tiny", 8.42e6), ("base", 32.7e6)])
def test_published_sizes(preset, size):
    with torch.device("meta"):
        model = BrainOmni(BrainOmniConfig(preset=preset))
    assert model.n_encoder_parameters == pytest.approx(size, rel=1e-3)
    assert model.tokenizer.n_parameters == pytest.approx(5.05e6, rel=1e-3)


def test_explicit_settings_win_over_the_preset():
    config = BrainOmniConfig(preset="base", depth=2, dropout=0.1, tokenizer={"preset": "demo"})
    assert (config.dim, config.depth, config.dropout) == (512, 2, 0.1)
    assert config.tokenizer == BrainTokenizerConfig(preset="demo")


@pytest.mark.parametrize(
    ("setting", "named"),
    [({"preset": "huge"}, "huge"), ({"rope": "sine"}, "sine"), ({"dim": 50}, "50")],
)
def test_a_wrong_setting_is_named(setting, named):
    with pytest.raises(ValueError, match=named):
        BrainOmniConfig(**setting)


def test_features_have_times_and_unit_length(model):
    features = model(make_batch(t=128))
    assert features.h_BSWD.shape == (2, 5, 24, 48)
    torch.testing.assert_close(features.h_BSWD.norm(dim=-1), torch.ones(2, 5, 24))
    assert features.time_W[8] == 48 / 256
    assert features.pooled().shape == (2, 48)


def test_a_shorter_signal_still_has_features(model):
    assert torch.isfinite(model(make_batch(t=30)).h_BSWD).all()


def test_all_blocks_or_unscaled_features_on_demand(model):
    batch = make_batch()
    codes = model.tokenize(batch)
    raw = model(batch, codes=codes, skip_last=0, normalise=False).h_BSWD
    torch.testing.assert_close(raw, model.run_blocks(model.embed(codes.latent_BSWD)))


def test_invalid_channels_change_nothing(model):
    batch = make_batch()
    torch.testing.assert_close(model(batch).h_BSWD, model(with_bad_channels(batch)).h_BSWD)


def test_a_window_without_valid_channels_is_marked(model):
    batch = make_batch()
    batch.valid_BC[1] = False
    assert model(batch).valid_BS.all(1).tolist() == [True, False]


def test_channel_order_changes_nothing(model):
    batch = make_batch()
    a, b = model(batch), model(channels(batch, torch.tensor([3, 1, 5, 0, 4, 2])))
    torch.testing.assert_close(a.h_BSWD, b.h_BSWD, rtol=1e-4, atol=1e-5)


def test_evaluation_is_deterministic_although_dropout_is_set():
    torch.manual_seed(0)
    model = BrainOmni(BrainOmniConfig(preset="test", dropout=0.5)).eval()
    model.tokenizer.initialise_codebooks(make_batch(8))
    assert torch.equal(model(make_batch()).h_BSWD, model(make_batch()).h_BSWD)


def test_training_leaves_the_tokenizer_alone(model):
    model.train()
    assert not model.tokenizer.training
    before = {k: v.clone() for k, v in model.tokenizer.state_dict().items()}
    model.masked_forward(model.tokenize(make_batch()))["loss"].backward()
    assert all(p.grad is None for p in model.tokenizer.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.tokenizer.state_dict().items())


def test_every_weight_of_the_encoder_learns(model):
    model.train()
    model.masked_forward(model.tokenize(make_batch()))["loss"].backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_features_are_not_drowned_by_the_source_vectors(model):
    codes = model.tokenize(make_batch())
    sources = model.tokenizer.source_SD.norm(dim=-1).mean()
    size = codes.latent_BSWD.norm(dim=-1).mean()
    assert size < 0.5 * sources  # as published
    x = model.embed(codes.latent_BSWD) - model.embed(torch.zeros_like(codes.latent_BSWD))
    x_sources = model.embed(torch.zeros_like(codes.latent_BSWD)) - model.project.bias
    assert x.norm(dim=-1).mean() > 0.5 * x_sources.norm(dim=-1).mean()


def test_steps_lower_the_loss(model):
    model.train()
    codes = model.tokenize(make_batch(4))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(25):
        loss = model.masked_forward(codes)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.9 * history[0]


def test_half_precision_is_finite(model):
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = model.tokenize(make_batch())
        losses = model.masked_forward(codes)
        features = model(make_batch())
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"]) and torch.isfinite(features.h_BSWD).all()
