"""SpectralCodec on awkward batches: odd lengths, no positions, silence, streams, folders."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.codecs.spectral import LENGTH_BITS, SpectralCodec, SpectralCodecConfig
from brainfm.codecs.spectral_bytes import HEAD, MAGIC
from brainfm.codecs.transform import block_of, lengths_of
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.types import SignalBatch


def codec(seed=0, **settings):
    torch.manual_seed(seed)
    made = SpectralCodec(SpectralCodecConfig(block=64, **settings))
    torch.nn.init.normal_(made.context.leave.weight, std=0.02)
    return made.eval()


def back(made: SpectralCodec, batch: SignalBatch, step=0.25):
    """Codes, and what comes back from their bytes."""
    codes = made.encode(batch, step)
    return codes, made.unpack(made.pack(codes, batch), batch)


@pytest.mark.parametrize("t", [64, 100, 127, 192, 510])
def test_windows_of_any_length_come_back(t):
    batch = make_batch(2, 3, t)
    codes, again = back(codec(), batch)
    assert codes.ids_BSWQ.shape[2:] == (t // block_of(t, 64), block_of(t, 64))
    assert set(codes.length_B.tolist()) <= set(lengths_of(t, 64, 32))
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)
    assert codec().decode(codes, batch).shape == (2, 3, t)


def test_a_single_channel_comes_back():
    codes, again = back(codec(), make_batch(3, 1, 128))
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)


def test_channels_without_positions_come_back():
    batch = make_batch(1, 20, 128)
    batch.pos_BC3[:] = torch.nan
    codes, again = back(codec(), batch)
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)
    assert torch.isfinite(codes.latent_BSWD).all()


def test_rows_may_have_other_bad_channels():
    batch = make_batch(3, 4, 128)
    batch.valid_BC[0, 1] = batch.valid_BC[2] = False
    codes, again = back(codec(), batch)
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)
    rec_BCT = codec().decode(again, batch)
    assert (rec_BCT[~batch.valid_BC] == 0).all()
    _, bits_B = codec().code(batch, 0.25)
    assert bits_B[2] == LENGTH_BITS


def test_a_batch_without_a_valid_channel_costs_a_byte():
    batch = make_batch(1, 2, 128)
    batch.valid_BC[:] = False
    _, bits_B = codec().code(batch, 0.25)
    assert bits_B.tolist() == [LENGTH_BITS]
    codes, again = back(codec(), batch)
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)


def test_silence_is_cheap_and_stays_silent():
    batch = make_batch(1, 2, 128)
    batch.x_BCWP[0, 0] = 0.0
    rec_BCT, _ = codec().code(batch, 0.25)
    assert rec_BCT[0, 0].abs().max() < 1e-6
    alone = replace(batch, x_BCWP=torch.zeros_like(batch.x_BCWP))
    noise = make_batch(1, 2, 128)
    assert codec().code(alone, 0.25)[1][0] < 0.2 * codec().code(noise, 0.25)[1][0]


@pytest.mark.parametrize("gain", [1e-9, 1e-3, 1.0, 1e6])
def test_loudness_changes_neither_the_relative_error_nor_the_bits_much(gain):
    plain, loud = make_batch(2, 3, 128), make_batch(2, 3, 128)
    loud.x_BCWP *= gain
    made = codec()
    (a, bits_a), (b, bits_b) = made.code(plain, 0.25), made.code(loud, 0.25)
    error = [
        float((r - x.signal_BCT).double().square().mean() / x.signal_BCT.double().square().mean())
        for r, x in ((a, plain), (b, loud))
    ]
    assert error[0] == pytest.approx(error[1], rel=0.5)
    assert bits_a.sum() == pytest.approx(bits_b.sum(), rel=0.1)


def test_rates_go_from_coarse_to_fine_inside_what_was_trained():
    made = codec(finest=0.01, coarsest=4.0)
    assert list(made.rates) == sorted(made.rates, reverse=True)
    assert min(made.rates) >= 0.01 and max(made.rates) <= 4.0
    assert len(set(made.rates)) == len(made.rates) > 5


def test_saving_bits_costs_error_and_can_be_switched_off():
    batch = make_batch(4, 3, 256)
    thrifty, plain = codec(saving=1.0), codec(saving=0.0)
    plain.load_state_dict(thrifty.state_dict())
    (rec_a, bits_a), (rec_b, bits_b) = thrifty.code(batch, 1.0), plain.code(batch, 1.0)
    x = batch.signal_BCT
    assert bits_a.sum() < bits_b.sum()
    assert (rec_a - x).square().sum() > (rec_b - x).square().sum()


def test_a_loaded_codec_reads_what_another_process_wrote(tmp_path):
    made, batch = codec(), make_batch(2, 3, 128)
    content = made.pack(made.encode(batch, 0.5), batch)
    made.save_pretrained(tmp_path)
    again = load_model(tmp_path).eval()
    assert torch.equal(again.unpack(content, batch).ids_BSWQ, made.encode(batch, 0.5).ids_BSWQ)
    assert again.fingerprint() == made.fingerprint()


def test_training_changes_the_fingerprint():
    made = codec()
    before = made.fingerprint()
    with torch.no_grad():
        made.context.leave.bias += 1e-3
    assert made.fingerprint() != before


def test_a_stream_gives_the_codes_of_each_window():
    made, batch = codec(), make_batch(1, 3, 256)
    stream = made.stream(batch, window=128)
    given = [c for part in batch.signal_BCT[0].split(50, dim=1) for c in stream.push(part)]
    given += stream.flush()
    for k, codes in enumerate(given):
        one = replace(batch, x_BCWP=batch.signal_BCT[:, :, None, 128 * k : 128 * (k + 1)])
        assert torch.equal(codes.ids_BSWQ, made.encode(one).ids_BSWQ)
    assert len(given) == 2


def test_another_order_of_windows_gives_the_same_codes():
    made, batch = codec(), make_batch(3, 3, 128)
    turned = replace(batch, x_BCWP=batch.x_BCWP.flip(0))
    assert torch.equal(made.encode(batch).ids_BSWQ.flip(0), made.encode(turned).ids_BSWQ)


def test_levels_are_neither_dropped_nor_looked_up():
    made, batch = codec(), make_batch(1, 2, 128)
    codes = made.encode(batch)
    assert made.keep_levels(codes, 1) is codes
    with pytest.raises(ContractError, match="no levels to drop"):
        made.keep_levels(codes, 3)
    with pytest.raises(ContractError, match="mean nothing without"):
        made.lookup(codes.ids_BSWQ)


def test_times_are_those_of_blocks():
    codes = codec(shortest=64).encode(make_batch(1, 2, 256))
    np.testing.assert_allclose(codes.time_W.numpy(), [0.0, 0.25, 0.5, 0.75])
    assert codes.duration_s == 0.25


@pytest.mark.parametrize("level", [5.0, -3e-7, 1e4])
@pytest.mark.parametrize("step", [0.25, 2.0**-18])
def test_a_channel_that_does_not_move_has_integers_that_add_up_exactly(level, step):
    made, batch = codec(), make_batch(1, 3, 256)
    batch.x_BCWP[0, 1] = level
    codes, again = back(made, batch, step)
    assert codes.ids_BSWQ.abs().max() < 2**38  # times weights, their sums stay below 2^53
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)
    rec_BCT = made.decode(again, batch)
    assert (rec_BCT[0, 1] - level).abs().max() < 2e-4 * step * abs(level) + 1e-6 * abs(level)


def test_a_small_wave_on_a_large_offset_is_kept_as_well_as_single_precision_has_it():
    made, batch = codec(), make_batch(1, 2, 256)
    batch.x_BCWP += 1e5
    rec_BCT, _ = made.code(batch, 2.0**-6)
    assert (rec_BCT - batch.signal_BCT).abs().max() < 0.5


def test_most_training_steps_are_coarse():
    config = SpectralCodecConfig()
    log_step = config.log_step(torch.linspace(0, 1, 1001))
    assert float(log_step[0]) == pytest.approx(-18) and float(log_step[-1]) == pytest.approx(3)
    assert (log_step.diff() >= 0).all()
    assert float((log_step > -3).float().mean()) == pytest.approx(0.75, abs=0.01)


def test_one_rate_can_be_trained_alone():
    made = codec(step=0.5, finest=0.5, coarsest=0.5).train()
    out = made.training_forward(make_batch(2, 3, 128))
    assert torch.isfinite(out.loss)
    assert made.bits_per_second(256.0) > 0


@pytest.mark.parametrize("halved", [7, 200])
def test_blocks_that_cannot_be_are_refused(halved):
    made, batch = codec(), make_batch(1, 2, 128)
    content = bytearray(made.pack(made.encode(batch), batch))
    content[len(MAGIC) + HEAD.size] = halved  # of 64 samples, no more than six times
    with pytest.raises(ContractError, match="blocks of no length"):
        made.unpack(bytes(content), batch)
