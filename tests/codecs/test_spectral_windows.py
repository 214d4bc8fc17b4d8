"""SpectralCodec window by window: known integers, sizes of channels, and who sees whom."""

from dataclasses import replace

import pytest
import torch
from model_batches import make_batch, with_bad_channels

from brainfm.codecs.spectral import SpectralCodec, SpectralCodecConfig
from brainfm.codecs.transform import cosines, transformed
from brainfm.errors import ContractError
from brainfm.types import Codes


def codec(**settings):
    torch.manual_seed(0)
    made = SpectralCodec(SpectralCodecConfig(block=64, **settings))
    torch.nn.init.normal_(made.context.leave.weight, std=0.02)
    return made.eval()


def holding(x_BCT):
    """A batch of these samples."""
    batch = make_batch(*x_BCT.shape)
    return replace(batch, x_BCWP=x_BCT[:, :, None].float())


def test_a_cosine_is_one_integer_in_each_block():
    wave = cosines(64)[5] * 8  # of deviation 1: its coefficient is 8
    codes = codec(saving=0.0).encode(holding(wave.repeat(2)[None, None]), 0.5)
    assert codes.ids_BSWQ[0, 0].nonzero().tolist() == [[0, 5], [1, 5]]
    assert codes.ids_BSWQ[0, 0, :, 5].tolist() == [16, 16]
    assert codes.size_BS.tolist() == [[0]]


@pytest.mark.parametrize("octaves", [-20, -1, 3, 20])
def test_octaves_of_loudness_move_the_size_alone(octaves):
    made, batch = codec(), make_batch(2, 3, 128)
    plain = made.encode(batch)
    moved = made.encode(replace(batch, x_BCWP=batch.x_BCWP * 2.0**octaves))
    assert torch.equal(moved.size_BS, plain.size_BS + 2 * octaves)
    assert torch.equal(moved.ids_BSWQ, plain.ids_BSWQ)
    torch.testing.assert_close(moved.latent_BSWD, plain.latent_BSWD * 2.0**octaves)


def test_each_window_has_blocks_as_long_as_code_it_best():
    torch.manual_seed(0)
    made = SpectralCodec(SpectralCodecConfig(block=256, shortest=8)).eval()
    x_BCT = torch.zeros(3, 1, 256)
    x_BCT[0, 0, 70], x_BCT[2, 0, 200] = 1.0, -1.0
    x_BCT[1] = cosines(256)[7]
    batch = holding(x_BCT)
    codes = made.encode(batch, 0.5)
    assert codes.length_B.tolist() == [8, 256, 8]
    assert codes.ids_BSWQ[0, 0].nonzero()[:, 1].max() < 80  # the block of the spike, in its row
    again = made.unpack(made.pack(codes, batch), batch)
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)
    assert torch.equal(again.length_B, codes.length_B)
    assert torch.equal(made.decode(again, batch), made.decode(codes, batch))
    long = SpectralCodec(SpectralCodecConfig(block=256, shortest=256)).eval()
    assert (made.code(batch, 0.5)[1] <= long.code(batch, 0.5)[1]).all()
    foreign = Codes(codes.ids_BSWQ, codes.latent_BSWD, codes.time_W, 1.0, 0.5, codes.size_BS)
    with pytest.raises(ContractError, match="not those of a SpectralCodec"):
        made.decode(foreign, batch)


def test_training_draws_short_blocks_and_remembers_rates_of_long_ones():
    made, batch = codec(shortest=16), make_batch(4, 3, 128)
    seen = []
    made.neighbours = lambda b, shape: (
        seen.append(shape[-1]), SpectralCodec.neighbours(made, b, shape))[1]  # fmt: skip
    for i in range(60):
        made.training_forward(batch, generator=torch.Generator().manual_seed(i))
    assert {k: seen.count(k) > 5 for k in seen} == {64: True, 32: True, 16: True}
    assert 20 < seen.count(64) < 40
    made.train()
    made.training_forward(batch, generator=torch.Generator().manual_seed(seen.index(16)))
    assert made.rate_N.isnan().all()
    made.training_forward(batch, generator=torch.Generator().manual_seed(seen.index(64)))
    assert not made.rate_N.isnan().all()


def test_a_loud_channel_does_not_drown_a_quiet_one():
    batch = make_batch(1, 3, 128)
    batch.x_BCWP[0, 1] *= 1e6
    rec_BCT, _ = codec().code(batch, 0.25)
    x = batch.signal_BCT
    share_C = ((rec_BCT - x).square().mean(-1) / x.square().mean(-1))[0]
    assert share_C.max() < 0.05
    assert share_C.max() < 4 * share_C.min()


def test_an_upside_down_signal_has_opposite_integers():
    made, batch = codec(saving=0.0, shortest=64), make_batch(2, 3, 128)
    turned = replace(batch, x_BCWP=-batch.x_BCWP)
    assert torch.equal(made.encode(turned).ids_BSWQ, -made.encode(batch).ids_BSWQ)


def test_rounding_misses_a_coefficient_by_less_than_a_cell():
    made, batch = codec(saving=0.0), make_batch(2, 3, 192)
    codes = made.encode(batch, 0.5)
    x_BCT, half_BC = made._unit(batch)
    true = transformed(x_BCT, codes.ids_BSWQ.shape[-1])
    assert (true / 0.5 - codes.ids_BSWQ).abs().max() < 1.0
    assert torch.equal(codes.size_BS, half_BC.long())


