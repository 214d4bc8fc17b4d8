"""BandEncoder: decibels of bands, a matrix a person, and what hiding teaches."""

from dataclasses import replace

import pytest
import torch
from model_batches import make_batch

from brainfm.errors import ContractError
from brainfm.models.bands import BandEncoder, BandEncoderConfig, filters
from brainfm.tasks.masked_bands import MaskedBands
from brainfm.types import subject_id

ANNA, BEN = "home/anna", "home/ben"


def encoder(**settings):
    torch.manual_seed(0)
    sizes = {"n_channels": 6, "n_regions": 8, "dim": 16, "depth": 2, "dropout": 0.0}
    return BandEncoder(BandEncoderConfig(**sizes | settings)).eval()


def of(batch, *who):
    return replace(batch, subject_B=torch.tensor([subject_id(w) for w in who]))


def wave(hz, t=512):
    batch = make_batch(1, 1, t)
    x = torch.sin(2 * torch.pi * hz * torch.arange(t) / 256)
    return replace(batch, x_BCWP=x[None, None, None])


@pytest.mark.parametrize(
    ("hz", "band"), [(4, 0), (9, 1), (18, 2), (36, 3), (59, 4), (84, 5), (110, 6)]
)
def test_a_wave_is_loudest_in_its_own_band(hz, band):
    level_K = encoder().powers(wave(hz))[0, 0, 8:-8, :7].mean(0)
    assert int(level_K.argmax()) == band
    others = torch.cat([level_K[:band], level_K[band + 1 :]])
    assert level_K[band] > others.max() + 1.0


def test_the_slow_feature_is_the_slow_signal():
    slow_W = encoder().powers(wave(3))[0, 0, :, 7]
    middle = 2 * torch.pi * 3 * (torch.arange(64) * 8 + 3.5) / 256
    torch.testing.assert_close(slow_W[8:-8], torch.sin(middle)[8:-8], atol=0.15, rtol=0)


def test_filters_do_not_hear_a_constant():
    made = filters(BandEncoderConfig()).double()
    # Bands below 6 Hz are wider than the window allows; the others are deaf to an offset.
    assert made[1:7].sum(-1).abs().max() < 0.1
    torch.testing.assert_close(made[-1].sum(), torch.ones((), dtype=torch.float64))


def test_everybody_has_a_matrix():
    model = encoder(subjects=(ANNA, BEN))
    batch = make_batch(1, 4, 256)
    with torch.no_grad():
        anna, ben = (model(of(batch, who)).h_BSWD for who in (ANNA, BEN))
        both = model(of(make_batch(1, 4, 256), ANNA)).h_BSWD
    assert not torch.allclose(anna, ben)
    assert torch.equal(anna, both)


def test_people_are_met_before_learning():
    model = encoder(subjects=(ANNA, BEN), n_channels=4)
    batches = [of(make_batch(1, 4, 4096, seed=i), who) for i, who in enumerate((ANNA, BEN) * 3)]
    read = iter(batches)
    model.meet(read)
    assert next(read, None) is not None  # it stops when it has enough
    shown_BWM = model.shown(batches[-2], model.persons(batches[-2]))
    torch.testing.assert_close(shown_BWM.mean((0, 1)), torch.zeros(32), atol=0.3, rtol=0)
    torch.testing.assert_close(shown_BWM.std((0, 1)), torch.ones(32), atol=0.3, rtol=0)


def test_whoever_was_not_met_is_refused():
    model = encoder(subjects=(ANNA, BEN))
    model.meet([of(make_batch(1, 4, 4096), ANNA)])
    model(of(make_batch(1, 4, 256), ANNA))
    with pytest.raises(ContractError, match="nothing is known of the features of home/ben"):
        model(of(make_batch(1, 4, 256), BEN))


def test_what_was_met_is_saved_with_the_weights(tmp_path):
    model, batch = encoder(subjects=(ANNA,)), of(make_batch(1, 4, 4096), ANNA)
    model.meet([batch])
    model.save_pretrained(tmp_path)
    again = BandEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(again(batch).h_BSWD, model(batch).h_BSWD)
    assert not torch.equal(encoder(subjects=(ANNA,))(batch).h_BSWD, model(batch).h_BSWD)


def test_strangers_are_refused():
    model = encoder(subjects=(ANNA,))
    with pytest.raises(ContractError, match="none of the 1 people"):
        model(of(make_batch(1, 4, 256), BEN))
    with pytest.raises(ContractError, match="does not say who was recorded"):
        model(make_batch(1, 4, 256))
    with pytest.raises(ContractError, match="7 channels"):
        model(of(make_batch(1, 7, 256), ANNA))
    with pytest.raises(ContractError, match="200 Hz"):
        model(of(make_batch(1, 4, 256, sfreq=200.0), ANNA))


def test_an_invalid_channel_is_not_seen():
    model, batch = encoder(), make_batch(2, 4, 256)
    batch.valid_BC[:, 2] = False
    other = replace(batch, x_BCWP=batch.x_BCWP.clone())
    other.x_BCWP[:, 2] = torch.nan
    with torch.no_grad():
        assert torch.equal(model(batch).h_BSWD, model(other).h_BSWD)


def test_steps_say_when_they_are():
    found = encoder()(make_batch(1, 4, 256))
    assert found.h_BSWD.shape == (1, 1, 32, 16)
    assert found.time_W[1] == found.duration_s == 8 / 256


def shared(seed):
    """Noise whose loudness goes up and down in all channels at once."""
    batch = make_batch(4, 6, 512, seed=seed)
    g = torch.Generator().manual_seed(seed)
    slow = torch.randn(4, 1, 17, generator=g).repeat_interleave(32, 2)[..., :512]
    return replace(batch, x_BCWP=(batch.signal_BCT * torch.exp(slow))[:, :, None])


def test_what_channels_share_is_learned_from_hiding_some():
    model = encoder(hidden_time=0.0).train()
    model.meet(shared(2000 + i) for i in range(9))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for i in range(120):
        loss = model.masked_losses(shared(i))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    g = torch.Generator().manual_seed(0)
    assert model.masked_losses(shared(1000), generator=g)["explained"] > 0.4
    alone = make_batch(4, 6, 512, seed=77)  # nothing is shared here
    assert model.masked_losses(alone, generator=g)["explained"] < 0.1


def test_the_task_shows_what_is_explained():
    parts = MaskedBands(encoder()).losses(make_batch(2, 4, 256))
    assert set(parts) == {"loss", "explained"}


@pytest.mark.parametrize(
    "bad",
    [{"bands_hz": ((20.0, 10.0),)}, {"bands_hz": ((100.0, 140.0),)}, {"subjects": ("a", "a")}],
)
def test_impossible_sizes_are_refused(bad):
    with pytest.raises(ValueError, match="empty or above|repeat"):
        BandEncoderConfig(**bad)
