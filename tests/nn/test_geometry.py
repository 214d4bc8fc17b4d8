"""Sensor geometry: units, modalities and unknown places."""

import numpy as np
import pytest
import torch

from brainfm.nn.geometry import PositionCode, PositionCodeConfig, SensorModule, centre_positions
from brainfm.signals.normalise import centre_positions as centre_numpy

EEG, MAG, GRAD = 0, 1, 2


def _all(kind):
    return torch.ones_like(kind, dtype=torch.bool)


def test_centring_is_the_one_of_the_preprocessing():
    pos = torch.randn(1, 9, 3) * 0.1
    kind = torch.tensor([[EEG, EEG, EEG, MAG, MAG, GRAD, GRAD, EEG, GRAD]])
    mine = centre_positions(pos, kind, _all(kind))[0]
    np.testing.assert_allclose(mine, centre_numpy(pos[0].numpy(), kind[0].numpy()), atol=1e-5)


def test_moving_or_scaling_all_sensors_changes_nothing():
    pos, kind = torch.randn(2, 5, 3), torch.zeros(2, 5, dtype=torch.long)
    want = centre_positions(pos, kind, _all(kind))
    torch.testing.assert_close(centre_positions(3 * pos + 1, kind, _all(kind)), want)


def test_moving_the_helmet_does_not_move_the_cap():
    pos, kind = torch.randn(1, 6, 3), torch.tensor([[EEG, EEG, EEG, MAG, MAG, GRAD]])
    moved = pos.clone()
    moved[:, 3:] += 5
    torch.testing.assert_close(
        centre_positions(moved, kind, _all(kind)), centre_positions(pos, kind, _all(kind)),
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_invalid_and_unknown_channels_do_not_move_the_centre():
    pos, kind = torch.randn(1, 5, 3), torch.zeros(1, 5, dtype=torch.long)
    valid = torch.tensor([[True, True, True, False, True]])
    far = pos.clone()
    far[0, 3] = 100
    far[0, 4] = torch.nan
    known = centre_positions(pos[:, :3], kind[:, :3], valid[:, :3])
    out = centre_positions(far, kind, valid)
    torch.testing.assert_close(out[:, :3], known)
    assert (out[0, 4] == 0).all()


def test_one_sensor_or_none_known_stays_at_the_centre():
    kind = torch.zeros(1, 2, dtype=torch.long)
    pos = torch.tensor([[[0.1, 0.2, 0.3], [torch.nan] * 3]])
    assert (centre_positions(pos, kind, _all(kind)) == 0).all()
    assert (centre_positions(pos * torch.nan, kind, _all(kind)) == 0).all()


def test_unknown_position_differs_from_origin():
    code = PositionCode(PositionCodeConfig(width=16))
    unknown, origin = torch.full((1, 1, 3), torch.nan), torch.zeros(1, 1, 3)
    none = torch.zeros(1, 1, 3)
    assert not torch.allclose(code(unknown, none), code(origin, none))


def test_metric_code_sees_millimetres_and_sides():
    code = PositionCode(PositionCodeConfig(width=32))
    none = torch.zeros(1, 1, 3)
    at = torch.tensor([[[0.05, 0.0, 0.0]]])
    assert (code(at, none) - code(at + 0.003, none)).norm() > 1e-3
    assert (code(at, none) - code(-at, none)).norm() > 1e-2


def test_unknown_positions_learn():
    module = SensorModule(16, 8, "metric")
    kind = torch.zeros(1, 3, dtype=torch.long)
    nan = torch.full((1, 3, 3), torch.nan)
    module(nan, torch.zeros(1, 3, 3), kind, _all(kind))[..., 0].sum().backward()
    assert module.position.unknown_D.grad.abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("mode", ["published", "metric"])
def test_kind_and_orientation_are_seen(mode):
    module = SensorModule(16, 8, mode)
    pos, ori = torch.randn(1, 2, 3) * 0.1, torch.zeros(1, 2, 3)
    kind = torch.zeros(1, 2, dtype=torch.long)
    valid = _all(kind)
    base = module(pos, ori, kind, valid)
    assert not torch.allclose(base, module(pos, ori, kind + 1, valid))
    assert not torch.allclose(base, module(pos, ori + torch.tensor([0, 0, 1.0]), kind, valid))


def test_a_wrong_mode_is_named():
    with pytest.raises(ValueError, match="'exact'"):
        SensorModule(16, 3, "exact")
