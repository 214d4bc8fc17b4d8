"""How strong wavelet bands are beside their past: decades, without a unit or look-ahead."""

import pytest
import torch

from brainfm.nn.amplitude import MOST, beside_past, level

ALL = torch.ones(1, 2, dtype=torch.bool)
SIZES = (24, 40)


def coefficients(*decades, channels=2):
    """(1, T, C, 64) two bands whose root mean square is 10 ** decade, the second ten times it."""
    wave = torch.tensor([1.0, -1.0]).repeat(32) * torch.tensor([1.0] * 24 + [10.0] * 40)
    return (10 ** torch.tensor(decades)).view(1, -1, 1, 1) * wave.expand(1, 1, channels, 64)


def levels(f, valid=ALL):
    return level(f, SIZES, valid)


def own(found):
    """(B, T, C) of the first band beside the channel's own past."""
    return found[..., 0]


def test_a_level_is_the_decade_of_each_bands_root_mean_square():
    found = levels(coefficients(0.0, 2.0))[0, :, 0]
    assert torch.allclose(found, torch.tensor([[0.0, 1.0], [2.0, 3.0]]), atol=1e-6)


def test_a_band_is_told_against_its_own_past_and_itself():
    found = beside_past(levels(coefficients(0.0, 0.0, 0.0, 1.0)), 4)
    assert found.shape == (1, 4, 2, 6)
    assert torch.allclose(own(found)[0, :, 0], torch.tensor([0.0, 0, 0, 0.75]), atol=1e-6)


def test_a_band_of_segments_forgets_what_is_older():
    found = beside_past(levels(coefficients(2.0, 0.0, 0.0, 1.0)), 4, band=2)
    assert torch.allclose(own(found)[0, :, 0], torch.tensor([0.0, -1, 0, 0.5]), atol=1e-6)


def test_the_second_numbers_compare_channels():
    f = coefficients(0.0, 0.0)
    f[:, :, 1] *= 100
    found = beside_past(levels(f), 2)
    assert torch.allclose(own(found)[0], torch.zeros(2, 2), atol=1e-6)
    assert torch.allclose(found[0, :, :, 2], torch.tensor([-1.0, 1.0]).expand(2, 2), atol=1e-6)


def test_the_third_numbers_are_the_spectrum_of_the_segment_alone():
    found = beside_past(levels(coefficients(0.0, 2.0)), 2)[0, :, 0, 4:]
    assert torch.allclose(found, torch.tensor([-0.5, 0.5]).expand(2, 2), atol=1e-6)


def test_the_unit_does_not_matter():
    f = torch.randn(1, 5, 2, 64, generator=torch.Generator().manual_seed(0))
    one, other = (beside_past(levels(s * f), 5) for s in (1.0, 1e-5))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_later_segments_change_nothing():
    a, b = coefficients(0.0, 1.0, 0.0), coefficients(0.0, 1.0, 5.0)
    one, other = (beside_past(levels(f), 3)[:, :2] for f in (a, b))
    assert torch.equal(one, other)


def test_a_flat_segment_is_far_down_and_spoils_no_mean():
    f = coefficients(0.0, 0.0, 0.0, 1.0)
    f[:, 1] = 0.0
    found = beside_past(levels(f), 4)[0, :, 0]
    assert found[1].tolist() == [-MOST] * 6
    assert found[3, 0] == pytest.approx(2 / 3)
    assert torch.isfinite(beside_past(levels(torch.zeros(1, 3, 2, 64)), 3)).all()


def test_an_invalid_channel_takes_no_part():
    f = coefficients(0.0, 1.0)
    loud = f.clone()
    loud[:, :, 1] = 1e6
    valid = torch.tensor([[True, False]])
    one, other = (beside_past(levels(y, valid), 2)[:, :, 0] for y in (f, loud))
    assert torch.equal(one, other)


def test_only_the_last_are_answered_for_with_the_same_numbers():
    some = levels(coefficients(0.0, 2.0, 1.0, 0.0, 1.0))
    whole = beside_past(some, 5, band=3)
    torch.testing.assert_close(beside_past(some[:, 1:], 2, band=3), whole[:, 3:])
