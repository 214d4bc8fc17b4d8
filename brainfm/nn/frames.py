"""One frame for all sensors: MNI space in metres.

Head coordinates (MNE: origin between the ears, x to the right, y to the nose) are brought to MNI by
the average head, fsaverage: a template's answer for people without an MRI, a few millimetres off.

Shapes: B batch, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brainfm.types.space import MNI152_OF_MNI305

if TYPE_CHECKING:
    from torch import Tensor

HEAD_TO_FSAVERAGE = np.array(
    [
        [0.9999938, -0.00355761, -0.00000057, 0.00187336],
        [0.00355187, 0.99838907, -0.05662654, -0.02879576],
        [0.00020204, 0.05662593, 0.99839538, -0.0412941],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Head to surface RAS of fsaverage (MNI305), metres: `fsaverage-trans.fif` of MNE-Python 1.13."""

HEAD_TO_MNI = MNI152_OF_MNI305 @ HEAD_TO_FSAVERAGE


def in_mni(pos_BC3: Tensor, ori_BC3: Tensor, frame: str) -> tuple[Tensor, Tensor]:
    """Positions and orientations in MNI space.

    Parameters
    ----------
    pos_BC3 : metres, NaN where unknown (and then here too)
    ori_BC3 : unit vectors, zeros where there is none
    frame : as in `types.Channels`. "mni" is returned as it is; so are "device" and "unknown",
        whose way to the head nobody knows: a few centimetres off, and better than no place at all
    """
    if frame != "head":
        return pos_BC3, ori_BC3
    affine = pos_BC3.new_tensor(HEAD_TO_MNI)
    turned = ori_BC3 @ affine[:3, :3].T
    # The template's affine stretches by less than a percent; directions stay of unit length.
    length = turned.norm(dim=-1, keepdim=True)
    ori = turned / length.clamp_min(1e-12) * (ori_BC3.norm(dim=-1, keepdim=True) > 0)
    return pos_BC3 @ affine[:3, :3].T + affine[:3, 3], ori
