"""BrainTokenizer: sizes, windows, and what it must not notice."""

import pytest
import torch
from model_batches import channels, make_batch, with_bad_channels

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig, unfold_windows
from brainfm.codecs.losses import codec_losses
from brainfm.errors import ContractError


@pytest.fixture(params=["published", "metric"])
def codec(request):
    torch.manual_seed(0)
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", position=request.param))
    model.initialise_codebooks(make_batch(8))
    return model.eval()


def test_published_size():
    assert BrainTokenizer().n_parameters == pytest.approx(5.05e6, rel=2e-3)


def test_explicit_sizes_win_over_the_preset():
    config = BrainTokenizerConfig(preset="test", n_sources=3, ratios=[2, 2])
    assert (config.n_sources, config.ratios, config.window) == (3, (2, 2), 64)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="'huge'.*published"):
        BrainTokenizerConfig(preset="huge")


@pytest.mark.parametrize(
    ("n", "overlap", "starts"),
    [(64, 0, [0]), (200, 0, [0, 64, 128]), (200, 0.25, [0, 48, 96, 144]), (40, 0.25, [0])],
)
def test_windows_start_where_published(n, overlap, starts):
    x = torch.arange(1.0, n + 1)[None, None]
    windows = unfold_windows(x, 64, overlap)
    assert windows[0, 0, :, 0].tolist() == [s + 1 for s in starts]
    beyond = max(0, starts[-1] + 64 - n)
    assert (windows[0, 0, -1] == 0).sum() == beyond


def test_an_overlap_without_a_step_is_refused():
    with pytest.raises(ValueError, match="overlap is 1.0"):
        unfold_windows(torch.zeros(1, 1, 64), 64, 1.0)


def test_codes_know_their_time(codec):
    batch = make_batch(t=128)
    codes = codec.encode(batch, overlap=0.25)
    assert codes.ids_BSWQ.shape == (2, 5, 24, 3)
    assert codes.time_W[[0, 1, 8]].tolist() == [0, 8 / 256, 48 / 256]
    assert codes.duration_s == 8 / 256


def test_decoding_covers_whole_windows_only(codec):
    batch = make_batch(t=150)
    assert codec.reconstruct(batch).shape == (2, 6, 128)
    assert codec.reconstruct(make_batch(t=40)).shape == (2, 6, 40)


def test_overlapping_codes_cannot_be_decoded(codec):
    batch = make_batch(t=128)
    with pytest.raises(ContractError, match="overlap=0"):
        codec.decode(codec.encode(batch, overlap=0.25), batch)


def test_invalid_channels_change_nothing(codec):
    batch = make_batch()
    clean, dirty = codec.encode(batch), codec.encode(with_bad_channels(batch))
    assert torch.equal(clean.ids_BSWQ, dirty.ids_BSWQ)
    torch.testing.assert_close(
        codec.reconstruct(batch), codec.reconstruct(with_bad_channels(batch))[:, 3:]
    )


def test_channel_order_changes_nothing(codec):
    batch, order = make_batch(), torch.tensor([3, 1, 5, 0, 4, 2])
    shuffled = channels(batch, order)
    assert torch.equal(codec.encode(batch).ids_BSWQ, codec.encode(shuffled).ids_BSWQ)
    torch.testing.assert_close(
        codec.reconstruct(batch)[:, order], codec.reconstruct(shuffled), rtol=1e-4, atol=1e-5
    )


def test_a_window_without_valid_channels_gives_finite_codes(codec):
    batch = make_batch()
    batch.valid_BC[0] = False
    batch.x_BCWP[0] = torch.nan
    assert torch.isfinite(codec.reconstruct(batch)).all()


def test_encoding_never_trains_the_codebooks(codec):
    codec.train()
    before = codec.quantizer.levels[0].codebook.codes_KE.clone()
    codec.encode(make_batch())
    assert torch.equal(before, codec.quantizer.levels[0].codebook.codes_KE)


def test_an_untrained_codec_refuses_to_encode():
    with pytest.raises(ContractError, match="no codes yet"):
        BrainTokenizer(BrainTokenizerConfig(preset="test")).encode(make_batch())


