"""db4 with circular ends: what a wavelet transform must keep, and the published coefficients."""

import numpy as np
import pytest
import torch

from brainfm.nn.wavelet import DB4_LOW, PeriodicWavelet, levels_of, sizes_of


def test_sizes_are_those_of_the_published_encoder():
    assert sizes_of(256) == (14, 14, 22, 38, 69, 131)
    assert sum(sizes_of(2560)) == 2610 and levels_of(2560) == 8


def test_the_filter_is_orthonormal_with_four_vanishing_moments():
    low = np.array(DB4_LOW)
    assert low.sum() == pytest.approx(np.sqrt(2))
    for shift in range(4):
        overlap = (low[: len(low) - 2 * shift] * low[2 * shift :]).sum()
        assert overlap == pytest.approx(float(shift == 0), abs=1e-10)
    high = low[::-1] * (-1.0) ** np.arange(1, 9)
    for power in range(4):
        assert (high * np.arange(8) ** power).sum() == pytest.approx(0, abs=1e-8)


def test_coefficients_are_the_published_programs(golden):
    with np.load(golden / "mvpformer.npz") as f:
        x, want = torch.from_numpy(f["in/x"]), torch.from_numpy(f["mid/dwt"])
    got = PeriodicWavelet(x.shape[-1])(x.flatten(0, -2))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_a_constant_has_no_details():
    wavelet = PeriodicWavelet(100)
    f = wavelet(torch.full((1, 100), 3.0))
    assert f[0, wavelet.sizes[0] :].abs().max() < 1e-4 and f[0, : wavelet.sizes[0]].min() > 3


def test_a_fast_wave_lives_in_the_finest_band_and_a_slow_one_in_the_coarsest():
    wavelet, t = PeriodicWavelet(256), torch.arange(256)
    ends = np.cumsum(wavelet.sizes)
    for hz, band in ((120, 5), (1, 0)):
        f = wavelet(torch.sin(2 * torch.pi * hz * t / 256)[None])[0].square()
        energy = [float(f[a:b].sum()) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        assert int(np.argmax(energy)) == band


@pytest.mark.parametrize("n", [6, 13])
def test_a_stretch_too_short_for_a_level_is_refused(n):
    with pytest.raises(ValueError, match=f"{n} samples is too short"):
        PeriodicWavelet(n)


def test_another_length_is_refused():
    with pytest.raises(ValueError, match="have 100 samples, not 64"):
        PeriodicWavelet(64)(torch.zeros(1, 100))


def test_a_model_in_half_precision_keeps_the_filters_exact():
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(PeriodicWavelet(64).bfloat16()(x), PeriodicWavelet(64)(x))
