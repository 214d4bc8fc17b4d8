"""Codec losses on signals with known answers."""

import math

import pytest
import torch

from brainfm.codecs.losses import (
    BioCodecLoss,
    BrainTokenizerLoss,
    DistortionLoss,
    codec_losses,
    correlation,
    multiscale_loss,
    normalise_target,
    phasors,
    signal_to_distortion,
    spectral_losses,
    time_loss,
)
from brainfm.errors import ContractError


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


def test_phasors_of_a_tone_turn_where_its_amplitude_stays():
    t = torch.arange(256)
    x = torch.sin(2 * torch.pi * 4 * t / 32)  # exactly the fourth bin of 32
    size, cos, sin = phasors(x[None], 32)[0]
    torch.testing.assert_close(size[4, 8:-8], torch.full_like(size[4, 8:-8], math.log1p(8.0)))
    assert (size[10, 8:-8] < 0.01).all()
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones_like(cos))
    turned = torch.atan2(sin, cos)[4, 8:-8].diff() % (2 * torch.pi)
    torch.testing.assert_close(turned, torch.full_like(turned, torch.pi))  # four samples a frame


def test_silence_has_a_phase_and_gradients():
    x = torch.zeros(1, 1, 1, 64, requires_grad=True)
    size, cos, sin = phasors(x, 32)[0, 0, 0]
    assert (size == 0).all() and (cos == 1).all() and (sin == 0).all()
    multiscale_loss(x, _signal()[:1, :1, :1], (32,)).backward()
    assert torch.isfinite(x.grad).all()


def test_scales_sum_and_those_too_long_are_left_out():
    a, b = _signal(1), _signal(2)  # 64 samples: 128 reflects 56, 256 would reflect 112
    both = multiscale_loss(a, b, (32, 64))
    torch.testing.assert_close(both, multiscale_loss(a, b, (32,)) + multiscale_loss(a, b, (64,)))
    torch.testing.assert_close(multiscale_loss(a, b, (32, 64, 256)), both)
    with pytest.raises(ContractError, match="64 samples are too short for spectra of 256"):
        multiscale_loss(a, b, (256, 512))


def test_distortion_is_in_decibel_and_blind_to_scale():
    target = _signal(3)
    target = target - target.mean(-1, keepdim=True)
    noise = _signal(4)
    noise = noise - noise.mean(-1, keepdim=True)
    noise -= (noise * target).sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True) * target
    noise *= 0.1 * target.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(signal_to_distortion(target + noise, target), torch.tensor(20.0))
    torch.testing.assert_close(
        signal_to_distortion(5 * (target + noise) + 1, target), torch.tensor(20.0)
    )


def test_the_loss_of_biocodec_is_its_published_sum():
    rec, target, commit = _signal(1), _signal(2), torch.tensor(0.25)
    once = BioCodecLoss((32,))(rec, target, commit)
    total = 0.2 * once["time"] + once["spectral"] + once["commit"]
    torch.testing.assert_close(once["loss"], total)
    twice = BioCodecLoss((32,), commit_weight=2.0)(rec, target, commit)
    torch.testing.assert_close(twice["loss"], total + 0.25)
    with pytest.raises(ContractError, match="multiples of 8"):
        BioCodecLoss((30,))


@pytest.mark.parametrize("loss", [BioCodecLoss((32,)), BrainTokenizerLoss(), DistortionLoss()])
def test_invalid_channels_cost_nothing_in_any_loss(loss):
    rec, target = _signal(1), _signal(2)
    valid = torch.tensor([[True, False, True], [True, True, False]])
    rec.requires_grad_(True)
    plain = loss(rec, target, torch.tensor(0.0), valid)
    target = target.masked_fill(~valid[..., None, None], 9.0)
    other = loss(rec, target, torch.tensor(0.0), valid)
    torch.testing.assert_close(plain["loss"], other["loss"])
    (grad,) = torch.autograd.grad(other["loss"], rec)
    assert (grad[~valid] == 0).all() and (grad[valid] != 0).any()


def test_a_perfect_reconstruction_costs_biocodec_its_commitment_alone():
    x = _signal()
    parts = BioCodecLoss((32, 64))(x, x, torch.tensor(0.25))
    torch.testing.assert_close(parts["loss"], torch.tensor(0.25))
    torch.testing.assert_close(parts["pcc"], torch.tensor(1.0))


def test_distortion_loss_counts_decibels_at_any_size():
    target = _signal(5)
    power = target.var(-1, correction=0, keepdim=True).sqrt()
    noise = torch.ones_like(target) * power
    for size, expected in ((1.0, 0.0), (0.1, -20.0)):
        parts = DistortionLoss(1e-6)(target + size * noise, target, torch.tensor(0.0))
        torch.testing.assert_close(parts["loss"], torch.tensor(expected), atol=2e-3, rtol=0)
        torch.testing.assert_close(parts["nmse"], torch.tensor(size**2), atol=1e-4, rtol=1e-4)
        louder = DistortionLoss(1e-6)(50 * (target + size * noise), 50 * target, torch.tensor(0.0))
        torch.testing.assert_close(louder["loss"], parts["loss"], atol=2e-3, rtol=0)
    with pytest.raises(ContractError, match="floor is 0"):
        DistortionLoss(0.0)
