"""What a current in the brain does to sensors, in closed form: spheres for EEG and MEG, an
unbounded medium for contacts inside the head.

EEG: a dipole in nested shells of different conductivity, as a series of Legendre polynomials
(Zhang, Phys Med Biol 40, 1995; Mosher et al., IEEE Trans Biomed Eng 46, 1999). MEG: outside a
sphere the field does not depend on its shells (Sarvas, Phys Med Biol 32, 1987). Contacts: a dipole
in tissue without end. The papers are cited as recalled; tests compare EEG and MEG with MNE's.

Shapes: E electrodes, K points of coils, S sources, N shells. Metres, A m, V, T.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

MU0_4PI = 1e-7
"""Vacuum permeability over 4 pi, T m / A."""
BRAIN_S_M = 0.33
"""Conductivity of brain, S/m: MNE's sphere model has the same."""
PATCH_M = 0.004
"""A source is a patch of about this radius: nothing gets closer to it."""
TERMS = 100
"""Of the series. A source at 0.97 of the brain's radius, the brain at 0.9 of the head's, needs
about 60 for a hundredth of a percent."""


@dataclass(frozen=True, eq=False)
class Shells:
    """A head of nested spheres: brain, fluid, skull, scalp.

    Attributes
    ----------
    centre_m : (3,)
    radius_m : outermost
    relative : radii over the outermost, from inside; MNE's defaults
    conductivity : S/m of each shell; MNE's defaults
    """

    centre_m: NDArray[np.floating]
    radius_m: float
    relative: tuple[float, ...] = (0.90, 0.92, 0.97, 1.0)
    conductivity: tuple[float, ...] = (BRAIN_S_M, 1.0, 0.004, 0.33)

    @property
    def brain_m(self) -> float:
        """Radius of the innermost sphere, where sources lie."""
        return self.relative[0] * self.radius_m


def shell_factors(shells: Shells, terms: int = TERMS) -> NDArray[np.float64]:
    """What the shells let through of each order, (terms,); all 1 for a uniform sphere."""
    n = np.arange(1, terms + 1, dtype=np.float64)
    whole = np.tile(np.eye(2), (terms, 1, 1))
    for k in range(len(shells.relative) - 1):
        ratio = shells.conductivity[k] / shells.conductivity[k + 1]
        size = shells.relative[k] ** (2 * n + 1)
        step = np.empty((terms, 2, 2))
        step[:, 0, 0] = n + (n + 1) * ratio
        step[:, 0, 1] = (n + 1) * (ratio - 1) / size
        step[:, 1, 0] = n * (ratio - 1) * size
        step[:, 1, 1] = (n + 1) + n * ratio
        whole = whole @ (step / (2 * n + 1)[:, None, None])
    return np.asarray(n / (n * whole[:, 1, 1] + (n + 1) * whole[:, 1, 0]))


def scalp_potential(
    shells: Shells,
    electrode_E3: NDArray[np.floating],
    source_S3: NDArray[np.floating],
    moment_S3: NDArray[np.floating],
    terms: int = TERMS,
) -> NDArray[np.float64]:
    """Potential of each dipole at each electrode, (E, S) volts against infinity.

    Parameters
    ----------
    electrode_E3 : metres; they are taken to the outermost sphere along the line from its centre
    source_S3, moment_S3 : metres and A m

    Raises
    ------
    DataError
        If a source lies outside the innermost sphere.
    """
    toward = electrode_E3 - shells.centre_m
    toward = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    at = source_S3 - shells.centre_m
    depth_S = np.linalg.norm(at, axis=1)
    if (depth_S >= shells.brain_m).any():
        raise DataError(
            f"a source lies {1e3 * depth_S.max():.1f} mm from the centre of a brain whose radius "
            f"is {1e3 * shells.brain_m:.1f} mm; move it inside"
        )
    unit_S3 = at / depth_S[:, None].clip(1e-12)
    cos_ES = np.clip(toward @ unit_S3.T, -1, 1)
    radial_S = (moment_S3 * unit_S3).sum(1)
    along_ES = toward @ moment_S3.T - cos_ES * radial_S

    factor = shell_factors(shells, terms)
    eccentricity_S = depth_S / shells.radius_m
    power_S = np.ones_like(depth_S)
    last, now = np.ones_like(cos_ES), cos_ES.copy()
    slope_last, slope = np.zeros_like(cos_ES), np.ones_like(cos_ES)
    out = np.zeros_like(cos_ES)
    for n in range(1, terms + 1):
        weight_S = (2 * n + 1) / n * factor[n - 1] * power_S
        out += now * (n * weight_S * radial_S) + slope * along_ES * weight_S
        # Bonnet's recursion for the polynomials, and the one for their slopes.
        last, now = now, ((2 * n + 1) * cos_ES * now - n * last) / (n + 1)
        slope_last, slope = slope, slope_last + (2 * n + 1) * last
        power_S = power_S * eccentricity_S
    return np.asarray(out / (4 * np.pi * shells.conductivity[-1] * shells.radius_m**2))


def magnetic_field(
    centre_m: NDArray[np.floating],
    point_K3: NDArray[np.floating],
    normal_K3: NDArray[np.floating],
    source_S3: NDArray[np.floating],
    moment_S3: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Field of each dipole along each normal, outside a conducting sphere, (K, S) tesla."""
    r, r0 = point_K3 - centre_m, source_S3 - centre_m
    twist = np.cross(moment_S3, r0)
    r2_K, r_r0 = (r**2).sum(1)[:, None], r @ r0.T
    length_K = np.sqrt(r2_K)
    a2 = r2_K + (r0**2).sum(1) - 2 * r_r0
    a = np.sqrt(a2)
    a_r = r2_K - r_r0
    f = a * (length_K * a + a_r)
    # grad F = outward * r - inward * r0
    inward = a + 2 * length_K + a_r / a
    outward = a2 / length_K + inward + a
    slope = outward * (normal_K3 * r).sum(1)[:, None] - inward * (normal_K3 @ r0.T)
    return np.asarray(MU0_4PI * (f * (normal_K3 @ twist.T) - (r @ twist.T) * slope) / f**2)


def inner_potential(
    contact_E3: NDArray[np.floating],
    source_S3: NDArray[np.floating],
    moment_S3: NDArray[np.floating],
    *,
    conductivity: float = BRAIN_S_M,
    patch_m: float = PATCH_M,
) -> NDArray[np.float64]:
    """Potential of each dipole at contacts inside the head, (E, S) volts.

    It falls with the square of the distance; within `patch_m`, where a point would be infinite,
    it vanishes as at the middle of a patch.
    """
    away = contact_E3[:, None] - source_S3[None]
    apart2 = (away**2).sum(-1) + patch_m**2
    along = np.einsum("esk,sk->es", away, moment_S3)
    return np.asarray(along / (4 * np.pi * conductivity * apart2**1.5))
