"""`python -m brainfm detect`: from a file or a stream to a table and a picture, or one sentence."""

import csv
import json
import sys
import types
from pathlib import Path

import mne
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "detect"))
from detect_helpers import CAUSAL, LOOKS_AHEAD, RULE, LineLength, patient

from brainfm.__main__ import main
from brainfm.detect import command, follow
from brainfm.detect.alarms import AlarmRule
from brainfm.detect.command import Follow, output_files, write_outputs
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.detect.sources import Piece, open_file
from brainfm.errors import DataError
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.signals.preprocess import Preprocess
from brainfm.signals.szcore import read_tsv
from eval.seizure.keep import write_rule

NAMES = ["Fp1", "C3", "Pz", "O2"]
TINY = MVPFormerConfig(preset="test", window=128, band=4)


def save(folder, recipe):
    torch.manual_seed(0)
    config = SeizureDetectorConfig(TINY, context=6, alarm=RULE)
    SeizureDetector(config, Preprocess(recipe)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(tmp_path_factory.mktemp("causal"), CAUSAL)


@pytest.fixture
def edf(tmp_path):
    made = mne.io.RawArray(patient().T, mne.create_info(NAMES, 256.0, "eeg"), verbose="ERROR")
    made.set_annotations(mne.Annotations([30.0], [15.0], ["sz"]))
    path = tmp_path / "sub-01_eeg.edf"
    mne.export.export_raw(path, made, physical_range=(-800, 800), verbose="ERROR")
    return path


@pytest.fixture
def line_length(monkeypatch):
    """The command with a detector whose answer is known."""
    monkeypatch.setattr(command, "load_detector", lambda folder: LineLength())


def refused(argv, capsys):
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert err.startswith("brainfm: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def test_a_seizure_comes_out_as_a_table_probabilities_and_a_picture(
    edf, line_length, tmp_path, capsys
):
    out = tmp_path / "out"
    argv = ["detect", str(edf), "--checkpoint", "x", "--out", str(out), "--line-freq", "50"]
    assert main([*argv, "--causal", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = json.loads(lines[-1])
    (event,), duration_s, _ = read_tsv(out / "sub-01_events.tsv", 60.0)
    assert event.onset_s == pytest.approx(30, abs=4) and event.label == "sz"
    assert event.duration_s == pytest.approx(15, abs=5) and duration_s == 60
    assert said["alarms"] == 1 and said["steps"] == 60 and said["times_real_time"] > 1
    assert sum(line.startswith("ALARM at 0:00:3") for line in lines) == 1
    with open(out / "sub-01_probabilities.csv") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 60 and float(rows[0]["end_s"]) == 1.0
    assert float(rows[40]["p_seizure"]) > 0.5 > float(rows[10]["p_seizure"])
    assert (out / "sub-01_timeline.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in out.iterdir()) == sorted(
        Path(p).name for p in said["files"].values()
    )


def test_a_channel_that_is_there_twice_is_refused_or_read_once(line_length, tmp_path, capsys):
    twice = ["Fp1", "C3", "Pz", "C3."]
    made = mne.io.RawArray(patient().T, mne.create_info(twice, 256.0, "eeg"), verbose="ERROR")
    path = tmp_path / "twice.edf"
    mne.export.export_raw(path, made, physical_range=(-800, 800), verbose="ERROR")
    argv = ["detect", str(path), "--checkpoint", "x", "--out", str(tmp_path / "out")]
    assert "pass --duplicates first" in refused(argv, capsys)
    assert main([*argv, "--duplicates", "first"]) == 0


def test_a_trained_detector_and_its_operating_point_are_read_from_the_folder(
    edf, checkpoint, tmp_path, capsys
):
    argv = ["detect", str(edf), "--checkpoint", str(checkpoint), "--out", str(tmp_path), "--json"]
    argv[argv.index(str(tmp_path))] = str(tmp_path / "out")
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["threshold"] == RULE.threshold
    assert lines[0].startswith("threshold 0.5: chosen by nobody")
    assert main([*argv, "--threshold", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "threshold 0: given as --threshold"
    said = json.loads(lines[-1])
    assert said["threshold"] == 0 and said["events"][0][:2] == [0.0, 60.0]


def test_a_kept_threshold_is_used_and_said_to_be_kept(edf, tmp_path, capsys):
    folder = save(tmp_path / "kept", CAUSAL)
    write_rule(folder, AlarmRule(0.25, 4.0, 4.0, 10.0), "best F1: on 6 validation patients")
    argv = ["detect", str(edf), "--checkpoint", str(folder), "--out", str(tmp_path / "out")]
    assert main([*argv, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "threshold 0.25: best F1: on 6 validation patients"
    said = json.loads(lines[-1])
    assert said["threshold"] == 0.25 and said["threshold_from"].startswith("best F1")


def test_a_recording_without_signal_is_said_to_be_without_signal(line_length, tmp_path, capsys):
    flat = mne.io.RawArray(
        np.full((4, 256 * 20), 1e-4), mne.create_info(NAMES, 256.0, "eeg"), verbose="ERROR"
    )
    flat.save(tmp_path / "flat_raw.fif", verbose="ERROR")
    argv = ["detect", str(tmp_path / "flat_raw.fif"), "--checkpoint", "x", "--json"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["no_signal_s"] == 20 and said["alarms"] == 0


def test_a_growing_file_is_followed_to_its_end(edf, line_length, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    argv = ["detect", str(edf), "--checkpoint", "x", "--out", str(tmp_path / "out"), "--follow"]
    assert main([*argv, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["alarms"] == 1 and any("ALARM" in line for line in lines)


@pytest.mark.parametrize("how", [["--causal"], ["--follow"]])
def test_filters_that_look_ahead_are_refused_by_name(how, edf, tmp_path, capsys):
    folder = save(tmp_path / "looks_ahead", LOOKS_AHEAD)
    sentence = refused(["detect", str(edf), "--checkpoint", str(folder), *how], capsys)
    assert "filters that look ahead are refused in causal mode" in sentence
    assert "looks_ahead" in sentence and "data_prep run --causal" in sentence


def test_ctrl_c_ends_a_live_recording_and_keeps_what_was_found(edf, tmp_path):
    source = open_file(edf)
    whole = next(source.pieces()).x_TC

    def pieces():
        yield Piece(whole[: 40 * 256])
        raise KeyboardInterrupt

    source.pieces, said = pieces, []
    going = Follow(LineLength(), source, RULE, causal=True, say=said.append)
    scores = going.run()
    result = write_outputs(output_files("x.edf", str(tmp_path)), going, scores)
    assert result["stopped"] and scores.duration_s == 40 and result["alarms"] == 1
    assert any("stopped at 0:00:40.0" in line for line in said)


def test_a_clock_that_jumps_is_a_stretch_without_signal(edf):
    source = open_file(edf)
    whole = next(source.pieces()).x_TC
    source.pieces = lambda: iter([Piece(whole[:2560]), Piece(whole[2560:5120], gap_s=7.0)])
    scores = Follow(LineLength(), source, RULE, causal=True).run()
    assert scores.duration_s == 27 and len(scores.proba_S) == 27
    assert np.isnan(scores.proba_S[10:17]).all() and np.isfinite(scores.proba_S[17:]).all()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--checkpoint", "x"], "give RECORDING, or --live"),
        (["a.edf", "--checkpoint", "x", "--live", "lsl:a"], "not|either"),
        (["--checkpoint", "x", "--live", "tcp"], "give lsl: and the stream's name"),
        (["none.edf", "--checkpoint", "x"], "none.edf: missing"),
        (["a.txt", "--checkpoint", "x", "--follow"], "cannot be followed"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(argv, says, line_length, capsys):
    import re

    assert re.search(says, refused(["detect", *argv], capsys))


def test_a_threshold_that_is_no_probability_is_refused(edf, line_length, capsys):
    argv = ["detect", str(edf), "--checkpoint", "x", "--threshold", "7"]
    assert "--threshold: threshold is 7.0" in refused(argv, capsys)


def test_a_model_that_detects_nothing_is_refused(edf, tmp_path, capsys):
    MVPFormer(TINY, Preprocess(CAUSAL)).save_pretrained(tmp_path / "encoder")
    sentence = refused(["detect", str(edf), "--checkpoint", str(tmp_path / "encoder")], capsys)
    assert "holds a MVPFormer, which detects nothing" in sentence


def test_annotations_beside_the_recording_are_not_overwritten(edf):
    (edf.parent / "sub-01_events.tsv").write_text("mine")
    with pytest.raises(DataError, match="may be its annotation"):
        output_files(str(edf), str(edf.parent))


def test_without_mne_lsl_a_stream_is_refused_with_the_remedy(line_length, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne_lsl", None)
    monkeypatch.setitem(sys.modules, "mne_lsl.lsl", None)
    sentence = refused(["detect", "--checkpoint", "x", "--live", "lsl:amp"], capsys)
    assert "pip install mne-lsl" in sentence


def fake_lsl(chunks, units=None):
    """A module `mne_lsl.lsl` with one stream of these (samples, first time stamp) chunks."""
    about = types.SimpleNamespace(
        sfreq=256.0,
        n_channels=4,
        get_channel_names=lambda: NAMES,
        get_channel_units=lambda: units,
        get_channel_types=lambda: ["EEG"] * 4,
    )

    class Inlet:
        def __init__(self, found):
            self.left = list(chunks)

        def open_stream(self, timeout):
            assert timeout > 0

        def close_stream(self):
            self.left = []

        def get_sinfo(self, timeout):
            return about

        def pull_chunk(self, timeout):
            if not self.left:
                return np.empty((0, 4)), np.empty(0)
            x_TC, first_s = self.left.pop(0)
            return x_TC, first_s + np.arange(len(x_TC)) / 256.0

    return types.SimpleNamespace(StreamInlet=Inlet, resolve_streams=lambda timeout, name: [about])


def test_a_stream_is_read_in_its_unit_and_lost_samples_are_a_gap(monkeypatch):
    from brainfm.detect.lsl import open_lsl

    x_TC = patient(seconds=20) * 1e6
    chunks = [(x_TC[:1280], 100.0), (x_TC[1280:2560], 105.001), (x_TC[2560:], 113.0)]
    for units in (None, ["microvolts"] * 4, ["-6"] * 4):
        monkeypatch.setitem(sys.modules, "mne_lsl", types.ModuleType("mne_lsl"))
        monkeypatch.setitem(sys.modules, "mne_lsl.lsl", fake_lsl(chunks, units))
        pieces = list(open_lsl("amp", patience_s=0.05).pieces())
        assert [p.gap_s for p in pieces] == [None, None, pytest.approx(3.0, abs=0.01)]
        np.testing.assert_allclose(np.concatenate([p.x_TC for p in pieces]), x_TC * 1e-6)
    monkeypatch.setitem(sys.modules, "mne_lsl.lsl", fake_lsl(chunks, ["furlong"] * 4))
    with pytest.raises(DataError, match="furlong"):
        open_lsl("amp", patience_s=0.05)
