"""Units of features by kind of sensor: met once, kept, clipped."""

import torch

from brainfm.models.standard import CLIP, Standard
from brainfm.types import Kind


def features(mean, spread, kind, n=400, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = mean + spread * torch.randn(4, 5, n, 3, generator=g)
    return x, torch.full((4, 5), int(kind)), torch.ones(4, 5, dtype=torch.bool)


def met():
    unit = Standard(3)
    unit.add(*features(10.0, 2.0, Kind.EEG))
    unit.add(*features(-3.0, 0.5, Kind.MAG, seed=1))
    unit.learn()
    return unit


def test_each_kind_has_its_own_units():
    unit = met()
    for mean, spread, kind in ((10.0, 2.0, Kind.EEG), (-3.0, 0.5, Kind.MAG)):
        x, k, _ = features(mean, spread, kind, seed=5)
        z = unit(x, k)
        assert abs(float(z.mean())) < 0.05 and abs(float(z.std()) - 1) < 0.05


def test_kinds_that_were_not_met_share_those_of_the_rest():
    unit = met()
    assert not bool(unit.met_J[Kind.SEEG]) and bool(unit.met_J[Kind.EEG])
    assert abs(float(unit.mean_JK[Kind.SEEG, 0]) - 3.5) < 0.2


def test_channels_that_are_not_valid_do_not_count():
    unit = Standard(3)
    x, kind, valid = features(0.0, 1.0, Kind.EEG)
    x[:, 0], valid[:, 0] = 1e6, False
    unit.add(x, kind, valid)
    unit.learn()
    assert float(unit.mean_JK[Kind.EEG].abs().max()) < 0.1


def test_what_was_met_stays_when_nothing_new_comes():
    unit = met()
    before = unit.mean_JK.clone()
    unit.learn()
    assert torch.equal(unit.mean_JK, before)
    again = Standard(3)
    again.load_state_dict(unit.state_dict())
    assert torch.equal(again.mean_JK, before)


def test_freaks_are_clipped_and_constants_do_not_blow_up():
    unit = Standard(3)
    x, kind, valid = features(0.0, 1.0, Kind.EEG)
    x[..., 2] = 7.0
    unit.add(x, kind, valid)
    unit.learn()
    x[0, 0, 0, 0] = 1e9
    z = unit(x, kind)
    assert float(z.abs().max()) == CLIP
    assert float(z[..., 2].abs().max()) < 0.1
