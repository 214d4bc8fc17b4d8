"""Whitening: known correlations are taken away, person by person."""

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.models.whitening import CLIP, Whitening


def rows(n, seed=0, m=4):
    """Rows of known mean and covariance."""
    g = torch.Generator().manual_seed(seed)
    mix_MM = torch.randn(m, m, generator=torch.Generator().manual_seed(9)) + torch.eye(m)
    x_NM = torch.randn(n, m, generator=g) @ mix_MM + torch.arange(1.0, m + 1) * 10
    return x_NM, mix_MM


def learned(x_NM, ridge=1e-6, person=0, people=("anna", "ben"), m=4):
    found = Whitening(people, m, ridge)
    valid = torch.ones(1, x_NM.shape[1], dtype=torch.bool)
    found.add(x_NM[None], valid, torch.tensor([person]))
    found.learn()
    return found


def test_correlations_are_gone():
    x_NM, _ = rows(4000)
    found, anna = learned(x_NM), torch.tensor([0])
    z_NM = found(found.standardised(x_NM[None], anna), anna)[0]
    torch.testing.assert_close(z_NM.T @ z_NM / len(z_NM), torch.eye(4), atol=0.01, rtol=0)
    torch.testing.assert_close(z_NM.mean(0), torch.zeros(4), atol=1e-3, rtol=0)


def test_it_is_the_symmetric_root_of_the_inverse_correlation():
    x_NM, _ = rows(4000)
    found = learned(x_NM, ridge=0.1)
    inverse_MM = torch.linalg.inv(torch.corrcoef(x_NM.T) + 0.1 * torch.eye(4))
    white_MM = found.white_PMM[0]
    torch.testing.assert_close(white_MM @ white_MM, inverse_MM, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(white_MM, white_MM.T, atol=1e-5, rtol=0)


def test_without_a_ridge_features_stay_correlated():
    x_NM, _ = rows(4000)
    found, anna = learned(x_NM, ridge=None), torch.tensor([0])
    z_NM = found(found.standardised(x_NM[None], anna), anna)[0]
    torch.testing.assert_close(torch.corrcoef(z_NM.T), torch.corrcoef(x_NM.T), atol=1e-4, rtol=0)
    assert found.white_PMM is None


def test_pieces_say_the_same_as_the_whole():
    x_NM, _ = rows(600)
    whole, pieces = learned(x_NM), Whitening(("anna", "ben"), 4, 1e-6)
    for part in x_NM.split(150):
        pieces.add(part[None], torch.ones(1, 4, dtype=torch.bool), torch.tensor([0]))
    pieces.learn()
    torch.testing.assert_close(whole.white_PMM, pieces.white_PMM)


def test_windows_without_a_channel_do_not_change_its_mean():
    x_NM, _ = rows(4000)
    half = x_NM.clone()
    half[:2000, 1] = 0
    found, valid = Whitening(("anna",), 4, 1e-6), torch.tensor([[True, False, True, True]])
    found.add(half[None, :2000], valid, torch.tensor([0]))
    found.add(half[None, 2000:], torch.ones_like(valid), torch.tensor([0]))
    found.learn()
    torch.testing.assert_close(found.mean_PM[0], x_NM.mean(0), atol=0.15, rtol=0)
    expected = x_NM[2000:, 1].std()
    torch.testing.assert_close(1 / found.scale_PM[0, 1], expected, atol=0.01, rtol=0.01)


def test_a_channel_that_never_moves_is_silent():
    x_NM, _ = rows(500)
    x_NM[:, 2] = 3.3
    found, anna = learned(x_NM), torch.tensor([0])
    z_NM = found(found.standardised(x_NM[None], anna), anna)[0]
    assert z_NM.isfinite().all()
    torch.testing.assert_close(z_NM[:, 2], torch.zeros(500))


def test_artefacts_are_clipped():
    x_NM, _ = rows(500)
    found, anna = learned(x_NM), torch.tensor([0])
    assert float(found.standardised(x_NM[None] * 1e6, anna).abs().max()) == CLIP


def test_people_with_fewer_channels_share_the_table():
    x_NM, _ = rows(500, m=3)
    found, anna = learned(x_NM, m=6), torch.tensor([0])
    z_NM = found(found.standardised(x_NM[None], anna), anna)[0]
    torch.testing.assert_close(z_NM.T @ z_NM / len(z_NM), torch.eye(3), atol=0.02, rtol=0)


def test_it_asks_until_everybody_was_seen():
    found, ones = Whitening(("anna", "ben"), 4), torch.ones(1, 4, dtype=torch.bool)
    found.add(rows(100)[0][None], ones, torch.tensor([0]))
    assert not found.has_enough()
    found.add(rows(79)[0][None], ones, torch.tensor([1]))
    assert not found.has_enough()  # 20 rows a feature
    found.add(rows(1)[0][None], ones, torch.tensor([1]))
    assert found.has_enough()


def test_a_stranger_is_named():
    found = learned(rows(100)[0])
    with pytest.raises(ContractError, match="features of ben"):
        found.standardised(rows(10)[0][None], torch.tensor([1]))
    assert Whitening(("anna",), 4).standardised(torch.ones(1, 1, 4), torch.tensor([0])).sum() == 4
