"""Features to frames: numbers of frames, sources that do not count, and moments of a stimulus."""

import pytest
import torch

from brainfm.errors import ContractError
from brainfm.heads.frames import POOLINGS, Frames, FramesConfig, Standard, resampled
from brainfm.types import Features


def features(b=2, s=3, w=8, d=6, seed=0):
    h = torch.randn(b, s, w, d, generator=torch.Generator().manual_seed(seed))
    return Features(h, torch.ones(b, s, dtype=torch.bool), torch.arange(w).double(), 0.1)


@pytest.mark.parametrize(
    ("given", "frames"), [({}, 8), ({"per_step": 3}, 24), ({"stride": 3}, 2), ({"hidden": None}, 8)]
)
def test_steps_become_the_frames_that_are_configured(given, frames):
    net = Frames(FramesConfig(dim=6, **given), 5)
    assert net(features()).shape == (2, frames, 5)
    assert net.n_frames(8) == frames
    whole = 6 if "stride" in given else 8
    assert net.frame_s(0.1) * frames == pytest.approx(0.1 * whole)


def test_the_frames_of_a_step_lie_beside_each_other_in_time():
    net = Frames(FramesConfig(dim=6, per_step=2, hidden=None, dropout=0.0), 5).eval()
    other = features()
    other.h_BSWD[:, :, 3] *= -1
    moved = (net(other) - net(features())).abs().sum((0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [6, 7]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_sources_that_are_not_valid_change_nothing(pooling):
    net = Frames(FramesConfig(dim=6, n_sources=3, pooling=pooling), 5).eval()
    plain, junk = features(), features()
    plain.valid_BS[:, 1] = junk.valid_BS[:, 1] = False
    junk.h_BSWD[:, 1] = torch.nan
    torch.testing.assert_close(net(plain), net(junk))
    junk.valid_BS[:] = False
    assert torch.isfinite(net(junk)).all()


def test_order_and_number_of_sources_are_free_unless_they_are_flattened():
    net = Frames(FramesConfig(dim=6), 5).eval()
    plain, turned = features(), features()
    turned.h_BSWD = plain.h_BSWD.flip(1)
    torch.testing.assert_close(net(plain), net(turned))
    assert net(features(s=7)).shape == (2, 8, 5)
    flat = Frames(FramesConfig(dim=6, n_sources=3, pooling="flatten"), 5)
    with pytest.raises(ContractError, match="7 sources, the head was made for 3"):
        flat(features(s=7))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"per_step": 0}, "per_step is 0"),
        ({"per_step": 2, "stride": 2}, "set one of the two to 1"),
    ],
)
def test_a_wrong_setting_is_named(given, named):
    with pytest.raises(ValueError, match=named):
        FramesConfig(**given)


def test_resampling_keeps_means_and_lines():
    ramp = torch.arange(12.0)[None, :, None]
    torch.testing.assert_close(resampled(ramp, 4)[0, :, 0], torch.tensor([1.0, 4.0, 7.0, 10.0]))
    up = resampled(ramp, 24)[0, 1:-1, 0]
    torch.testing.assert_close(up.diff(), torch.full_like(up.diff(), 0.5))
    assert torch.equal(resampled(ramp, 12), ramp)


def test_moments_of_pieces_are_those_of_the_whole():
    x = 3 + 2 * torch.randn(6, 10, 4, generator=torch.Generator().manual_seed(0))
    x[..., 3] = 5.0  # never moves
    net = Standard(4)
    for piece in (x[:1], x[1:3], x[3:]):
        net.see(piece)
    flat = x.flatten(0, 1).double()
    torch.testing.assert_close(net.mean_F, flat.mean(0))
    torch.testing.assert_close(net.scale_F[:3], flat[:, :3].std(0, correction=0))
    z = net(x)
    assert z[..., :3].std(correction=0) == pytest.approx(1, abs=1e-4)
    assert torch.isfinite(z).all()
    torch.testing.assert_close(net.back(z), x)