def test_kinds_the_weights_do_not_know_are_refused():
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", n_kinds=3))
    with pytest.raises(ContractError, match="kind 4.*0 to 2"):
        model.encode(make_batch(kind=4))


def test_hidden_channels_are_reconstructed_but_not_seen(codec):
    batch = make_batch(c=8)
    perm, noise = torch.arange(8), torch.zeros(2, 6, 2, 64)
    out = codec.training_forward(batch, perm_C=perm, noise_BCNP=noise)
    changed = make_batch(c=8)
    changed.x_BCWP[:, :2] = 5.0
    again = codec.training_forward(changed, perm_C=perm, noise_BCNP=noise)
    assert out.rec_BCNP.shape[1] == 8
    assert torch.equal(out.rec_BCNP, again.rec_BCNP)


def test_one_channel_is_never_hidden(codec):
    batch = channels(make_batch(), torch.tensor([0]))
    assert codec.training_forward(batch).rec_BCNP.shape == (2, 1, 2, 64)


def test_draws_follow_the_generator(codec):
    batch = make_batch()
    a, b, c = (
        codec.training_forward(batch, generator=torch.Generator().manual_seed(s)).rec_BCNP
        for s in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_invalid_channels_do_not_reach_the_gradient():
    torch.manual_seed(0)
    model = BrainTokenizer(BrainTokenizerConfig(preset="test")).train()
    f = model.training_forward(with_bad_channels(make_batch()))
    losses = codec_losses(f.rec_BCNP, f.target_BCNP, f.commit, f.valid_BC)
    losses["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_steps_lower_the_loss():
    torch.manual_seed(0)
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", linear_path=True)).train()
    wave = torch.sin(torch.arange(64) * 0.3) * torch.linspace(0.5, 2, 4)[:, None]
    batch = make_batch(4, 4, 64)
    batch.x_BCWP = wave[None, :, None].expand(4, 4, 1, 64).contiguous()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(30):
        f = model.training_forward(batch)
        loss = codec_losses(f.rec_BCNP, f.target_BCNP, f.commit, f.valid_BC)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.75 * history[0]


def test_half_precision_is_finite():
    torch.manual_seed(0)
    model = BrainTokenizer(BrainTokenizerConfig(preset="test")).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        f = model.training_forward(make_batch())
        losses = codec_losses(f.rec_BCNP, f.target_BCNP, f.commit, f.valid_BC)
    losses["loss"].backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_published_bit_rate():
    assert BrainTokenizer().bits_per_second(256.0) == 2304


def test_linear_path_carries_the_signal_and_is_off_as_published():
    assert not BrainTokenizer(BrainTokenizerConfig(preset="published")).config.linear_path
    torch.manual_seed(0)
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", linear_path=True))
    x = torch.randn(1, 2, 1, 64)
    with_path = model.encode_sensors(x)
    model.patch_in.weight.data.zero_()
    torch.testing.assert_close(
        model.encode_sensors(x)[0, 0, 0], model.encoder(x[:, 0]).transpose(1, 2)[0]
    )
    assert not torch.allclose(with_path, model.encode_sensors(x))


def test_linear_path_learns_in_both_directions():
    torch.manual_seed(0)
    model = BrainTokenizer(BrainTokenizerConfig(preset="test", linear_path=True)).train()
    f = model.training_forward(make_batch())
    codec_losses(f.rec_BCNP, f.target_BCNP, f.commit, f.valid_BC)["loss"].backward()
    assert model.patch_in.weight.grad.abs().sum() > 0
    assert model.patch_out.weight.grad.abs().sum() > 0


def test_units_do_not_matter_to_the_target(codec):
    batch = make_batch()
    perm, noise = torch.arange(6), torch.zeros(2, 5, 2, 64)
    target = codec.training_forward(batch, perm_C=perm, noise_BCNP=noise).target_BCNP
    batch.x_BCWP = batch.x_BCWP * 50
    again = codec.training_forward(batch, perm_C=perm, noise_BCNP=noise).target_BCNP
    torch.testing.assert_close(target, again, rtol=1e-3, atol=1e-4)


def test_sensors_without_position_are_read(codec):
    batch = make_batch()
    batch.pos_BC3[:, 2] = torch.nan
    assert torch.isfinite(codec.reconstruct(batch)).all()
