"""Step labels and seizure-aware plans, on simulated recordings with one seizure each."""

import numpy as np
import pytest

from brainfm.data.collate import WindowDataset
from brainfm.data.module import BrainDataModule
from brainfm.data.seizures import (
    SeizureSampling,
    SeizureWindows,
    annotated,
    label_steps,
    repeat_around_seizures,
    seizures_in,
)
from brainfm.data.store import Store, build_tables, write_recording
from brainfm.data.synthetic import synthetic_recording, synthetic_store
from brainfm.data.windows import Cut, cut_windows
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Event, WindowRef

RECIPE = Recipe(sfreq=64.0, lowpass_hz=30.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    return synthetic_store(root, seconds=100.0, recipe=RECIPE, kinds=["EEG"], seizures=True)


def touches(store, refs):
    found = []
    for r in refs:
        (e,) = seizures_in(store, r.recording)
        start, stop = r.start / 64, (r.start + r.length) / 64
        found.append(start < e.onset_s + e.duration_s and stop > e.onset_s)
    return np.array(found)


def test_a_step_is_ictal_if_it_shares_any_time_with_a_seizure():
    seizure = [Event(4.0, 4.0, "sz")]
    assert label_steps(seizure, 0.0, 6, 2.0).tolist() == [0, 0, 1, 1, 0, 0]
    assert label_steps(seizure, 0.1, 6, 2.0).tolist() == [0, 1, 1, 1, 0, 0]
    assert label_steps(seizure, 7.9, 2, 2.0).tolist() == [1, 0]
    assert label_steps(seizure, 8.0, 2, 2.0).tolist() == [0, 0]
    assert label_steps([Event(5.0, 0.1, "sz")], 0.0, 3, 2.0).tolist() == [0, 0, 1]
    assert label_steps([], 0.0, 3, 2.0).tolist() == [0, 0, 0]


def test_batches_carry_the_labels_of_their_own_places(store):
    windows = SeizureWindows(store, Preprocess(RECIPE), patch=128)
    (e,) = seizures_in(store, 0)
    assert (e.onset_s, e.duration_s) == (60.0, 20.0)
    batch = windows[[WindowRef(0, 0, 640), WindowRef(0, 56 * 64, 640), WindowRef(0, 78 * 64, 640)]]
    assert batch.label_BW.tolist() == [[0] * 5, [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]]
    plain = WindowDataset(store, Preprocess(RECIPE), patch=128)[[WindowRef(0, 0, 640)]]
    assert plain.label_BW is None


def test_windows_around_seizures_make_up_the_share(store):
    rows = store.recordings
    index = cut_windows(store, rows, Cut(10, patch_s=0.5))
    plain = touches(store, index.refs(np.arange(len(index)))).mean()
    for share in (0.4, 0.7):
        more = repeat_around_seizures(store, rows, index, SeizureSampling(share))
        found = touches(store, more.refs(np.arange(len(more)))).mean()
        assert plain < 0.3 < abs(share - 0.1) <= found <= share + 0.1


def test_repeats_look_at_different_places_and_stay_inside_the_recording(store):
    rows = store.recordings
    index = cut_windows(store, rows, Cut(10, patch_s=0.5))
    more = repeat_around_seizures(store, rows, index, SeizureSampling(0.8))
    refs = more.refs(np.arange(len(more)), jitter_key=3)
    starts = {r.start for r, hit in zip(refs, touches(store, refs), strict=True) if hit}
    assert len(starts) > 20
    assert all(0 <= r.start and r.start + r.length <= 6400 for r in refs)


def test_a_share_of_nothing_leaves_the_plan_alone(store):
    index = cut_windows(store, store.recordings, Cut(10, patch_s=0.5))
    same = repeat_around_seizures(store, store.recordings, index, SeizureSampling(0.0))
    assert same.hash == index.hash


@pytest.mark.parametrize("edge", ["first", "last"])
def test_a_seizure_at_the_edge_of_a_recording_is_shown_too(tmp_path, edge):
    recording = synthetic_recording("EEG", 100.0, 4, sfreq=64.0, split="train")
    onset = 0.0 if edge == "first" else 97.0
    recording.events = [Event(onset, 3.0, "sz")]
    write_recording(recording, tmp_path / "d" / "a.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    one = Store(tmp_path)
    index = cut_windows(one, one.recordings, Cut(10, patch_s=0.5))
    more = repeat_around_seizures(one, one.recordings, index, SeizureSampling(0.5))
    refs = more.refs(np.arange(len(more)))
    assert touches(one, refs).mean() >= 0.4
    windows = SeizureWindows(one, Preprocess(RECIPE), patch=128)
    assert all(
        windows[[r]].label_BW.any() for r, hit in zip(refs, touches(one, refs), strict=True) if hit
    )


def test_a_store_that_nobody_annotated_is_refused_with_the_remedy(tmp_path):
    plain = synthetic_store(tmp_path, seconds=20.0, recipe=RECIPE, kinds=["EEG"])
    with pytest.raises(DataError, match="neither a seizure .* nor 'bckg'"):
        annotated(plain, plain.recordings)
    module = BrainDataModule(str(tmp_path), patch_s=2.0, seizures=SeizureSampling())
    with pytest.raises(DataError, match="bckg"):
        module.setup("fit")


def test_recordings_nobody_looked_at_take_no_part(tmp_path):
    for name, events in (("a", [Event(0, 100, "bckg")]), ("b", []), ("c", [Event(5, 5, "sz")])):
        recording = synthetic_recording("EEG", 100.0, 4, sfreq=64.0, split="train", name=name)
        recording.events = events
        write_recording(recording, tmp_path / "d" / f"{name}.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    one = Store(tmp_path)
    assert annotated(one, one.recordings)["name"].tolist() == ["a", "c"]


def test_training_is_weighted_and_validation_is_not(store):
    module = BrainDataModule(
        str(store.root), window_s=10, patch_s=2, seizures=SeizureSampling(0.6), jitter=False
    )
    module.setup("fit")
    train, val = module._index["train"], module._index["val"]
    assert touches(store, train.refs(np.arange(len(train)))).mean() > 0.5
    assert touches(store, val.refs(np.arange(len(val)))).mean() < 0.4
    assert next(iter(module.val_dataloader())).label_BW is not None


@pytest.mark.parametrize("wrong", [{"ictal_share": 1.0}, {"most_repeats": 0}])
def test_a_wrong_share_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SeizureSampling(**wrong)
