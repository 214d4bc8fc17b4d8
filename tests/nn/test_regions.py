"""Places have names: nearest centres, both hemispheres, and nothing far from a head."""

import torch

from brainfm.nn.regions import (
    LOBES,
    N_LOBES,
    N_PARCELS,
    REGIONS,
    centres,
    lobe_centres,
    lobe_of,
    parcel_of,
)


def test_every_centre_lies_in_its_own_parcel():
    found = parcel_of(centres()[None])[0]
    assert found.tolist() == list(range(N_PARCELS))
    assert len({name for name, *_ in REGIONS}) == len(REGIONS) == N_PARCELS // 2


def test_hemispheres_are_mirrored_to_a_centimetre():
    left, right = centres().split(len(REGIONS))
    assert (left[:, 0] < 0).all() and (right[:, 0] > 0).all()
    assert float((left * torch.tensor([-1, 1, 1]) - right).norm(dim=1).max()) < 0.01


def test_known_places_have_their_names():
    names = [f"{side}_{row[0]}" for side in "LR" for row in REGIONS]
    for name, place in {
        "L_precentral": (-0.040, -0.010, 0.045),
        "R_hippocampus": (0.026, -0.022, -0.014),
        "L_transversetemporal": (-0.044, -0.021, 0.008),
        "R_lateraloccipital": (0.032, -0.088, 0.001),
    }.items():
        assert names[int(parcel_of(torch.tensor([[place]])))] == name


def test_unknown_and_far_places_have_none():
    pos = torch.tensor([[[torch.nan, 0, 0], [0.4, 0, 0], [0.0, 0.0, 0.09]]])
    assert (parcel_of(pos)[0] >= 0).tolist() == [False, False, True]
    assert lobe_of(torch.tensor([[-1]])).tolist() == [[-1]]


def test_lobes_keep_their_side():
    lobe = lobe_of(torch.arange(N_PARCELS))
    n = len(REGIONS)
    assert torch.equal(lobe[n:], lobe[:n] + len(LOBES)) and int(lobe.max()) == N_LOBES - 1
    assert (lobe_centres()[: len(LOBES), 0] < 0).all()
