"""How the spaces of heads lie to one another: numbers of the world, with their sources."""

import numpy as np

MNI152_OF_MNI305 = np.array(
    [
        [0.9975, -0.0073, 0.0176, -0.0429e-3],
        [0.0146, 1.0009, -0.0024, 1.5496e-3],
        [-0.0130, -0.0093, 0.9971, 1.1840e-3],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Metres. FreeSurfer's mni152.register.dat (FreeSurfer wiki, CoordinateSystems, 8a): fsaverage
lies in MNI305, fMRI is published in MNI152; the two are up to 4 mm apart."""
