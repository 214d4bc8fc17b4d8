"""Files read block by block or while they grow give what reading them at once gives."""

import json
import threading

import mne
import numpy as np
import pytest
from detect_helpers import patient

from brainfm.detect import follow, sources
from brainfm.detect.follow import follow_file
from brainfm.detect.sources import open_file
from brainfm.errors import DataError
from brainfm.signals.files.raw import read_raw
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Kind

NAMES = ["EEG Fp1-Ref", "EEG C3-Ref", "SEEG X7", "ECG1"]


def raw(seconds=20, sfreq=256.0, names=NAMES):
    x_CT = patient(sfreq, seconds, n=len(names)).T
    return mne.io.RawArray(x_CT, mne.create_info(list(names), sfreq, "eeg"), verbose="ERROR")


@pytest.fixture
def edf(tmp_path):
    made = raw()
    made.set_annotations(mne.Annotations([3.0, 12.0], [2.0, 1.0], ["sz_foc_ia", "BAD_gap"]))
    path = tmp_path / "sub-01_eeg.edf"
    mne.export.export_raw(path, made, physical_range=(-800, 800), verbose="ERROR")
    return path


def joined(source):
    return np.concatenate([piece.x_TC for piece in source.pieces()])


def write_brainvision(path):
    data_TC = 1e6 * raw().get_data().T
    path.with_suffix(".eeg").write_bytes(data_TC.astype("<f4").tobytes())
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\n"
        "Codepage=UTF-8\nDataFile=a.eeg\n[Marker Infos]\n"
    )
    columns = "".join(f"Ch{i}={n},,1,\u00b5V\n" for i, n in enumerate(NAMES, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        "DataFile=a.eeg\nMarkerFile=a.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels=4\nSamplingInterval={1e6 / 256}\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n{columns}"
    )


@pytest.mark.parametrize("suffix", [".edf", ".bdf", "_raw.fif", ".vhdr"])
def test_blocks_are_the_whole_file(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"a{suffix}"
    if suffix == "_raw.fif":
        raw().save(path, verbose="ERROR")
    elif suffix == ".vhdr":
        write_brainvision(path)
    else:
        mne.export.export_raw(path, raw(), physical_range=(-800, 800), verbose="ERROR")
    monkeypatch.setattr(sources, "BLOCK_S", 3.3)
    source = open_file(path)
    pieces = [p.x_TC for p in source.pieces()]
    assert len(pieces) == 7 and source.duration_s == 20
    np.testing.assert_array_equal(np.concatenate(pieces), read_raw(path)[0].get_data().T)


def test_a_file_says_what_a_detector_must_know(edf):
    source = open_file(edf)
    assert source.channels.name[:2] == ("Fp1", "C3")
    assert source.channels.kind[-1] == Kind.ECG
    assert [e.label for e in source.events] == ["sz_foc_ia"]
    assert source.intervals_s == [(0.0, 12.0), (13.0, 20.0)]
    assert any("no position" in n for n in source.notes)


def test_units_that_mne_does_not_know_count_block_by_block_too(edf, tmp_path):
    volts = joined(open_file(edf))
    content = bytearray(edf.read_bytes())
    n = int(content[252:256])
    at = 256 + 96 * n
    content[at : at + 8] = b"nV      "
    other = tmp_path / "nano.edf"
    other.write_bytes(content)
    nano = joined(open_file(other))
    np.testing.assert_allclose(nano[:, 0], volts[:, 0] * 1e-3, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(nano[:, 1:], volts[:, 1:])


def test_damage_among_the_samples_is_named_when_it_is_reached(edf, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK_S", 5.0)
    source = open_file(edf)
    pieces = source.pieces()
    next(pieces)
    edf.write_bytes(edf.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"sub-01_eeg\.edf: cannot be read from 5 s on"):
        next(pieces)


@pytest.mark.parametrize("lost", [0, 1000])
def test_an_edf_that_was_broken_off_is_read_as_far_as_it_goes(edf, tmp_path, lost):
    content, whole = edf.read_bytes(), joined(open_file(edf))
    cut = tmp_path / "cut.edf"
    cut.write_bytes(content[:236] + b"-1      " + content[244 : len(content) - lost])
    source = open_file(cut)
    assert source.duration_s == (19 if lost else 20)
    np.testing.assert_array_equal(joined(source), whole[: 256 * round(source.duration_s)])
    assert any("leaves the number of records open" in n for n in source.notes)


class Writer(threading.Thread):
    """Appends parts to a file, a moment apart."""

    def __init__(self, path, parts, end=None):
        super().__init__(daemon=True)
        self.path, self.parts, self.end = path, parts, end
        self.start()

    def run(self):
        pause = threading.Event()
        for part in self.parts:
            pause.wait(0.05)
            with open(self.path, "ab") as f:
                f.write(part)
        if self.end is not None:
            with open(self.path, "r+b") as f:
                f.seek(236)
                f.write(self.end)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(follow, "POLL_S", 0.01)


def test_an_edf_that_grows_is_read_as_it_is_written_and_ends_with_its_header(edf, tmp_path):
    content = edf.read_bytes()
    unfinished = content[:236] + b"-1      " + content[244:]
    # Parts that end inside records, and the first of them inside the header.
    cuts = [0, 700, 3000, 9001, 20000, len(content)]
    parts = [unfinished[a:b] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    growing = tmp_path / "growing.edf"
    Writer(growing, parts, end=content[236:244])
    source = follow_file(growing, patience_s=20.0)
    pieces = [p.x_TC for p in source.pieces()]
    np.testing.assert_array_equal(np.concatenate(pieces), joined(open_file(edf)))
    assert source.channels.name == open_file(edf).channels.name and len(pieces) > 1


def jump(content, second, by):
    """The file's time stamps from a second on, that much later."""
    for t in reversed(range(second, 20)):
        old, new = (b"+%d\x14\x14" % s for s in (t, t + by))
        assert content.count(old) == 1 and len(old) == len(new)
        content = content.replace(old, new)
    return content


@pytest.mark.parametrize("block_s", [60.0, 12.0, 1.0])
def test_time_stamps_of_a_growing_edf_that_jump_are_time_without_samples(
    edf, tmp_path, block_s, monkeypatch
):
    monkeypatch.setattr(follow, "BLOCK_S", block_s)
    content = edf.read_bytes()
    growing = tmp_path / "growing.edf"
    growing.write_bytes(jump(content, 12, 7))
    pieces = list(follow_file(growing, patience_s=5.0).pieces())
    gaps = {sum(len(p.x_TC) for p in pieces[:i]): p.gap_s for i, p in enumerate(pieces) if p.gap_s}
    assert gaps == {12 * 256: 7.0}
    np.testing.assert_array_equal(np.concatenate([p.x_TC for p in pieces]), joined(open_file(edf)))


def test_a_float_stream_that_grows_ends_when_patience_does(tmp_path):
    path = tmp_path / "amp.f32"
    x_TC = patient(64.0, 4, n=3).astype("<f4") * 1e6
    x_TC[5, 1] = np.nan
    about = {"sfreq": 64, "channels": ["Fp1", "STI", "X9"], "unit": "uV", "line_freq": 50}
    (tmp_path / "amp.json").write_text(json.dumps({**about, "type": ["eeg", "stim", "seeg"]}))
    Writer(path, np.array_split(np.frombuffer(x_TC.tobytes(), np.uint8), 5))
    source = follow_file(path, patience_s=0.5)
    assert source.channels.name == ("Fp1", "X9") and source.line_freq == 50
    np.testing.assert_allclose(joined(source), x_TC[:, [0, 2]] * 1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.fif", b"", "cannot be followed"),
        ("a.f32", b"", "does not describe"),
        ("a.edf", b"", "no EDF header within 0.05 s"),
        ("b.edf", b"0" * 252 + b"ab  ", "no number of signals"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name.split('.')[0]}.*{says}"):
        follow_file(tmp_path / name, patience_s=0.05)


def test_a_file_that_shrinks_while_followed_is_refused(tmp_path):
    path = tmp_path / "amp.f32"
    (tmp_path / "amp.json").write_text('{"sfreq": 64, "channels": ["Fp1"]}')
    path.write_bytes(bytes(4 * 640))
    pieces = follow_file(path, patience_s=5.0).pieces()
    next(pieces)
    path.write_bytes(bytes(8))
    with pytest.raises(DataError, match="became shorter"):
        next(pieces)


def test_a_bipolar_file_stands_where_the_training_data_stood(tmp_path):
    names = ("FP1-F7", "F7-T7", "T7-P7")
    path = tmp_path / "bipolar.edf"
    mne.export.export_raw(path, raw(names=names), physical_range=(-800, 800), verbose="ERROR")
    source = open_file(path)
    prepared = recording_from_raw(read_raw(path)[0], recipe=Recipe(), source=str(path))
    assert source.channels.name == prepared.channels.name
    assert source.channels.reference == prepared.channels.reference == "bipolar"
    np.testing.assert_array_equal(source.channels.pos_m, prepared.channels.pos_m)
    assert np.isfinite(source.channels.pos_m).all()