def test_saving_moves_integers_only_one_towards_zero():
    batch = make_batch(3, 3, 128)
    plain = codec(saving=0.0, rounding=0.5, shortest=64).encode(batch, 0.5).ids_BSWQ
    thrifty = codec(saving=0.5, shortest=64).encode(batch, 0.5).ids_BSWQ
    less = plain.abs() - thrifty.abs()
    assert set(less.unique().tolist()) == {0, 1}
    assert (plain.sign() * thrifty >= 0).all()


def test_what_invalid_channels_hold_changes_nothing():
    made, batch = codec(), with_bad_channels(make_batch(2, 4, 128))
    clean = replace(batch, x_BCWP=batch.x_BCWP.clone())
    clean.x_BCWP[:, :3] = 0.0
    junk, zero = made.encode(batch), made.encode(clean)
    assert torch.equal(junk.ids_BSWQ, zero.ids_BSWQ)
    assert torch.equal(made.decode(junk, batch), made.decode(zero, clean))
    assert made.pack(junk, batch) == made.pack(zero, clean)


def test_invalid_channels_are_not_written():
    made, batch = codec(), make_batch(2, 4, 128)
    more = with_bad_channels(batch)
    a, b = (len(made.pack(made.encode(x), x)) for x in (batch, more))
    assert abs(a - b) < 0.02 * a


def test_a_window_is_coded_as_if_it_were_alone():
    made, batch = codec(shortest=64), make_batch(3, 4, 128)  # a batch shares a length
    batch = replace(batch, pos_BC3=batch.pos_BC3[:1].expand(3, -1, -1).clone())
    whole, bits_B = made.code(batch, 0.5)
    for i in range(3):
        one = replace(
            batch,
            **{
                name: getattr(batch, name)[i : i + 1]
                for name in ("x_BCWP", "pos_BC3", "ori_BC3", "kind_BC", "valid_BC", "time_BW")
                + ("scale_BC", "offset_BC")
            },
        )
        rec_BCT, bits = made.code(one, 0.5)
        torch.testing.assert_close(rec_BCT[0], whole[i])
        assert bits[0] == pytest.approx(bits_B[i], rel=1e-6)


def test_code_is_encode_and_decode():
    made, batch = codec(), make_batch(2, 3, 127)
    rec_BCT, _ = made.code(batch, 0.5)
    torch.testing.assert_close(rec_BCT, made.decode(made.encode(batch, 0.5), batch))


def test_the_step_of_the_configuration_is_the_usual_one():
    made, batch = codec(step=1.0), make_batch(1, 2, 128)
    assert torch.equal(made.encode(batch).ids_BSWQ, made.encode(batch, 1.0).ids_BSWQ)
    assert made.encode(batch).step == 1.0
    assert made.encode(batch, 0.25).step == 0.25


def test_bytes_of_a_step_that_is_not_allowed_are_refused():
    fine, coarse = codec(), codec(finest=0.1)
    batch = make_batch(1, 2, 128)
    content = fine.pack(fine.encode(batch, 0.01), batch)
    with pytest.raises(ContractError, match="step is 0.01.* was trained for 0.1 to 8"):
        coarse.unpack(content, batch)


@pytest.mark.parametrize("step", [2.0, 2.0**-12])
def test_a_folder_keeps_the_signal_and_the_rates(tmp_path, step):
    made, batch = codec(), make_batch(2, 3, 127)
    made.train().training_forward(batch)
    made.eval().save_pretrained(tmp_path)
    again = SpectralCodec.from_pretrained(tmp_path).eval()
    codes = again.unpack(made.pack(made.encode(batch, step), batch), batch)
    assert torch.equal(again.decode(codes, batch), made.code(batch, step)[0])
    torch.testing.assert_close(again.rate_N, made.rate_N, equal_nan=True)
    assert again.rates == made.rates


def test_what_is_left_of_a_stream_is_a_short_window():
    made, batch = codec(), make_batch(1, 3, 228)
    stream = made.stream(batch, window=128)
    assert stream.latency_s == 0.5
    (first,), (rest,) = stream.push(batch.signal_BCT[0]), stream.flush()
    for codes, part in ((first, slice(0, 128)), (rest, slice(128, 228))):
        alone = made.encode(replace(batch, x_BCWP=batch.x_BCWP[..., part]))
        assert torch.equal(codes.ids_BSWQ, alone.ids_BSWQ)
    assert rest.time_W[0] == 0.5
    with pytest.raises(ContractError, match="has ended"):
        stream.push(batch.signal_BCT[0])


def test_training_draws_follow_the_generator():
    made, batch = codec(), make_batch(4, 3, 128)
    losses = [
        made.training_forward(batch, generator=torch.Generator().manual_seed(s)).loss
        for s in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_training_step_moves_weights_and_fingerprint():
    made, batch = codec().train(), make_batch(4, 3, 128)
    before = made.fingerprint()
    optimizer = torch.optim.SGD(made.parameters(), 1e-2)
    made.training_forward(batch).loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
    optimizer.step()
    assert made.fingerprint() != before


def test_only_training_remembers_rates():
    made, batch = codec(), make_batch(4, 3, 128)
    made.training_forward(batch)
    assert made.rate_N.isnan().all()
    made.train().training_forward(batch)
    assert 1 <= int((~made.rate_N.isnan()).sum()) <= 4


def test_bad_channels_take_no_part_in_training():
    made, batch = codec(), with_bad_channels(make_batch(2, 4, 128))
    clean = replace(batch, x_BCWP=batch.x_BCWP.clone())
    clean.x_BCWP[:, :3] = 7.0
    a, b = (
        made.training_forward(x, generator=torch.Generator().manual_seed(3)) for x in (batch, clean)
    )
    assert torch.isfinite(a.loss)
    assert torch.equal(a.loss, b.loss)
