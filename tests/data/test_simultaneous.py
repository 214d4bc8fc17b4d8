"""Windows of recordings made at once show the same seconds, whatever their rates and starts."""

import numpy as np
import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.module import BrainDataModule
from brainfm.data.simultaneous import cut_simultaneous, made_at_once
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_channels
from brainfm.data.windows import Cut
from brainfm.errors import DataError
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.types import Channels, Kind, Recording, Simultaneous

RECIPE = Recipe(sfreq=64.0, lowpass_hz=30.0)


def ramp(kind, sfreq, start_s, seconds, **fields):
    """A recording whose samples are the seconds of its clock."""
    if kind == "BOLD":
        n = 3
        channels = Channels(
            ("a", "b", "c"), np.full(n, Kind.BOLD), np.zeros((n, 3)), np.zeros((n, 3)), ("au",) * n
        )
    else:
        channels = synthetic_channels(kind, 4)
    t = start_s + np.arange(round(seconds * sfreq)) / sfreq
    known = {"dataset": "d", "subject": "01", "split": "train", "clock": "run1", "name": kind}
    signal = np.tile(t[:, None], (1, len(channels))) + 1e-9 * np.arange(len(channels))
    return Recording(signal, sfreq, channels, **{**known, **fields}, start_s=start_s)


def store_of(tmp_path, *recordings):
    for k, r in enumerate(recordings):
        path = tmp_path / "d" / f"{k}.safetensors"
        write_recording(r, path, recipe=RECIPE, dtype="float32")
    build_tables(tmp_path)
    return Store(tmp_path)


@pytest.fixture
def three(tmp_path):
    """EEG from 0 to 100 s but for 40 to 45, MEG from 3.5 s on, fMRI every 1.5 s from 5.25 s on."""
    return store_of(
        tmp_path,
        ramp("EEG", 64.0, 0.0, 100, intervals_s=[(0, 40), (45, 100)]),
        ramp("MEG", 64.0, 3.5, 90),
        ramp("BOLD", 1 / 1.5, 5.25, 81),
    )


def test_the_fastest_leads_and_lone_recordings_are_left_out(tmp_path):
    lone = ramp("EEG", 64.0, 0.0, 20, clock="other", subject="02")
    nobody = ramp("EEG", 64.0, 0.0, 21, clock="", subject="03")
    store = store_of(tmp_path, ramp("BOLD", 0.5, 0, 40), ramp("EEG", 64.0, 0, 40), lone, nobody)
    assert made_at_once(store, store.recordings) == {1: (0,)}


def test_windows_lie_where_all_were_recording(three):
    others = made_at_once(three, three.recordings)
    assert others == {0: (1, 2)}
    index = cut_simultaneous(three, three.recordings, others, Cut(10, stride_s=5))
    starts = [r.start / 64 for r in index.refs(np.arange(len(index)))]
    # From the first frame at 5.25 s; the hole at 40 to 45 s; the last frame ends at 86.25 s.
    assert starts == [5.25, 10.25, 15.25, 20.25, 25.25, *np.arange(45, 77, 5)]


def test_every_recording_shows_the_seconds_of_the_window(three):
    data = BrainDataModule(
        str(three.root),
        window_s=10,
        patch_s=1,
        simultaneous=True,
        seed=5,
        preprocess=Preprocess(RECIPE, Normalise(scale="channel_robust")),
    )
    data.setup("fit")
    seen = 0
    for batch, _ in zip(iter(data.train_dataloader()), range(3), strict=False):
        assert isinstance(batch, Simultaneous) and len(batch.batches) == 3
        eeg, meg, bold = batch.batches
        for row in range(len(batch)):
            start = float(eeg.time_BW[row, 0])
            # Values are the clock itself, up to half a float32 step at a hundred seconds.
            for one, least, most in ((eeg, 0, 0), (meg, 0, 1 / 64), (bold, 0, 1.5)):
                x_CT = (
                    one.signal_BCT[row] * one.scale_BC[row, :, None] + one.offset_BC[row, :, None]
                )
                first = float(x_CT[0, 0])
                assert first == pytest.approx(float(one.time_BW[row, 0]), abs=1e-3)
                assert least - 1e-3 <= first - start <= most + 1e-3
                assert float(x_CT[0, -1]) < start + 10
            seen += 1
        assert bold.signal_BCT.shape[-1] == 6
    assert seen


def test_a_clock_across_splits_is_refused(tmp_path):
    store = store_of(
        tmp_path,
        ramp("EEG", 64.0, 0, 40),
        ramp("MEG", 64.0, 0, 41, split="test", subject="02", split_group="d/02"),
    )
    with pytest.raises(DataError, match="clock 'run1' are in the splits test, train"):
        made_at_once(store, store.recordings)


def test_a_store_without_clocks_is_refused(tmp_path):
    store = store_of(tmp_path, ramp("EEG", 64.0, 0, 40, clock=""))
    with pytest.raises(DataError, match="none were made at once"):
        made_at_once(store, store.recordings)


def test_a_window_without_a_frame_is_refused(tmp_path):
    store = store_of(tmp_path, ramp("EEG", 64.0, 0, 40), ramp("BOLD", 0.5, 0, 40))
    data = BrainDataModule(str(store.root), window_s=1, patch_s=1, simultaneous=True)
    data.setup("fit")
    with pytest.raises(DataError, match="holds none of its frames, which come every 2 s"):
        next(iter(data.to_meet()))


def test_only_one_way_to_cut_is_taken(tmp_path):
    from brainfm.data.seizures import SeizureSampling

    with pytest.raises(DataError, match="more than one is set"):
        BrainDataModule(str(tmp_path), simultaneous=True, seizures=SeizureSampling())
