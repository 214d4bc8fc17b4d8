"""fMRI and electrophysiology in one store: every recording at its own rate, on its own clock."""

import dataclasses

import numpy as np
import pytest

from brainfm.data.format import read_header, write_recording
from brainfm.data.index import build_tables
from brainfm.data.module import BrainDataModule
from brainfm.data.parts import split_into_parts
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.data.windows import Cut, cut_windows
from brainfm.errors import ContractError, DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording

TR_S = 0.72


def bold(tr_s=TR_S, frames=200, n=5, **fields):
    rng = np.random.default_rng(0)
    channels = Channels(
        tuple(f"P{i}" for i in range(n)),
        np.full(n, Kind.BOLD),
        rng.uniform(-0.06, 0.06, (n, 3)),
        np.zeros((n, 3)),
        ("au",) * n,
        "mni",
        "none",
    )
    known = {"dataset": "bold", "subject": "01", "split": "train", "name": f"tr{tr_s}"}
    return Recording(rng.normal(size=(frames, n)), 1 / tr_s, channels, **{**known, **fields})


@pytest.fixture
def mixed(tmp_path):
    """A minute of EEG, and fMRI at two TRs whose first frame was taken at 1.44 and 2.25 s."""
    eeg = synthetic_recording("EEG", 60, 4, split="train")
    for k, r in enumerate((eeg, bold(start_s=1.44, clock="c"), bold(2.5, start_s=2.25))):
        write_recording(r, tmp_path / "d" / f"{k}.safetensors", recipe=Recipe())
    build_tables(tmp_path)
    return Store(tmp_path)


def test_every_recording_keeps_its_rate_and_clock(mixed):
    assert [round(1 / mixed.sfreq(r), 4) for r in range(3)] == [round(1 / 256, 4), 0.72, 2.5]
    assert [mixed.start_s(r) for r in range(3)] == [0.0, 1.44, 2.25]
    assert [mixed.is_bold(r) for r in range(3)] == [False, True, True]
    assert mixed.recordings["clock"].tolist() == ["", "c", ""]


def test_windows_are_cut_in_seconds_and_hold_whole_frames(mixed):
    index = cut_windows(mixed, mixed.recordings, Cut(10, patch_s=1), Cut(60, patch_s=20))
    held = {b.sfreq: (b.n_samples, b.patch) for b in index.buckets}
    # 20 s are 27.8 frames of 0.72 s: 28; 60 s are 83.3: two whole steps.
    assert held == {256.0: (2560, 256), 1 / 2.5: (24, 8), 1 / TR_S: (56, 28)}


def test_batches_hold_one_rate_and_tell_the_time_of_the_clock(mixed):
    data = BrainDataModule(
        str(mixed.root), window_s=10, patch_s=1, bold=Cut(60, patch_s=20), jitter=False
    )
    data.setup("fit")
    seen = {}
    for batch in data.to_meet():
        seen[round(batch.sfreq, 3)] = batch
    assert sorted(seen) == [0.4, 1.389, 256.0]
    fast = seen[1.389]
    assert fast.x_BCWP.shape[2:] == (2, 28) and int(fast.kind_BC[0, 0]) == Kind.BOLD
    begins = 1.44 + fast.refs[0].start * TR_S
    assert fast.time_BW[0].tolist() == pytest.approx([begins, begins + 28 * TR_S])


def test_a_budget_counts_steps_of_each_rate(mixed):
    data = BrainDataModule(
        str(mixed.root), window_s=10, patch_s=1, bold=Cut(40, patch_s=20), tokens_per_batch=40
    )
    data.setup("fit")
    sizes = {round(b.sfreq, 3): len(b) for b in data.to_meet()}
    # Forty tokens are one window of 4 sensors x 10 steps, or four of 5 parcels x 2 steps.
    assert sizes[256.0] == 1 and sizes[0.4] == 4


def test_parts_of_a_long_recording_stay_on_its_clock():
    parts = split_into_parts(bold(start_s=5.0, frames=100), hours=40.5 * TR_S / 3600)
    assert [p.start_s for p in parts] == pytest.approx([5.0, 5 + 40 * TR_S, 5 + 80 * TR_S])


def test_scrubbed_frames_part_windows_and_keep_the_time(tmp_path):
    r = bold(1.0, 60, intervals_s=[(0, 20), (22, 60)], start_s=0.5)
    write_recording(r, tmp_path / "d" / "a.safetensors", recipe=Recipe())
    build_tables(tmp_path)
    store = Store(tmp_path)
    index = cut_windows(store, store.recordings, Cut(10, patch_s=10))
    starts = [r.start for r in index.refs(np.arange(len(index)))]
    assert starts == [0, 10, 22, 32, 42]


def test_a_recipe_with_a_rate_for_fmri_refuses_other_frames(tmp_path):
    recipe = Recipe(bold_sfreq=1.0)
    path = tmp_path / "d" / "a.safetensors"
    write_recording(bold(1.0), path, recipe=recipe)
    with pytest.raises(DataError, match="sfreq is 1.38889 Hz but the recipe says 1 Hz"):
        write_recording(bold(), path, recipe=recipe)
    with pytest.raises(ContractError, match="bold_sfreq is 256"):
        Recipe(bold_sfreq=256.0)


def test_events_of_fmri_are_kept_in_seconds(tmp_path):
    r = dataclasses.replace(bold(2.5), events=[Event(10.0, 22.5, "face")])
    path = tmp_path / "d" / "a.safetensors"
    write_recording(r, path, recipe=Recipe())
    header = read_header(path)
    assert header["events"] == [Event(10.0, 22.5, "face")] and header["sfreq"] == 0.4
