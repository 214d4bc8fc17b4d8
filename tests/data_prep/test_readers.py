import shutil
import warnings

import mne
import numpy as np
import pytest
from prep_helpers import (
    NAMES,
    edf_field,
    make_raw,
    write_brainvision,
    write_edf,
    write_eeglab,
    write_fif,
)

from brainfm.errors import DataError
from brainfm.signals.files.raw import FAMILIES, read_raw
from brainfm.signals.preprocess import Recipe
from brainfm.types import Kind
from data_prep.continuous import load_continuous

WRITERS = {
    "made.edf": write_edf,
    "made_raw.fif": write_fif,
    "made.vhdr": write_brainvision,
    "made.set": write_eeglab,
}


@pytest.mark.parametrize("name", WRITERS)
def test_samples_names_and_rate_come_back(tmp_path, name):
    raw = make_raw()
    read, notes = read_raw(WRITERS[name](tmp_path / name, raw.copy()))
    assert read.ch_names == NAMES and read.info["sfreq"] == 200
    n = raw.n_times
    assert abs(read.get_data()[:, :n] - raw.get_data()).max() < 1e-7
    assert not [n for n in notes if "MNE" in n]


@pytest.mark.parametrize("name", WRITERS)
def test_prepared_alike_whatever_the_format(tmp_path, name):
    raw = make_raw(seconds=40)
    r = load_continuous(WRITERS[name](tmp_path / name, raw), Recipe(), line_freq=50.0)
    assert r.channels.name == tuple(NAMES) and set(r.channels.kind.tolist()) == {Kind.EEG}
    assert np.isfinite(r.channels.pos_m).all() and r.signal.shape == (10240, 4)


def test_non_ascii_annotations_come_back(tmp_path):
    for name in ("made.edf", "made_raw.fif"):
        r = load_continuous(WRITERS[name](tmp_path / name), Recipe())
        assert [e.label for e in r.events] == ["left", "rêve"]


def test_brainvision_markers_become_events(tmp_path):
    r = load_continuous(write_brainvision(tmp_path / "made.vhdr"), Recipe())
    assert [(e.onset_s, e.label) for e in r.events] == [(1.0, "Stimulus/S  1")]


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1.0), ("UV", 1.0), ("mV", 1e3), ("nV", 1e-3)])
def test_units_of_edf_headers_count(tmp_path, edf_bytes, unit, factor):
    content = edf_bytes
    for k in range(4):
        content = edf_field(content, "unit", unit, k)
    (tmp_path / "f.edf").write_bytes(content)
    raw, _ = read_raw(tmp_path / "f.edf")
    assert raw.get_data().std() == pytest.approx(2.3e-5 * factor, rel=0.1)


def test_a_wrong_unit_in_the_header_is_refused(tmp_path, edf_bytes):
    content = edf_bytes
    for k in range(4):
        content = edf_field(content, "unit", "V", k)
    (tmp_path / "f.edf").write_bytes(content)
    with pytest.raises(DataError, match=r"f\.edf: EEG channels vary by .* V .* unit in the header"):
        load_continuous(tmp_path / "f.edf", Recipe())


def test_a_missing_unit_can_be_given(tmp_path, edf_bytes):
    content = edf_bytes
    for k in range(4):
        content = edf_field(content, "unit", "", k)
    (tmp_path / "f.edf").write_bytes(content)
    with pytest.raises(DataError, match="unit in the header is wrong"):
        load_continuous(tmp_path / "f.edf", Recipe())
    r = load_continuous(tmp_path / "f.edf", Recipe(), unit="uV")
    assert 1e-6 < r.signal.std() < 1e-4
    with pytest.raises(DataError, match="unit 'furlong'"):
        read_raw(tmp_path / "f.edf", unit="furlong")


def test_signals_in_degrees_are_no_eeg(tmp_path, edf_bytes):
    (tmp_path / "f.edf").write_bytes(edf_field(edf_bytes, "unit", "degC", 3))
    r = load_continuous(tmp_path / "f.edf", Recipe())
    assert r.channels.name == ("Fp1", "C3", "Pz")


def test_missing_file_empty_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"f\.edf: missing"):
        read_raw(tmp_path / "f.edf")
    (tmp_path / "f.edf").touch()
    with pytest.raises(DataError, match=r"f\.edf: is empty"):
        read_raw(tmp_path / "f.edf")
    (tmp_path / "g.edf").mkdir()
    with pytest.raises(DataError, match=r"g\.edf: is a folder"):
        read_raw(tmp_path / "g.edf")


