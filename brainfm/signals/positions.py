"""Where sensors are and where they point, taken from a recording or, failing that, a montage.

Shapes: C channels. Metres; NaN where nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import UNIT_OF_KIND, Channels, Kind

KIND_OF_TYPE = {
    "eeg": Kind.EEG,
    "mag": Kind.MAG,
    "grad": Kind.GRAD,
    "ecog": Kind.ECOG,
    "seeg": Kind.SEEG,
    "dbs": Kind.SEEG,
    "emg": Kind.EMG,
    "ecg": Kind.ECG,
}
"""MNE channel types that brainfm reads. CTF and KIT axial gradiometers are "mag" in MNE: they
measure T over a long baseline. The BrainOmni program calls CTF coils GRAD; see `by_coil`."""

PLANAR_COILS = (2, 3011, 3012, 3013, 3014, 3015)
"""MNE coil types of planar gradiometers: Neuromag-122 and Vectorview (NM_122, VV_PLANAR_*)."""

AXIAL_GRADIOMETER_COILS = (2001, 4002, 5001, 6001, 7001, 7501, 9001, 9101, 9102)
"""5 cm, Magnes, CTF, KIT, Baby, Artemis 123, KRISS, Compumedics."""

FRAME_OF_MNE = {1: "device", 4: "head", 5: "mni", 2003: "mni"}
"""FIFFV_COORD_DEVICE, _HEAD, _MRI of a template, and MNI_TAL."""

FRAME_OF_MONTAGE = {"mni_tal": "mni", "head": "head", "unknown": "head"}


@lru_cache(maxsize=8)
def standard_positions(montage: str = "standard_1005") -> dict[str, tuple[float, float, float]]:
    """Name to position in metres, head frame, of one of MNE's montages.

    Raises
    ------
    DataError
        If MNE has no montage of that name.
    """
    import mne

    try:
        with mne.utils.use_log_level("ERROR"):
            made = mne.channels.make_standard_montage(montage)
            # The template is in its MRI frame; its own fiducials define the head frame.
            made = mne.channels.montage.transform_to_head(made)
    except ValueError as e:
        known = ", ".join(mne.channels.get_builtin_montages()[:8])
        raise DataError(f"montage '{montage}' is unknown; use one of {known}, ...") from e
    positions = made.get_positions()["ch_pos"]
    return {name: tuple(float(v) for v in xyz) for name, xyz in positions.items()}  # type: ignore[misc]


def montage_positions(names: Sequence[str], montage: str = "standard_1005") -> NDArray[np.float32]:
    """Positions of cleaned names, NaN for names that the montage does not have.

    Parameters
    ----------
    names : cleaned channel names (`brainfm.signals.names`)
    montage : name of a montage of MNE

    Returns
    -------
    array (C, 3), metres, head frame
    """
    known = standard_positions(montage)
    return np.array([known.get(n, (np.nan,) * 3) for n in names], np.float32).reshape(-1, 3)


def channels_from_info(
    info: Any,
    names: Sequence[str] | None = None,
    *,
    montage: str | None = "standard_1005",
    reference: str = "unknown",
) -> tuple[Channels, list[str]]:
    """Everything that brainfm keeps of `info["chs"]`.

    Parameters
    ----------
    info : mne.Info with data channels only (`KIND_OF_TYPE`)
    names : cleaned names; default those of `info`
    montage : fills positions of scalp channels when the recording has none; None leaves NaN
    reference : used unless `info` says that a reference was applied

    Returns
    -------
    channels : Channels
    notes : sentences on positions that are nominal or unknown

    Notes
    -----
    Orientation is the coil normal (``loc[9:12]``), for planar gradiometers the direction in
    which they measure (``loc[3:6]``), as BrainOmni has it. Sensors of a recording that carries a
    device-to-head transform are moved to the head frame, together with their orientations.
    """
    import mne

    names = list(names if names is not None else info["ch_names"])
    types = info.get_channel_types()
    kind = np.array([KIND_OF_TYPE[t] for t in types], np.int8)
    chs = info["chs"]
    loc = np.array([c["loc"][:12] for c in chs], np.float64).reshape(-1, 12)
    frame_C = np.array([int(c["coord_frame"]) for c in chs])
    meg = np.isin(kind, (Kind.MAG, Kind.GRAD))
    notes: list[str] = []

    pos = loc[:, :3].copy()
    ori = np.zeros((len(chs), 3))
    planar = np.array([int(c["coil_type"]) in PLANAR_COILS for c in chs], bool)
    ori[meg] = loc[meg, 9:12]
    ori[planar & meg] = loc[planar & meg, 3:6]
    # MNE writes zeros or NaN where it knows nothing; no sensor sits at the origin of its frame.
    unknown = ~np.isfinite(pos).all(1) | (np.abs(pos).sum(1) == 0)
    pos[unknown], ori[unknown] = np.nan, 0.0
    ori = np.where(np.isfinite(ori), ori, 0.0)

    to_head = info["dev_head_t"]
    if meg.any() and to_head is not None and not np.allclose(to_head["trans"], np.eye(4)):
        rows = meg & (frame_C == 1) & ~unknown
        pos[rows] = mne.transforms.apply_trans(to_head["trans"], pos[rows])
        ori[rows] = ori[rows] @ to_head["trans"][:3, :3].T
        frame_C[meg] = 4
    elif (meg & (frame_C == 1) & ~unknown).any():
        notes.append(
            "no device-to-head transform: MEG sensors keep the helmet's places, some centimetres "
            "off the head's; a file with dev_head_t gives them"
        )

    scalp = kind == Kind.EEG
    fill = scalp & unknown
    if montage and fill.any() and fill.sum() == scalp.sum():
        found = montage_positions([names[i] for i in np.flatnonzero(fill)], montage)
        pos[fill] = found
        n = int(np.isfinite(found).all(1).sum())
        if n:
            frame_C[fill] = 4
            notes.append(f"positions of {n} channels are nominal ({montage}), not measured")
    notes += _doubts(info, names, pos, scalp & ~unknown)
    missing = [names[i] for i in np.flatnonzero(~np.isfinite(pos).all(1))]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        notes.append(f"no position for {len(missing)} of {len(names)} channels: {shown}")
    norm = np.linalg.norm(ori, axis=1, keepdims=True)
    ori = np.divide(ori, norm, out=np.zeros_like(ori), where=norm > 0)

    used = {FRAME_OF_MNE.get(int(f), "unknown") for f in frame_C[np.isfinite(pos).all(1)]}
    frame = used.pop() if len(used) == 1 else "unknown"
    if used:
        notes.append(
            "sensors lie in different coordinate frames and no device-to-head transform joins "
            "them; frame 'unknown'"
        )
    if int(info["custom_ref_applied"]):
        reference = "custom" if reference == "unknown" else reference
    channels = Channels(
        tuple(names),
        kind,
        pos.astype(np.float32),
        ori.astype(np.float32),
        tuple(UNIT_OF_KIND[Kind(int(k))] for k in kind),
        frame,
        reference,
    )
    return channels, notes


def _doubts(
    info: Any, names: Sequence[str], pos: NDArray[np.float64], rows: NDArray[np.bool_]
) -> list[str]:
    """Names and places of scalp electrodes that contradict what else the recording says."""
    notes = []
    known = standard_positions("standard_1005")
    scalp = [names[i] for i in np.flatnonzero(rows).tolist()]
    odd = [n for n in scalp if n not in known]
    if odd and len(odd) <= len(scalp) // 2:
        notes.append(f"unlike the others, no 10-05 names: {', '.join(odd[:5])}")
    # MNE writes each electrode twice, with its channel and among the digitised points (kind 3).
    dig = [d["r"] for d in info["dig"] or [] if int(d["kind"]) == 3]
    if dig and rows.any():
        apart = np.linalg.norm(pos[rows][:, None] - np.array(dig)[None], axis=2).min(1)
        moved = [names[i] for i in np.flatnonzero(rows)[apart > 1e-3].tolist()]
        if moved:
            notes.append(
                f"positions of {', '.join(moved[:5])} are not among the digitised points; the "
                "channel's own is kept"
            )
    return notes


def by_coil(channels: Channels, info: Any) -> Channels:
    """The kinds that the BrainOmni program would give: CTF and KIT coils are GRAD there.

    Only for parity with released weights; the unit stays T.
    """
    kind = channels.kind.copy()
    for i, c in enumerate(info["chs"]):
        if kind[i] == Kind.MAG and int(c["coil_type"]) in AXIAL_GRADIOMETER_COILS:
            kind[i] = Kind.GRAD
    return Channels(
        channels.name,
        kind,
        channels.pos_m,
        channels.ori,
        channels.unit,
        channels.frame,
        channels.reference,
    )
