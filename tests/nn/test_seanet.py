"""The SEANet forward is the library's, only faster."""

from dataclasses import replace

import pytest
import torch

from brainfm.nn.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder, run_library

CONFIGS = {
    "published widths": SEANetConfig(),
    "odd ratios": SEANetConfig(dim=24, n_filters=4, ratios=(5, 3), kernel=7, last_kernel=3),
    "causal, two residual blocks, true skip": SEANetConfig(
        dim=16,
        n_filters=4,
        ratios=(3, 2),
        causal=True,
        n_residual=2,
        conv_shortcut=False,
        compress=1,
    ),
}


def _gradients(y, inputs, seed=0):
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    return torch.autograd.grad(y, inputs, g)


def _close(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()) + 1e-6)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("extra", [0, 1])
def test_fast_encoder_is_the_library_encoder(name, extra):
    torch.manual_seed(0)
    config = CONFIGS[name]
    encoder = SEANetEncoder(config)
    x = torch.randn(3, 1, 3 * config.hop + extra, requires_grad=True)
    mine, theirs = encoder(x), run_library(encoder.layers, x)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    inputs = [x, *encoder.parameters()]
    _close(_gradients(mine, inputs), _gradients(theirs, inputs))


@pytest.mark.parametrize("name", CONFIGS)
def test_fast_decoder_is_the_library_decoder(name):
    torch.manual_seed(0)
    config = CONFIGS[name]
    decoder = SEANetDecoder(config)
    h = torch.randn(3, config.dim, 4, requires_grad=True)
    mine, theirs = decoder(h), run_library(decoder.layers, h)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    inputs = [h, *decoder.parameters()]
    _close(_gradients(mine, inputs), _gradients(theirs, inputs))


def test_a_signal_shorter_than_the_padding_is_extended_with_zeros():
    encoder = SEANetEncoder(SEANetConfig(dim=8, n_filters=2, ratios=(2, 2), kernel=9))
    x = torch.randn(2, 1, 3)
    torch.testing.assert_close(encoder(x), run_library(encoder.layers, x))


def test_exact_mode_is_the_library_to_the_last_bit():
    config = replace(CONFIGS["odd ratios"], exact=True)
    encoder, x = SEANetEncoder(config), torch.randn(2, 1, 45)
    assert torch.equal(encoder(x), run_library(encoder.layers, x))


def test_half_precision_stays_finite_and_near():
    encoder = SEANetEncoder(SEANetConfig(dim=16, n_filters=4, ratios=(4, 2)))
    x = torch.randn(2, 1, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder(x)
    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), encoder(x), rtol=0.1, atol=0.05)


def test_frames_are_one_per_hop_rounded_up():
    config = SEANetConfig(dim=8, n_filters=2, ratios=(4, 2))
    encoder, decoder = SEANetEncoder(config), SEANetDecoder(config)
    h = encoder(torch.randn(1, 1, 41))
    assert h.shape == (1, 8, 6)
    assert decoder(h).shape == (1, 1, 48)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_few_sequences_at_a_time_give_what_all_at_once_do(name, monkeypatch):
    torch.manual_seed(0)
    config = CONFIGS[name]
    encoder, decoder = SEANetEncoder(config), SEANetDecoder(config)
    x = torch.randn(7, 1, 4 * config.hop + 1)
    h = torch.randn(7, config.dim, 4)
    whole = encoder(x).detach(), decoder(h).detach()
    for cached in (1, 2**10, 2**20):
        monkeypatch.setattr("brainfm.nn.seanet.CACHED", cached)
        with torch.inference_mode():
            torch.testing.assert_close(encoder(x), whole[0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(decoder(h), whole[1], rtol=1e-5, atol=1e-5)


def test_a_frozen_one_gives_the_same_and_lays_out_nothing_again(monkeypatch):
    torch.manual_seed(0)
    encoder, x = SEANetEncoder(CONFIGS["odd ratios"]), torch.randn(2, 1, 45)
    with torch.inference_mode():
        before = encoder(x)
        encoder.freeze()
        monkeypatch.setattr("brainfm.nn.seanet.prepare", None)
        assert torch.equal(encoder(x), before)


def test_a_frozen_one_in_half_precision_is_near_the_single_one():
    torch.manual_seed(0)
    encoder, x = SEANetEncoder(CONFIGS["odd ratios"]), torch.randn(2, 1, 450)
    with torch.inference_mode():
        single = encoder(x)
        with torch.autocast("cpu", torch.bfloat16):
            encoder.freeze()
            half = encoder(x)
    assert half.dtype == torch.bfloat16
    assert (half - single).norm() < 0.05 * single.norm()
