"""The brain encoder with a query a region: shapes, unknown places, what it can learn."""

import pytest
import torch

from brainfm.models.responses import ResponseModel


def model(n=6, known=True, **settings):
    torch.manual_seed(0)
    place = torch.randn(n, 3) * 0.05 if known else torch.full((n, 3), torch.nan)
    return ResponseModel(3, 8, place, **settings)


@pytest.mark.parametrize("known", [True, False])
def test_every_region_gives_an_answer_wherever_it_lies(known):
    made = model(known=known).eval()
    assert made(torch.randn(5, 8, 3)).shape == (5, 6)
    assert torch.isfinite(made(torch.zeros(2, 8, 3))).all()
    assert made.tokens(torch.randn(5, 8, 3)).shape == (5, 8, 32)


def test_when_something_was_shown_matters():
    made, x = model().eval(), torch.randn(4, 8, 3)
    assert not torch.allclose(made(x), made(x.flip(1)), atol=1e-3)


def test_frames_do_not_see_one_another():
    made, x = model().eval(), torch.randn(4, 8, 3)
    torch.testing.assert_close(made(x)[:2], made(x[:2]))


def test_regions_learn_lags_and_products_of_their_own():
    made = model(dropout=0.0)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, 8, 3, generator=g)
    y = torch.stack([x[:, 2, 0], x[:, 5, 1], x[:, 2, 0] * x[:, 2, 1]] * 2, 1)
    optimiser = torch.optim.Adam(made.parameters(), 5e-3)
    for step in range(250):
        rows = torch.arange(64) + 64 * (step % 7)
        loss = (made(x[rows]) - y[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        error = (made(x[460:]) - y[460:]).square().mean(0)
    assert error[:2].max() < 0.25 and error[2] < 0.6
