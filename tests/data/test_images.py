"""Vectors of images, windows around images, splits by image, and the SIMULATED viewers."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from brainfm.data.format import write_recording
from brainfm.data.images import (
    ImageTable,
    ImageTargets,
    ImageWindows,
    cut_images,
    image_windows,
    images_judged_on,
)
from brainfm.data.index import build_tables
from brainfm.data.module import BrainDataModule
from brainfm.data.store import Store
from brainfm.data.utterances import SpeechTargets
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Channels, Event, Kind, Recording

N = 6


def run(split, names, seed, frames=80):
    rng = np.random.default_rng(seed)
    place = np.random.default_rng(9).uniform(-0.06, 0.06, (N, 3))
    kind, label = np.full(N, Kind.BOLD), tuple(f"P{i}" for i in range(N))
    channels = Channels(label, kind, place, np.zeros((N, 3)), ("au",) * N, "mni", "none")
    events = [Event(4.0 + 6 * i, 3.0, f"image:{name}") for i, name in enumerate(names)]
    x = rng.normal(size=(frames, N)).astype(np.float32)
    return Recording(
        x, 1.0, channels, "seen", "01", name=f"{split}{seed}", events=events, split=split,
        split_group=f"seen/01/{split}",
    )  # fmt: skip


def table(names=("a", "b", "c", "d")):
    return ImageTable(names, np.arange(1.0, 1 + 3 * len(names), dtype=np.float32).reshape(-1, 3))


@pytest.fixture()
def seen(tmp_path):
    """A store of one person, and a table: "c" is a test image that training shows too."""
    runs = [run("train", "abc", 0), run("val", "d", 1), run("test", "cc", 2)]
    for r in runs:
        write_recording(r, tmp_path / "seen" / f"{r.name}.safetensors", recipe=Recipe())
    build_tables(tmp_path)
    path = table().write(tmp_path / "images.safetensors")
    return Store(tmp_path), ImageTargets(str(path))


def taught(store):
    """Row of the training run."""
    return int(store.recordings.index[store.recordings["split"] == "train"][0])


def test_windows_lie_after_their_images_and_inside_the_run(seen):
    store, targets = seen
    found = image_windows(store, taught(store), targets)
    assert {(r.start, r.length): n for r, n in found.items()} == {
        (4, 12): "a",
        (10, 12): "b",
        (16, 12): "c",
    }
    late = ImageTargets(targets.table, 60.0, 72.0)
    assert list(image_windows(store, taught(store), late).values()) == [
        "a"
    ]  # the others end after the run


def test_images_of_a_later_split_are_not_learned_from(seen):
    store, targets = seen
    rows = store.recordings
    assert images_judged_on(store, rows, "train") == {"c", "d"}
    assert images_judged_on(store, rows, "val") == {"c"}
    index, dropped = cut_images(store, rows[rows["split"] == "train"], targets, {"c", "d"})
    assert len(index) == 2 and dropped == 1
    data = BrainDataModule(str(store.root), images=targets, preprocess=Preprocess(store.recipe))
    data.setup("fit")
    batches = list(data.train_dataloader())
    starts = sorted(r.start for b in batches for r in b.refs)
    assert starts == [4, 10]
    assert all(b.stimulus_BNF.shape == (len(b), 1, 3) for b in batches)


def test_batches_carry_the_vector_of_their_image(seen):
    store, targets = seen
    data = ImageWindows(store, Preprocess(store.recipe), targets)
    refs = list(image_windows(store, taught(store), targets))
    batch = data[[refs[2], refs[0]]]
    assert torch.equal(batch.stimulus_BNF[:, 0], torch.tensor([[7.0, 8, 9], [1, 2, 3]]))
    assert data.names(refs) == ["a", "b", "c"]
    with pytest.raises(DataError, match="no image has its window at samples 5 to 17"):
        data.names([refs[0]._replace(start=5)])


def test_tables_come_back_as_they_were(tmp_path):
    path = table().write(tmp_path / "t.safetensors")
    again = ImageTable.read(path)
    assert again.names == table().names and np.array_equal(again.vector_NE, table().vector_NE)
    with pytest.raises(DataError, match="image 'x' and 1 more have no vector"):
        again.of(["a", "y", "x"], "run")


@pytest.mark.parametrize(
    ("names", "vectors", "says"),
    [
        (("a", "a"), np.ones((2, 3)), "'a' has several vectors"),
        (("a", "b"), np.array([[1.0, np.nan], [1, 1]]), "image 'a' is not finite"),
        (("a", "b"), np.array([[1.0, 1], [0, 0]]), "image 'b' is not finite, or nothing but"),
        (("a",), np.ones((2, 3)), "vectors of shape"),
    ],
)
def test_tables_that_cannot_be_are_refused(names, vectors, says):
    with pytest.raises(DataError, match=says):
        ImageTable(names, vectors.astype(np.float32))


def test_files_that_are_no_tables_are_refused_by_name(tmp_path):
    path = tmp_path / "t.safetensors"
    with pytest.raises(DataError, match="t.safetensors: no table of images"):
        ImageTable.read(path)
    save_file({"vector": np.ones((2, 3), np.float32)}, path)
    with pytest.raises(DataError, match="wants an array 'vector' and, as metadata"):
        ImageTable.read(path)
    save_file({"vector": np.ones((2, 3), np.float32)}, path, metadata={"names": '["a", "a"]'})
    with pytest.raises(DataError, match="t.safetensors: image 'a' has several"):
        ImageTable.read(path)


def test_settings_that_make_no_sense_are_refused(seen, tmp_path):
    store, targets = seen
    with pytest.raises(ValueError, match="is empty; raise until_s"):
        ImageTargets("t", 3.0, 3.0)
    with pytest.raises(ValueError, match="has no table"):
        ImageTargets()
    with pytest.raises(DataError, match="more than one is set"):
        BrainDataModule(str(store.root), images=targets, speech=SpeechTargets())
    r = run("train", "", 5)
    write_recording(r, tmp_path / "x" / "seen" / "a.safetensors", recipe=Recipe())
    build_tables(tmp_path / "x")
    other = Store(tmp_path / "x")
    with pytest.raises(DataError, match="no whole window after an event 'image:"):
        cut_images(other, other.recordings, targets)
