"""A lead field and its inverse: linear, signed, blind to the unseen, right for known fields."""

import pytest
import torch

from brainfm.nn.leadfield import LeadField
from brainfm.types import Kind


def field(n_sources=6, seed=0):
    torch.manual_seed(seed)
    return LeadField(n_sources)


def sensors(b=2, c=20, seed=1):
    g = torch.Generator().manual_seed(seed)
    pos = torch.randn(b, c, 3, generator=g)
    return 0.08 * pos / pos.norm(dim=-1, keepdim=True)


def rows(model, pos, ori=None, kind=Kind.EEG):
    ori = torch.zeros_like(pos) if ori is None else ori
    return model(pos, ori, torch.full(pos.shape[:2], int(kind)))


def test_neighbours_see_alike_and_far_sensors_do_not():
    model = field(64)
    pos = torch.tensor([[[0.0, 0.0, 0.09], [0.004, 0.0, 0.09], [0.0, -0.09, 0.0]]])
    row = rows(model, pos)[0]
    near = torch.cosine_similarity(row[0], row[1], dim=0)
    far = torch.cosine_similarity(row[0], row[2], dim=0)
    assert near > 0.97 and far < near - 0.2


def test_a_sensor_turned_round_sees_the_opposite():
    model = field()
    pos, ori = sensors(), torch.nn.functional.normalize(sensors(seed=2), dim=-1)
    one, other = rows(model, pos, ori, Kind.MAG), rows(model, pos, -ori, Kind.MAG)
    torch.testing.assert_close(one, -other)


def kinds(row, kind=Kind.EEG):
    return torch.full(row.shape[:2], int(kind))


def test_each_kind_has_noise_of_its_own_and_two_share_their_mean():
    model = field(6)
    with torch.no_grad():
        model.log_noise_J[Kind.BOLD] = -9.0
        row, shown = rows(model, sensors(b=1, c=20)), torch.randn(1, 1, 20, 2)
        seen = torch.ones(1, 1, 20, dtype=torch.bool)
        loud, sure = (model.inverse(row, kinds(row, k), seen, shown) for k in (0, Kind.BOLD))
        mixed = kinds(row)
        mixed[:, 10:] = Kind.BOLD
        between = model.inverse(row, mixed, seen, shown)
    assert (loud[..., 2] < between[..., 2]).all() and (between[..., 2] < sure[..., 2]).all()


def test_sensors_without_a_place_share_a_row_a_kind():
    model = field()
    pos = torch.full((1, 4, 3), torch.nan)
    kind = torch.tensor([[0, 0, 5, 5]])
    row = model(pos, torch.zeros(1, 4, 3), kind)[0]
    assert torch.isfinite(row).all()
    assert torch.equal(row[0], row[1]) and torch.equal(row[2], row[3])
    assert not torch.equal(row[0], row[2])


def test_the_inverse_finds_sources_that_made_the_signal():
    model = field(6)
    with torch.no_grad():
        model.log_noise_J.fill_(-9.0)
        row = rows(model, sensors(c=40))
        truth = torch.randn(2, 3, 6, 4)
        shown = torch.einsum("bcs,bgsd->bgcd", row, truth)
        found = model.inverse(row, kinds(row), torch.ones(2, 3, 40, dtype=torch.bool), shown)
    assert (found[..., :4] - truth).abs().max() < 0.05
    assert (found[..., 4] > 0.95).all()  # all sources are well seen


def test_the_inverse_is_linear_and_minimum_norm():
    """x = R' (R R' + n I)^-1 y, written with sensors instead of sources."""
    model = field(12)
    with torch.no_grad():
        row = rows(model, sensors(b=1, c=5))
        shown = torch.randn(1, 1, 5, 3)
        found = model.inverse(row, kinds(row), torch.ones(1, 1, 5, dtype=torch.bool), shown)[
            0, 0, :, :3
        ]
        gram = row[0].T @ row[0]
        noise = torch.nn.functional.softplus(model.log_noise_J[0]) * gram.diagonal().mean() + 1e-3
        other = row[0].T @ torch.linalg.solve(row[0] @ row[0].T + noise * torch.eye(5), shown[0, 0])
    torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-3)


def test_sensors_that_are_not_seen_change_nothing():
    model = field()
    with torch.no_grad():
        row = rows(model, sensors())
        seen = torch.ones(2, 1, 20, dtype=torch.bool)
        seen[:, :, 12:] = False
        shown = torch.randn(2, 1, 20, 3)
        loud = shown.clone()
        loud[:, :, 12:] = 1e6
        few = model.inverse(row[:, :12], kinds(row)[:, :12], seen[:, :, :12], shown[:, :, :12])
        torch.testing.assert_close(
            model.inverse(row, kinds(row), seen, loud), few, atol=1e-4, rtol=1e-4
        )


def test_nothing_seen_gives_nothing():
    model = field()
    row = rows(model, sensors())
    found = model.inverse(row, kinds(row), torch.zeros(2, 1, 20).bool(), torch.randn(2, 1, 20, 3))
    assert float(found.detach().abs().max()) == 0.0


def test_a_hidden_sensor_is_told_by_its_neighbours_after_learning():
    """Potentials of a smooth field: the lead field learns how smooth, and interpolates."""
    model = field(16)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    g = torch.Generator().manual_seed(0)

    def explained(n):
        pos = sensors(b=n, c=32, seed=int(torch.randint(10**6, (1,), generator=g)))
        way = torch.nn.functional.normalize(torch.randn(n, 3, 8, generator=g), dim=1)
        shown = torch.sin(25 * pos @ way + torch.rand(n, 1, 8, generator=g) * 6)[:, None]
        seen = torch.ones(n, 1, 32, dtype=torch.bool)
        seen[:, :, :8] = False
        row = rows(model, pos)
        source = model.inverse(row, kinds(row), seen, shown)[..., :8]
        guess = torch.einsum("bcs,bgsd->bgcd", row, source)[:, :, :8]
        truth = shown[:, :, :8]
        return 1 - (guess - truth).square().mean() / truth.square().mean()

    first = float(explained(32).detach())
    for _ in range(60):
        loss = 1 - explained(16)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(explained(32).detach()) > max(0.6, first)


@pytest.mark.parametrize("kind", [Kind.EEG, Kind.BOLD])
def test_gradients_stay_finite_with_one_sensor(kind):
    model = field()
    row = rows(model, sensors(b=1, c=1), kind=kind)
    seen = torch.ones(1, 1, 1, dtype=torch.bool)
    model.inverse(row, kinds(row, kind), seen, torch.randn(1, 1, 1, 2)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
