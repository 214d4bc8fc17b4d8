"""What is written comes back; what cannot be stored is refused; nothing is half published."""

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from safetensors import safe_open

from brainfm.data import format as store_format
from brainfm.data.format import map_samples, read_header, write_recording
from brainfm.data.index import build_tables
from brainfm.data.synthetic import synthetic_recording, synthetic_store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event


@pytest.fixture
def recording():
    return synthetic_recording("EEG", 4, 4, classes=("a", "b"), trial_s=1.0)


def write(recording, folder, name="one", **args):
    path = folder / recording.dataset / f"{name}.safetensors"
    write_recording(recording, path, recipe=Recipe(), **args)
    return path


def stored(path):
    signal, scale = map_samples(path)
    return signal * scale if signal.dtype != np.float32 else np.array(signal)


def test_header_brings_everything_back(recording, tmp_path):
    recording.events.append(Event(1.5, 0.25, "Änderung 変化"))
    recording.line_freq, recording.split = 60.0, "test"
    header = read_header(write(recording, tmp_path))
    assert header["events"] == recording.events
    assert header["channels"].layout() == recording.channels.layout()
    assert header["intervals"].tolist() == [[i * 256, (i + 1) * 256] for i in range(4)]
    assert header["recipe"] == Recipe()
    assert (header["split"], header["line_freq"], header["subject"]) == ("test", 60.0, "01")


def test_sixteen_bits_are_off_by_half_a_step(recording, tmp_path):
    path = write(recording, tmp_path)
    signal, scale = map_samples(path)
    assert signal.dtype == np.int16
    # float32 holds 24 bits, so the product itself adds a little
    assert (np.abs(stored(path) - recording.signal) <= 0.501 * scale).all()


@pytest.mark.parametrize(("dtype", "worst"), [("int16", 1e-4), ("float16", 1e-3), ("float32", 0)])
def test_each_dtype_gives_si_units_back(recording, tmp_path, dtype, worst):
    back = stored(write(recording, tmp_path, dtype=dtype))
    assert np.abs(back - recording.signal).max() <= worst * np.abs(recording.signal).max()


def test_tesla_survive(tmp_path):
    meg = synthetic_recording("MAG", 4, 6)
    back = stored(write(meg, tmp_path))
    assert np.abs(back - meg.signal).max() < 1e-4 * np.abs(meg.signal).max()


def test_a_channel_with_a_huge_artefact_keeps_its_detail_as_float32(recording, tmp_path):
    recording.signal[100, 2] = 1.0  # a volt among microvolts
    header = read_header(write(recording, tmp_path))
    assert header["dtype"] == "float32"
    assert f"channel '{recording.channels.name[2]}'" in header["notes"][-1]


def test_samples_that_are_not_finite_are_kept_as_float32_and_said(recording, tmp_path):
    recording.signal[5, 1] = np.nan
    path = write(recording, tmp_path)
    assert np.isnan(stored(path)[5, 1]) and np.isfinite(stored(path)[:, 0]).all()
    assert "not finite" in read_header(path)["notes"][-1]


def test_a_flat_channel_does_not_stop_the_others(recording, tmp_path):
    recording.signal[:, 3] = 0
    back = stored(write(recording, tmp_path))
    assert (back[:, 3] == 0).all() and back[:, 0].std() > 0


def test_any_safetensors_reader_can_open_it(recording, tmp_path):
    with safe_open(write(recording, tmp_path), framework="np") as f:
        assert set(f.keys()) == {"signal", "scale"}
        assert f.get_slice("signal")[10:20].shape == (10, 4)


def test_the_source_is_named_and_hashed_without_its_folder(recording, tmp_path):
    source = tmp_path / "private" / "patient.edf"
    source.parent.mkdir()
    source.write_bytes(b"abc")
    recording.source = str(source)
    header = read_header(write(recording, tmp_path))
    assert (header["source"], header["source_size"]) == ("patient.edf", 3)
    assert header["source_sha256"].startswith("ba7816bf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: setattr(r, "sfreq", 100.0), "100 Hz but the recipe says 256"),
        (lambda r: setattr(r, "split", "holdout"), "split 'holdout'"),
        (lambda r: setattr(r, "signal", r.signal[:0]), "no samples"),
        (lambda r: setattr(r, "intervals_s", [(9.0, 12.0)]), "no interval"),
        (lambda r: setattr(r, "intervals_s", [(0.0, float("nan"))]), "interval"),
        (lambda r: r.events.append(Event(float("nan"), 0, "x")), "not a finite number"),
        (lambda r: r.signal.__setitem__((0, 0), 1e32), "no sensor does"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_file(recording, tmp_path, change, message):
    recording.source = "sub-07.edf"
    change(recording)
    with pytest.raises(DataError, match=message):
        write(recording, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_unknown_dtype_is_refused(recording, tmp_path):
    with pytest.raises(DataError, match="dtype 'int8' is none of"):
        write(recording, tmp_path, dtype="int8")


def test_a_full_disk_leaves_the_old_file_and_no_rest(recording, tmp_path, monkeypatch):
    path = write(recording, tmp_path)
    before = path.read_bytes()

    def full(tensors, name, metadata):
        name.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_format, "save_file", full)
    with pytest.raises(DataError, match=r"one\.safetensors: could not be written .*No space left"):
        write(recording, tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_disk_that_fills_while_writing_leaves_nothing(tmp_path):
    """The limit on file size is real: the operating system stops the write half-way."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from brainfm.data.format import write_recording
        from brainfm.data.synthetic import synthetic_recording
        from brainfm.errors import DataError
        from brainfm.signals.preprocess import Recipe
        recording = synthetic_recording("EEG", 60, 19)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_recording(recording, Path(sys.argv[1], "d", "x.safetensors"), recipe=Recipe())
        except DataError as e:
            sys.stdout.write(str(e))
    """
    done = run(code, tmp_path)
    assert "could not be written" in done.stdout, done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_killed_writer_leaves_a_store_that_still_finishes(tmp_path):
    """SIGKILL strikes in the middle of the fifth file, after its bytes, before its name."""
    synthetic_store(tmp_path, kinds=("EEG",), n_subjects=3, seconds=2)
    code = """
        import os, signal, sys
        from pathlib import Path
        from brainfm.data import format as f
        from brainfm.data.synthetic import synthetic_recording
        from brainfm.signals.preprocess import Recipe
        replace, count = os.replace, 0
        def dying(a, b):
            global count
            count += 1
            if count == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(a, b)
        os.replace = dying
        for i in range(10):
            r = synthetic_recording("EEG", 2, 19, subject=f"new{i}", split="train")
            path = Path(sys.argv[1], r.dataset, f"new{i}.safetensors")
            f.write_recording(r, path, recipe=Recipe())
    """
    assert run(code, tmp_path).returncode == -9
    assert list(tmp_path.glob("*/.*.tmp"))
    table = build_tables(tmp_path)
    assert len(table) == 3 + 4 and not table.attrs["rejected"]


def test_the_rest_of_a_killed_writer_is_removed_after_a_day(tmp_path):
    synthetic_store(tmp_path, kinds=("EEG",), n_subjects=3, seconds=2)
    old, new = (tmp_path / "simulated_eeg" / f".{n}.safetensors.1.tmp" for n in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    build_tables(tmp_path)
    assert not old.exists() and new.exists()


def run(code, folder):
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)], capture_output=True, text=True
    )
