"""SpectralCodec: any rate from one model, bytes that come back to the bit, guesses that help."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import channels, make_batch, with_bad_channels
from scipy.fft import dct

from brainfm.codecs.context import ContextConfig, ContextModel, plog2
from brainfm.codecs.neighbours import OWN, PER_REFERENCE
from brainfm.codecs.spectral import SpectralCodec, SpectralCodecConfig
from brainfm.codecs.transform import block_of, cosines, placed, quantise
from brainfm.errors import ContractError
from brainfm.tasks.rate import RateTask

STEPS = (4.0, 0.25, 2.0**-10)


def smooth(b=4, c=5, t=256, seed=0):
    """Slow waves that all channels share, and a little noise of their own."""
    batch = make_batch(b, c, t, seed=seed)
    g = torch.Generator().manual_seed(seed + 1)
    slow = torch.randn(b, 1, t, generator=g).cumsum(-1)
    slow = (slow - slow.mean(-1, keepdim=True)) / slow.std(-1, keepdim=True)
    return replace(batch, x_BCWP=(slow + 0.05 * batch.signal_BCT)[:, :, None])


@pytest.fixture(scope="module")
def codec():
    """Trained for a moment."""
    torch.manual_seed(0)
    model = SpectralCodec(SpectralCodecConfig(block=64)).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for i in range(120):
        loss = model.training_forward(smooth(8, seed=100 + i)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def test_the_transform_is_scipys():
    x = np.random.default_rng(0).normal(size=(3, 48))
    ours = torch.from_numpy(x) @ cosines(48).T
    np.testing.assert_allclose(ours.numpy(), dct(x, norm="ortho"), atol=1e-12)


@pytest.mark.parametrize(("n", "block"), [(512, 256), (510, 255), (102, 102), (2039, 2039)])
def test_windows_are_cut_into_whole_blocks(n, block):
    assert block_of(n, 256) == block


def test_the_dead_zone_is_as_wide_as_said():
    x = torch.tensor([0.6, 0.7, -0.6, -1.7, 2.6])
    assert quantise(x, 1.0, 1 / 3).tolist() == [0, 1, 0, -2, 2]


def test_coefficients_lie_inside_their_cells_as_told():
    inside = torch.tensor([0.1, 0.2, 0.3]).expand(4, 3)
    got = placed(torch.tensor([0.0, 1.0, -1.0, -5.0]), inside)
    torch.testing.assert_close(got, torch.tensor([0.1, 1.2, -1.2, -5.3]))


@pytest.mark.parametrize("step", STEPS)
def test_packed_codes_come_back_to_the_bit(codec, step):
    batch = with_bad_channels(smooth(2))
    codes = codec.encode(batch, step)
    content = codec.pack(codes, batch)
    empty = replace(batch, x_BCWP=torch.zeros_like(batch.x_BCWP))  # samples are not looked at
    again = codec.unpack(content, empty)
    assert torch.equal(again.ids_BSWQ, codes.ids_BSWQ)
    assert torch.equal(codec.decode(again, empty), codec.decode(codes, batch))


@pytest.mark.parametrize("step", STEPS)
def test_the_told_length_is_that_of_the_bytes(codec, step):
    batch = smooth(4)
    _, bits_B = codec.code(batch, step)
    written = 8 * len(codec.pack(codec.encode(batch, step), batch))
    assert bits_B.sum() < written < 1.02 * bits_B.sum() + 600


@pytest.mark.parametrize("step", STEPS)
def test_the_error_is_that_of_the_step(codec, step):
    batch = smooth()
    rec_BCT, _ = codec.code(batch, step)
    x = batch.signal_BCT
    error = (rec_BCT - x).square().mean(-1) / x.var(-1, correction=0)
    # Sizes are told in half octaves, hence within a factor of 2^(1/4).
    assert error.max() < (step * 2**0.25) ** 2 * 0.5


def test_a_finer_step_costs_more_and_loses_less(codec):
    batch = smooth()
    made = [codec.code(batch, s) for s in codec.rates[::4]]
    bits = [b.sum() for _, b in made]
    error = [float((r - batch.signal_BCT).square().sum()) for r, _ in made]
    assert bits == sorted(bits)
    assert error == sorted(error, reverse=True)


def test_training_and_neighbouring_channels_save_bits(codec):
    batch = smooth(seed=7)
    _, mine = codec.code(batch, 0.25)
    fresh = SpectralCodec(codec.config)
    _, untrained = fresh.code(batch, 0.25)
    alone = replace(batch, valid_BC=torch.zeros_like(batch.valid_BC))
    apart = 0.0
    for c in range(5):
        one = channels(alone, torch.tensor([c]))
        one.valid_BC[:] = True
        apart += codec.code(one, 0.25)[1].sum()
    assert mine.sum() < 0.9 * untrained.sum()
    assert mine.sum() < 0.97 * apart


def test_exact_guesses_do_not_depend_on_how_many_are_made_at_once():
    torch.manual_seed(0)
    model = ContextModel(ContextConfig(n_references=2))
    torch.nn.init.normal_(model.leave.weight, std=0.1)
    near = torch.randint(-(2**24), 2**24, (1, 500, len(OWN) + 2 * PER_REFERENCE)).double()
    zero = torch.zeros(1, 500)
    args = (torch.randn(1, 500, 10).double(), torch.randint(64, (1, 500)), zero, zero)
    whole = model(near, *args, exact=True)
    for part in (slice(0, 1), slice(3, 20), slice(499, 500)):
        some = model(near[:, part], *(a[:, part] for a in args), exact=True)
        for a, b in zip(whole[:3], some[:3], strict=True):
            assert torch.equal(a[:, part], b)


def test_exact_guesses_are_close_to_those_that_train(codec):
    batch = smooth(1)
    q = codec.encode(batch, 0.25).ids_BSWQ
    (_, exact), (_, loose) = (next(codec.guesses(q, batch, 0.25, e)) for e in (True, False))
    assert (exact.log_scale - loose.log_scale).abs().mean() < 0.05
    assert (exact.mean - loose.mean).abs().mean() < 0.05


def test_logarithms_are_exact_at_powers_of_two():
    n = torch.tensor([0.0, 1.0, 2.0, 3.0, 7.0, 2.0**30 - 1], dtype=torch.float64)
    assert plog2(n).tolist() == [0.0, 1.0, 1.5, 2.0, 3.0, 30.0]


def test_the_rate_of_training_is_remembered(codec):
    rates = [codec.bits_per_second(256.0, s) for s in (2.0, 0.25, 2.0**-8)]
    assert rates == sorted(rates) and rates[0] > 0
    assert math.isnan(SpectralCodec().bits_per_second(256.0))


@pytest.mark.parametrize("step", [100.0, 2.0**-30])
def test_a_step_that_training_never_saw_is_refused(codec, step):
    with pytest.raises(ContractError, match="was trained for"):
        codec.encode(smooth(1), step)


def test_foreign_and_damaged_bytes_are_refused(codec):
    batch = smooth(2)
    content = codec.pack(codec.encode(batch), batch)
    for bad in (b"RIFF" + content, content[:10]):
        with pytest.raises(ContractError, match="no codes of a SpectralCodec"):
            codec.unpack(bad, batch)
    with pytest.raises(ContractError, match="cut off|damaged"):
        codec.unpack(content[: len(content) // 2], batch)
    with pytest.raises(ContractError, match="2 windows of 5 channels"):
        codec.unpack(content, smooth(2, c=6))


def test_codes_of_another_codec_are_not_packed(codec):
    batch = smooth(1)
    with pytest.raises(ContractError, match="no step"):
        codec.pack(replace(codec.encode(batch), step=None), batch)


def test_the_task_shows_bits(codec):
    parts = RateTask(SpectralCodec(SpectralCodecConfig(block=64))).losses(smooth(2))
    assert set(parts) == {"loss", "bits", "inside"}
    assert all(torch.isfinite(v) for v in parts.values())


@pytest.mark.parametrize(
    "bad", [{"step": 20.0}, {"rounding": 0.9}, {"finest": 0.0}, {"shortest": 512}]
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match="must"):
        SpectralCodecConfig(**bad)
