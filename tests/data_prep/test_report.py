import base64
import re

import numpy as np
import pytest

from brainfm.data.store import build_tables, write_recording
from brainfm.data.synthetic import synthetic_recording
from brainfm.signals.preprocess import Recipe
from data_prep.prepare import Outcome
from data_prep.report import hours_by_kind, load_table, signal_figure, write_report
from data_prep.state import FailureLog


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    for k, kind in enumerate(("EEG", "EEG", "MEG")):
        recording = synthetic_recording(kind=kind, seconds=20, seed=k)
        recording.dataset, recording.name = f"made_{kind.lower()}", f"r{k}"
        recording.subject, recording.split_group = f"s{k}", f"g{k}"
        recording.split = ("val", "train", "test")[k]
        recording.notes = ["channel 'C3' is dropped: <flat>"]
        path = root / recording.dataset / f"r{k}.safetensors"
        write_recording(recording, path, recipe=Recipe(sfreq=recording.sfreq))
    build_tables(root)
    log = FailureLog(root)
    for name in ("a", "b"):
        log.add(
            Outcome("made_eeg", name, f"{name}.edf", "refused", "x.edf: <b>truncated</b>; copy")
        )
    log.tidy()
    return root


def test_hours_add_up_by_set_and_kind(store):
    rows = {(r["dataset"], r["kind"]): r for r in hours_by_kind(load_table(store))}
    assert rows["made_eeg", "EEG"]["recordings"] == rows["made_eeg", "EEG"]["subjects"] == 2
    assert rows["made_eeg", "EEG"]["hours"] == pytest.approx(40 / 3600, abs=1e-3)
    assert rows["made_meg", "MEG"]["recordings"] == 1


def test_the_page_stands_alone_and_says_why(store):
    page = write_report(store).read_text()
    assert "3 recordings" in page and "2 did not get through" in page
    assert "http" not in page and "<script" not in page
    assert "&lt;b&gt;truncated&lt;/b&gt;" in page and "<b>truncated" not in page
    assert "dropped: &lt;flat&gt;" in page
    assert page.count("made_eeg/a, made_eeg/b") == 1


def test_pictures_are_inside_and_not_blank(store):
    from matplotlib.image import imread

    page = write_report(store).read_text()
    pictures = re.findall(r"base64,([^']+)'", page)
    # Hours, and one of the EEG set; the MEG set has nothing but a test split.
    assert len(pictures) == 2
    for k, text in enumerate(pictures):
        path = store / f"p{k}.png"
        path.write_bytes(base64.b64decode(text))
        assert imread(path)[..., :3].std() > 0.05
        path.unlink()


def test_before_tables_the_page_says_what_to_do(tmp_path):
    page = write_report(tmp_path).read_text()
    assert "data_prep finalize" in page and "Nothing was rejected" in page


def test_unknown_positions_are_said_in_the_picture():
    r = synthetic_recording(kind="EEG", seconds=4, seed=0)
    unknown = type(r.channels)(
        r.channels.name,
        r.channels.kind,
        np.full((len(r.channels), 3), np.nan),
        r.channels.ori,
        r.channels.unit,
    )
    fig = signal_figure(r.signal, r.sfreq, unknown, "t")
    assert any("unknown" in t.get_text() for ax in fig.axes for t in ax.texts)
