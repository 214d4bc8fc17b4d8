"""Orthonormal bases: energies, inverses, and what each is good at."""

import numpy as np
import pytest
from scipy.fft import dct

from eval.codec import bases

SFREQ = 100.0
ALL = {"cosine": bases.COSINE, "lapped": bases.LAPPED, "wavelet": bases.WAVELET}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("basis", ALL.values(), ids=ALL)
@pytest.mark.parametrize("n", [50, 100, 255, 640, 800])
def test_energy_is_kept_and_the_inverse_gives_the_signal_back(basis, n):
    x = noise(2, 3, n)
    k = basis.forward(x, SFREQ)
    assert k.shape == x.shape and len(basis.bands(n, SFREQ)) == n
    np.testing.assert_allclose((k**2).sum(-1), (x**2).sum(-1))
    np.testing.assert_allclose(basis.back(k, SFREQ), x, atol=1e-9)
    assert 0 <= basis.bands(n, SFREQ).min() and basis.bands(n, SFREQ).max() < bases.N_BANDS


def test_the_cosine_transform_is_that_of_scipy_block_by_block():
    x = noise(2, 3, 640)
    k = bases.cosines(x, SFREQ)
    np.testing.assert_allclose(k[..., :100], dct(x[..., :100], norm="ortho"))
    assert [(s.start, s.stop) for s in bases.blocks(640, SFREQ)][-2:] == [(400, 500), (500, 640)]


def test_bands_are_half_octaves():
    band = bases.cosine_bands(200, SFREQ)  # two blocks, bins of half a hertz
    assert band[0] == band[1] == 0 and (band[:100] == band[100:]).all()
    assert band[2] == 2 and band[4] == 4 and band[8] == 6 and (np.diff(band[:100]) >= 0).all()


def test_a_lapped_block_is_the_modified_cosine_transform():
    """Between equal blocks: the published sum over two blocks under a sine window, in the form
    that is even on the left and odd on the right (the other one, back in time).
    """
    x, n = noise(400), 100
    k = bases.LAPPED.forward(x, SFREQ)[n : 2 * n]
    t = np.arange(2 * n)
    window = np.sin(np.pi / (2 * n) * (t + 0.5))
    phase = np.pi / n * (t[:, None] + 0.5 - n / 2) * (np.arange(n) + 0.5)
    want = np.sqrt(2 / n) * (window * x[n // 2 : n // 2 + 2 * n]) @ np.cos(phase)
    np.testing.assert_allclose(k, want, atol=1e-9)


def kept(basis, x, share=0.05):
    """Share of the energy in the largest coefficients."""
    k = np.sort(basis.forward(x, SFREQ).ravel() ** 2)[::-1]
    return k[: int(share * k.size)].sum() / k.sum()


def test_each_basis_gathers_what_it_is_made_for():
    t = np.arange(800) / SFREQ
    tone = np.sin(2 * np.pi * 7.3 * t)
    assert kept(bases.LAPPED, tone) > kept(bases.COSINE, tone) > kept(bases.WAVELET, tone)
    spikes = np.zeros(800)
    spikes[[100, 333, 640]] = 1.0
    assert kept(bases.WAVELET, spikes) > 2 * kept(bases.COSINE, spikes)


def test_wavelets_do_not_see_cubics():
    """Four vanishing moments; the ends are circular and do."""
    detail = bases.wavelet((np.arange(800) / 800) ** 3, SFREQ)[400:]
    assert np.abs(detail[:-4]).max() < 1e-9 < np.abs(detail[-4:]).max()
    assert bases.wavelet_sizes(2048) == [8, *(2**k for k in range(3, 11))]
    assert bases.wavelet_sizes(255) == [255]
