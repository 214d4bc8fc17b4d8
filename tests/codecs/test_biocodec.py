"""BioCodec: what goes in comes back, channel by channel, at the rate it names."""

import pytest
import torch
from model_batches import channels, make_batch, with_bad_channels

from brainfm.codecs.biocodec import PUBLISHED, BioCodec, BioCodecConfig
from brainfm.codecs.losses import BioCodecLoss
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.tasks.codec import CodecTask


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    codec = BioCodec(BioCodecConfig(preset="test"))
    codec.initialise_codebooks(make_batch(8, seed=5))
    return codec.eval()


def test_sizes_are_the_published_ones():
    eeg, emg = BioCodec(BioCodecConfig("eeg")), BioCodec(BioCodecConfig("emg"))
    assert (eeg.config.hop, emg.config.hop) == (12, 18)
    assert eeg.n_parameters == 3_152_770 and emg.n_parameters == 3_185_538
    assert eeg.bits_per_second(250.0) == 1000.0
    assert emg.bits_per_second(1000.0) == pytest.approx(6 * 8 * 1000 / 18)
    assert eeg.bits_per_second(250.0, n_levels=2) == pytest.approx(1000 / 3)


@pytest.mark.parametrize("t", [128, 120, 7, 1])
def test_a_signal_of_any_length_comes_back_as_long(codec, t):
    batch = make_batch(t=t)
    codes = codec.encode(batch)
    steps = -(-t // 12)
    assert codes.ids_BSWQ.shape == (2, 6, steps, 3)
    assert codes.latent_BSWD.shape == (2, 6, steps, 32)
    assert codec.decode(codes, batch).shape == (2, 6, t)


def test_codes_say_when_they_are(codec):
    codes = codec.encode(make_batch(t=48, sfreq=256.0))
    assert codes.duration_s == 12 / 256
    assert torch.allclose(codes.time_W, torch.arange(4).double() * 12 / 256)


def test_bits_are_those_of_the_codes(codec):
    codes = codec.encode(make_batch(b=1, c=1, t=1200))
    bits = codes.ids_BSWQ[0, 0].numel() * torch.log2(torch.tensor(24.0)).item()
    assert codec.bits_per_second(256.0) == pytest.approx(bits / (1200 / 256.0), rel=1e-6)


def test_stored_ids_alone_give_the_same_signal(codec):
    batch = make_batch()
    codes = codec.encode(batch)
    latent = codec.lookup(codes.ids_BSWQ)
    assert torch.equal(latent, codes.latent_BSWD)


def test_dropping_levels_is_encoding_with_fewer(codec):
    batch = make_batch()
    kept = codec.keep_levels(codec.encode(batch), 2)
    fewer = codec.encode(batch, n_levels=2)
    assert torch.equal(kept.ids_BSWQ, fewer.ids_BSWQ)
    torch.testing.assert_close(codec.decode(kept, batch), codec.decode(fewer, batch))
    for n in (0, 4):
        with pytest.raises(ContractError, match=f"{n} levels were asked for.*1 to 3"):
            codec.keep_levels(codec.encode(batch), n)


def test_a_channel_is_coded_as_if_it_were_alone(codec):
    batch = make_batch()
    alone = codec.encode(channels(batch, torch.tensor([4]))).ids_BSWQ
    assert torch.equal(codec.encode(batch).ids_BSWQ[:, 4:5], alone)


def test_a_step_does_not_depend_on_later_samples(codec):
    batch, later = make_batch(), make_batch()
    later.x_BCWP[..., 60:] += 3.0
    a, b = codec.encode(batch), codec.encode(later)
    # The reflected start reaches a few samples ahead; nothing else does.
    assert torch.equal(a.ids_BSWQ[:, :, :5], b.ids_BSWQ[:, :, :5])
    assert not torch.equal(a.ids_BSWQ, b.ids_BSWQ)


def test_a_gain_changes_what_the_codec_sees_and_nothing_outside():
    torch.manual_seed(0)
    louder = BioCodec(BioCodecConfig(preset="test", gain=4.0))
    plain = BioCodec(BioCodecConfig(preset="test"))
    louder.initialise_codebooks(make_batch(8, seed=5))
    plain.load_state_dict(louder.state_dict())
    batch, times_four = make_batch(), make_batch()
    times_four.x_BCWP *= 4.0
    louder, plain = louder.eval(), plain.eval()
    assert torch.equal(louder.encode(batch).ids_BSWQ, plain.encode(times_four).ids_BSWQ)
    torch.testing.assert_close(4 * louder.reconstruct(batch), plain.reconstruct(times_four))
    with pytest.raises(ValueError, match="gain is 0"):
        BioCodecConfig(preset="test", gain=0.0)


def test_encoding_never_moves_the_codebooks(codec):
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    codec.train().encode(make_batch())
    codec.eval()
    assert all(torch.equal(v, before[k]) for k, v in codec.state_dict().items())


def test_an_untrained_codec_refuses_to_encode():
    with pytest.raises(ContractError, match="holds no codes yet"):
        BioCodec(BioCodecConfig(preset="test")).eval().encode(make_batch())


def test_the_published_program_initialises_at_its_first_forward():
    codec = BioCodec(BioCodecConfig(preset="test", **PUBLISHED)).eval()
    codec.encode(make_batch())
    lengths = codec.quantizer.levels[0].codebook.codes_KE.norm(dim=-1)
    assert torch.allclose(lengths, torch.ones_like(lengths))


def test_saved_and_loaded_it_gives_the_same_codes(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(again.encode(make_batch()).ids_BSWQ, codec.encode(make_batch()).ids_BSWQ)


# Training.


def task(**settings):
    torch.manual_seed(0)
    codec = BioCodec(BioCodecConfig(preset="test", **settings))
    return CodecTask(codec, loss=BioCodecLoss((32, 64)), lr=3e-3, eps=1e-8, weight_decay=0.0)


def waves(b=4, c=6, t=240):
    """Slow waves of random phase: something that few codes can say."""
    g = torch.Generator().manual_seed(1)
    batch = make_batch(b, c, t)
    time = torch.arange(t) / 256
    hz = 3 + 5 * torch.rand(b, c, 1, 1, generator=g)
    phase = 6.28 * torch.rand(b, c, 1, 1, generator=g)
    batch.x_BCWP = torch.sin(6.2832 * hz * time + phase)
    return batch


@pytest.mark.parametrize("settings", [{}, {"unit_codes": True, "dead_count": 2.0}])
def test_training_lowers_the_loss_and_finds_the_waves(settings):
    trained, batch = task(**settings).train(), waves()
    optimizer = torch.optim.Adam(trained.parameters(), 3e-3)
    seen = []
    for step in range(60):
        torch.manual_seed(step)
        parts = trained.losses(batch)
        seen.append({k: float(v.detach()) for k, v in parts.items()})
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    assert seen[-1]["loss"] < 0.8 * seen[0]["loss"]
    assert seen[-1]["pcc"] > 0.5 > seen[0]["pcc"]


def test_bad_channels_take_no_part_in_training():
    plain, more = task().train(), task().train()
    batch = waves()
    torch.manual_seed(3)
    a = plain.losses(batch)
    torch.manual_seed(3)
    b = more.losses(with_bad_channels(batch))
    for name in ("loss", "commit", "perplexity_1"):
        torch.testing.assert_close(a[name], b[name])
    mine, theirs = plain.model.state_dict(), more.model.state_dict()
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-6) for k in mine)