@pytest.mark.parametrize("name", [n for n in WRITERS if n != "made.edf"])
def test_a_file_of_another_format_under_the_name_edf(tmp_path, name):
    written = WRITERS[name](tmp_path / name)
    shutil.copy(written, tmp_path / "wrong.edf")
    with pytest.raises(DataError, match=r"wrong\.edf: the name says EDF, but its content is"):
        read_raw(tmp_path / "wrong.edf")


@pytest.mark.parametrize("suffix", ["_raw.fif", ".bdf", ".vhdr", ".set", ".sqd"])
def test_an_edf_under_another_name(tmp_path, edf_bytes, suffix):
    (tmp_path / f"x{suffix}").write_bytes(edf_bytes)
    with pytest.raises(DataError, match="but its content is EDF; give it its right extension"):
        read_raw(tmp_path / f"x{suffix}")


def test_a_page_that_a_server_sent_instead_of_the_file(tmp_path):
    (tmp_path / "f.edf").write_text("<!DOCTYPE html><html>404</html>")
    with pytest.raises(DataError, match="its content is HTML"):
        read_raw(tmp_path / "f.edf")


def test_an_unknown_extension_lists_the_known(tmp_path):
    (tmp_path / "f.xyz").write_text("x")
    with pytest.raises(DataError, match=r"no reader for this extension; known: \.edf, \.bdf"):
        read_raw(tmp_path / "f.xyz")


@pytest.mark.parametrize("name", WRITERS)
def test_truncation_at_any_length_is_refused(tmp_path, name):
    path = WRITERS[name](tmp_path / name, make_raw(events=False))
    big = path.with_suffix(".eeg") if name == "made.vhdr" else path
    content = big.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.97):
        cut = int(len(content) * share)
        # A BrainVision file cut between two scans cannot be told from a shorter one.
        big.write_bytes(content[: cut + 1 if name == "made.vhdr" and cut % 8 == 0 else cut])
        with pytest.raises(DataError, match="truncated|damaged|no EDF header|ends inside|whole"):
            read_raw(path)


def test_a_brainvision_header_without_its_data(tmp_path):
    path = write_brainvision(tmp_path / "made.vhdr")
    path.with_suffix(".eeg").unlink()
    with pytest.raises(DataError, match=r"made\.vhdr: .*made\.eeg"):
        read_raw(path)


def test_markers_behind_the_end_mean_that_samples_are_missing(tmp_path):
    path = write_brainvision(tmp_path / "made.vhdr")
    data = path.with_suffix(".eeg").read_bytes()
    path.with_suffix(".eeg").write_bytes(data[: 8 * 100])
    with pytest.raises(DataError, match="marker"):
        read_raw(path)


def test_ctf_and_kit_that_are_none_end_in_one_sentence(tmp_path):
    (tmp_path / "made.ds").mkdir()
    (tmp_path / "made.sqd").write_bytes(b"\x01\x02\x03" * 1000)
    for name in ("made.ds", "made.sqd"):
        with pytest.raises(DataError, match=f"{name}: MNE cannot read it as"):
            read_raw(tmp_path / name)


def test_every_family_names_a_reader_of_mne():
    for family in FAMILIES:
        assert callable(getattr(mne.io, family.reader))


def test_warnings_of_mne_do_not_leak(tmp_path):
    path = write_edf(tmp_path / "f.edf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_raw(path)


def test_vectorview_kinds_units_and_orientations_come_from_the_file(tmp_path):
    info = mne.channels.read_meg_canonical_info("neuromag", verbose="ERROR")
    info = mne.pick_info(info, range(6), verbose="ERROR")
    kinds = dict(zip(info["ch_names"], ["grad", "grad", "mag"] * 2, strict=True))
    x = np.random.default_rng(0).standard_normal((6, 12000)) * 1e-12
    raw = mne.io.RawArray(x, info, verbose="ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw.set_channel_types(kinds, verbose="ERROR")
    raw.save(tmp_path / "m_meg.fif", verbose="ERROR")
    r = load_continuous(tmp_path / "m_meg.fif", Recipe(notch=False))
    assert [Kind(k).name for k in r.channels.kind] == ["GRAD", "GRAD", "MAG"] * 2
    assert r.channels.unit[0] == "T/m" and r.channels.unit[2] == "T"
    np.testing.assert_allclose(np.linalg.norm(r.channels.ori, axis=1), 1, atol=1e-5)
