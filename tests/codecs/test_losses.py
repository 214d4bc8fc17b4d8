"""Codec losses on signals with known answers."""

import math

import torch

from brainfm.codecs.losses import (
    codec_losses,
    correlation,
    normalise_target,
    spectral_losses,
    time_loss,
)


def _signal(seed=0):
    return torch.randn(2, 3, 2, 64, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_reconstruction_costs_only_the_exponential_of_its_correlation():
    x = normalise_target(_signal())
    losses = codec_losses(x, x, torch.tensor(0.25))
    assert losses["time"] == losses["amp"] == losses["phase"] == 0
    torch.testing.assert_close(losses["pcc"], torch.tensor(1.0))
    torch.testing.assert_close(losses["loss"], torch.tensor(math.exp(-1) + 0.25))


def test_target_has_unit_variance_and_a_flat_channel_stays_zero():
    x = _signal() * 7 + 3
    x[0, 0] = 5.0
    z = normalise_target(x)
    torch.testing.assert_close(z[1].std(-1), torch.ones(3, 2), rtol=1e-4, atol=1e-4)
    assert (z[0, 0] == 0).all()


def test_correlation_ignores_scale_and_sees_sign():
    x = _signal()
    torch.testing.assert_close(correlation(3 * x + 1, x), torch.tensor(1.0))
    torch.testing.assert_close(correlation(-x, x), torch.tensor(-1.0))


def test_a_sign_flip_is_all_phase_and_no_amplitude():
    x = _signal()
    amplitude, phase = spectral_losses(-x, x)
    torch.testing.assert_close(amplitude, torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(phase, torch.tensor(torch.pi), atol=1e-3, rtol=0)


def test_invalid_channels_cost_nothing_even_when_they_are_nan():
    rec, target = _signal(1), _signal(2)
    valid = torch.tensor([[True, False, True], [True, True, True]])
    rec[0, 1], target[0, 1] = 1e6, torch.nan
    got = time_loss(rec, target, valid)
    kept = [(rec - target)[b, c].abs().mean() for b in range(2) for c in range(3) if valid[b, c]]
    torch.testing.assert_close(got, torch.stack(kept).mean())


def test_constant_signals_have_finite_gradients():
    rec = torch.zeros(1, 1, 1, 32, requires_grad=True)
    codec_losses(rec, torch.zeros(1, 1, 1, 32), torch.tensor(0.0))["loss"].backward()
    assert torch.isfinite(rec.grad).all()
