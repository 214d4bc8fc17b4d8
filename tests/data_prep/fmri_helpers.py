"""Wheels with made-up atlases and runs in them, and images in NIfTI."""

import gzip
import hashlib
import zipfile
from dataclasses import replace

import nibabel as nib
import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable

from brainfm.data.index import build_tables
from brainfm.data.store import Store
from data_prep import download
from data_prep.atlases import registry
from data_prep.datasets import get_dataset
from data_prep.prepare import prepare_one

HALF_32K, HALF_5 = 32_492, 10_242


def forbid_downloads(monkeypatch):
    """Let a test fail that would call pip."""
    run = download.subprocess.run

    def guarded(command, *args, **more):
        if "pip" in command:
            raise AssertionError(f"would download: {command}")
        return run(command, *args, **more)

    monkeypatch.setattr(download.subprocess, "run", guarded)


def nifti(values, affine=None):
    """Bytes of a .nii.gz file; 10 mm voxels about the origin unless told."""
    values = np.asarray(values)
    if affine is None:
        affine = np.diag([10.0, 10, 10, 1])
        affine[:3, 3] = -5.0 * (np.array(values.shape[:3]) - 1)
    return gzip.compress(nib.Nifti1Image(values, affine).to_bytes())


def surface(points_mm):
    """Bytes of a GIFTI surface."""
    points = np.asarray(points_mm, np.float32)
    arrays = [
        GiftiDataArray(points, intent="NIFTI_INTENT_POINTSET"),
        GiftiDataArray(np.zeros((1, 3), np.int32), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    return GiftiImage(darrays=arrays).to_bytes()


def label_gifti(labels, names):
    """Bytes of a GIFTI label file."""
    table = GiftiLabelTable()
    for key, name in names.items():
        label = GiftiLabel(key=key)
        label.label = name
        table.labels.append(label)
    array = GiftiDataArray(np.asarray(labels, np.int32), intent="NIFTI_INTENT_LABEL")
    return GiftiImage(labeltable=table, darrays=[array]).to_bytes()


def cap(side, half, seed=0):
    """Millimetres of vertices of a hemisphere, spread over a box: left at x < 0."""
    points = np.random.default_rng(seed).uniform([1, -90, -40], [60, 60, 70], (half, 3))
    return points * [-1, 1, 1] if side == "L" else points


def make_wheel(package, members, root):
    """Put a wheel with these members into the downloads of `root`; the package, newly pinned."""
    folder = root / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package.name.replace('-', '_')}-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    return replace(package, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def make_atlas_wheels(monkeypatch, root, name, contents):
    """Let `load_atlas(name, root)` read these contents, in the order of the entry's members."""
    entry = registry.ATLASES[name]
    by_package = {}
    for (package, member), content in zip(entry.members, contents, strict=True):
        plain = gzip.decompress(content) if member.endswith(".nii") else content
        by_package.setdefault(package, {})[member] = plain
    pinned = {p: make_wheel(p, members, root) for p, members in by_package.items()}
    members = tuple((pinned[p], m) for p, m in entry.members)
    monkeypatch.setitem(registry.ATLASES, name, replace(entry, members=members))


def aal2_wheel(monkeypatch, root, parcels=94):
    """AAL2 with its names in order and one voxel each, left and right in turn."""
    names = [f"Region{k // 2}_{'LR'[k % 2]}" for k in range(parcels)]
    names[0], names[-1] = "Precentral_L", "Temporal_Inf_R"
    labels = np.zeros((4, 16, 16), np.uint16)
    for k in range(parcels):
        row, column = divmod(k // 2, 16)
        labels[1 + k % 2, row, column] = 2001 + k
    table = "index,name\n" + "".join(f"{2001 + k},{n}\n" for k, n in enumerate(names))
    make_atlas_wheels(monkeypatch, root, "aal2", [nifti(labels), table])
    return names


def desikan_wheel(monkeypatch, root):
    """Two parcels a hemisphere on fsaverage5, and vertices of no parcel."""
    labels = np.zeros(HALF_5, int)
    labels[10:4000], labels[4000:] = 1, 2
    right = np.where(labels > 0, labels + 41, 0)
    names = {0: "unknown", 1: "cuneus", 2: "insula"}
    of_right = {0: "unknown", 42: "cuneus", 43: "insula"}
    gifti = [label_gifti(labels, names), label_gifti(right, of_right)]
    gifti += [surface(cap("L", HALF_5)), surface(cap("R", HALF_5))]
    name = "desikan_killiany_fsaverage5"
    make_atlas_wheels(monkeypatch, root, name, [gzip.compress(g) for g in gifti])
    return labels


def prepared_store(name, root, recipe):
    """A store of all recordings of a data set that lies under `root`."""
    for job in get_dataset(name).jobs(root):
        outcome = prepare_one(job, recipe, root / "store")
        assert outcome.status == "done", outcome.reason + outcome.detail
    build_tables(root / "store")
    return Store(root / "store")