def test_a_batch_of_bad_channels_alone_is_finite():
    batch = make_batch()
    batch.valid_BC[:] = False
    batch.x_BCWP[:] = torch.nan
    loss = task().train().losses(batch)["loss"]
    loss.backward()
    assert loss.isfinite()


def test_a_preview_shows_the_signal_itself(codec):
    batch = waves()
    preview = CodecTask(codec, loss=BioCodecLoss()).eval().preview(batch)
    assert torch.equal(preview.target_BCT, batch.signal_BCT)
    assert preview.reconstruction_BCT.shape == (4, 6, 240)
    assert preview.counts_QK.sum(1).tolist() == [4 * 6 * 20] * 3


def test_codes_by_distance_refine_where_codes_by_angle_do_not():
    """The published flaw, and what mends it: six levels on plain vectors of unequal length."""
    from brainfm.codecs.quantize import QuantizerConfig, ResidualQuantizer

    torch.manual_seed(0)
    x = torch.randn(2000, 8) * torch.rand(2000, 1) ** 2
    left = {}
    for unit in (False, True):
        config = QuantizerConfig(
            dim=8, codebook_dim=8, codebook_size=32, n_levels=6, unit_codes=unit
        )
        quantizer = ResidualQuantizer(config)
        for _ in range(30):
            quantizer(x, update=True)
        latent = quantizer(x, update=False).latent
        left[unit] = ((x - latent).square().sum() / x.square().sum()).item()
    assert left[False] < 0.1
    assert left[True] > 5 * left[False]
