"""LibriBrain, MEG-MASC and Armeni on small fake roots in the layouts of pnpl 0.2.0."""

import zlib

import h5py
import mne
import numpy as np
import pytest

from brainfm.data.splits import assert_disjoint
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Kind
from data_prep.cli import main
from data_prep.datasets import get_dataset

RECIPE = Recipe(sfreq=125.0, highpass_hz=None, lowpass_hz=40.0)
NAMES, TYPES = ("MEG0113", "MEG0112", "MEG0111"), ("grad", "grad", "mag")
PROC = "proc-bads+headpos+sss+notch+bp+ds"


def write_h5(path, seconds=10, seed=0, data=None, **attrs):
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        rng = np.random.default_rng(seed)
        data = np.cumsum(rng.standard_normal((3, 250 * seconds)), 1) * [[1e-13], [1e-13], [1e-14]]
    said = {
        "sample_frequency": 250.0,
        "highpass_cutoff": 0.1,
        "lowpass_cutoff": 100.0,
        "channel_names": ", ".join(NAMES),
        "channel_types": ", ".join(TYPES),
    }
    with h5py.File(path, "w") as f:
        f["data"], f["times"] = data.astype("f4"), np.arange(data.shape[1]) / 250
        f.attrs.update({k: v for k, v in (said | attrs).items() if v is not None})
    return path


def write_tsv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(header), *("\t".join(str(c) for c in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


LIBRI = ("idx", "kind", "segment", "timemeg", "duration", "sentenceidx", "wordidx")
HOLMES = [
    (0, "silence", "", 0.0, 1.0, "", ""),
    (1, "word", "Mr.", 1.0, 0.4, 0, 0),
    (2, "phoneme", "m_B", 1.0, 0.1, 0, 0),
    (3, "phoneme", "axr_E", 1.2, 0.2, 0, 0),
    (4, "word", "Holmes", 1.5, 0.5, 0, 1),
    (5, "phoneme", "oov_S", 1.5, 0.5, 0, 1),
    (6, "phoneme", "sil", 2.0, 0.5, 0, ""),
    (7, "word", "who", 3.0, 0.25, 1, 0),
]


def libri(root, ses="1", task="Sherlock1", run="1", rows=HOLMES, header=LIBRI, proc=PROC, **h5):
    stem = f"sub-0_ses-{ses}_task-{task}_run-{run}"
    folder = root / "libribrain" / task / "derivatives"
    h5.setdefault("seed", zlib.crc32(stem.encode()))
    signal = write_h5(folder / "serialised" / f"{stem}_{proc}_meg.h5", **h5)
    return signal, write_tsv(folder / "events" / f"{stem}_events.tsv", header, rows)


def load_all(name, root):
    dataset = get_dataset(name)
    dataset.fetch(root, print)
    return {j.name: dataset.load(j, RECIPE) for j in dataset.jobs(root)}


def test_a_run_of_libribrain_says_what_was_heard(tmp_path):
    libri(tmp_path)
    (r,) = load_all("libribrain", tmp_path).values()
    assert r.events == [
        Event(1.0, 1.0, "sentence:Mr. Holmes"),
        Event(3.0, 0.25, "sentence:who"),
        Event(1.0, 0.4, "word:Mr."),
        Event(1.5, 0.5, "word:Holmes"),
        Event(3.0, 0.25, "word:who"),
        Event(1.0, 0.1, "phoneme:M"),
        Event(1.2, 0.2, "phoneme:ER"),
    ]
    assert r.channels.kind.tolist() == [Kind.GRAD, Kind.GRAD, Kind.MAG]
    assert r.channels.unit == ("T/m", "T/m", "T") and np.isnan(r.channels.pos_m).all()
    assert any("2 pauses and unaligned words" in n for n in r.notes)
    assert any("no positions" in n for n in r.notes)
    assert r.subject == "0" and r.session == "1" and r.sfreq == 125.0


def test_splits_of_libribrain_are_the_published_runs(tmp_path):
    for key in (("1", "Sherlock1", "1"), ("11", "Sherlock1", "2"), ("12", "Sherlock1", "2")):
        libri(tmp_path, *key)
    # Sessions 11 and 12 of other books train, as published.
    libri(tmp_path, "11", "Sherlock2", "1")
    run = ["run", "--dataset", "libribrain", "--data-root", str(tmp_path), "--jobs", "0"]
    assert main([*run, "--highpass", "none"]) == 0
    table = Store(tmp_path / "store").recordings
    assert dict(zip(table["name"], table["split"], strict=True)) == {
        "sub-0_ses-1_task-Sherlock1_run-1": "train",
        "sub-0_ses-11_task-Sherlock1_run-2": "val",
        "sub-0_ses-12_task-Sherlock1_run-2": "test",
        "sub-0_ses-11_task-Sherlock2_run-1": "train",
    }
    assert_disjoint(table)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ((8, "word", " ", 5.0, 0.2, 1, 1), "word 4 at 5.00 s has no text"),
        ((8, "phoneme", "xx_B", 5.0, 0.2, 1, 1), "line 10: phoneme 'xx' is none of the 39"),
        ((8, "word", "late", 11.0, 0.2, 2, 1), "ends at 11.20 s, but the recording lasts 10.00 s"),
        ((8, "word", "early", -1.0, 0.2, 2, 1), "begins at -1.00 s"),
        ((8, "word", "when", "n/a", 0.2, 2, 1), "timemeg in line 10 is 'n/a', no time"),
        ((8, "word"), "line 10 is cut off"),
    ],
)
def test_a_transcript_that_does_not_fit_its_recording_is_refused(tmp_path, row, sentence):
    _, table = libri(tmp_path, rows=[*HOLMES, row])
    with pytest.raises(DataError, match=sentence) as e:
        load_all("libribrain", tmp_path)
    assert str(table) in str(e.value) and len(str(e.value).splitlines()) == 1


def test_tables_without_columns_words_or_at_all_are_named(tmp_path):
    _, table = libri(tmp_path, header=("idx", "kind", "segment", "onset", "duration", "s", "w"))
    with pytest.raises(DataError, match="has no column timemeg"):
        load_all("libribrain", tmp_path)
    libri(tmp_path, rows=HOLMES[:1])
    with pytest.raises(DataError, match="has no word and no phoneme"):
        load_all("libribrain", tmp_path)
    table.unlink()
    with pytest.raises(DataError, match=r"events\.tsv: missing"):
        load_all("libribrain", tmp_path)


@pytest.mark.parametrize(
    ("h5", "sentence"),
    [
        ({"sample_frequency": None}, "lacks the attribute sample_frequency"),
        ({"channel_names": "MEG0111, MEG0112"}, "for 2 names and 3 types"),
        ({"channel_types": "mag, grad, eeg"}, "channels of type eeg are no MEG"),
        ({"data": np.ones((3, 2500))}, "values reach 1, which is no tesla"),
        ({"data": np.ones((3, 4, 5))}, "it must be \\(channels, samples\\)"),
    ],
)
def test_serialised_files_that_do_not_fit_are_refused(tmp_path, h5, sentence):
    signal, _ = libri(tmp_path, **h5)
    with pytest.raises(DataError, match=sentence) as e:
        load_all("libribrain", tmp_path)
    assert str(signal) in str(e.value)


def test_truncated_and_doubled_files_are_named(tmp_path):
    signal, _ = libri(tmp_path)
    signal.write_bytes(signal.read_bytes()[:2000])
    with pytest.raises(DataError, match="no serialised MEG .OSError"):
        load_all("libribrain", tmp_path)
    libri(tmp_path, proc="proc-bads+ds")
    with pytest.raises(DataError, match="same run .* keep one of them"):
        load_all("libribrain", tmp_path)


ARMENI = ("onset", "duration", "sample", "type", "value")
SCANDAL = [
    (-0.5, 0.1, 0, "phoneme_onset_01", '"AE0"'),
    (0.1, 0.0, 0, "wav_onset", "x"),
    (1.0, 0.5, 1200, "word_onset_01", '"to"'),
    (1.0, 0.2, 1200, "phoneme_onset_01", '"T"'),
    (1.2, 0.3, 1440, "phoneme_onset_01", '"UW1"'),
    (1.5, 0.2, 1800, "word_onset_01", '"sp"'),
    (1.5, 0.2, 1800, "phoneme_onset_01", '"sp"'),
    (4.0, 0.5, 4800, "word_onset_02", '"sherlock"'),
]


def bids(root, name, stem, header, rows, seed=0, seconds=10):
    who, when, *_ = stem.split("_")
    home = root / name
    write_h5(
        home / "derivatives" / "serialised" / who / when / f"{stem}_proc-notch_meg.h5",
        seed=seed,
        seconds=seconds,
    )
    return write_tsv(home / who / when / "meg" / f"{stem}_events.tsv", header, rows)


def test_a_session_of_armeni_is_in_one_split_for_everybody(tmp_path):
    for seed, (who, when) in enumerate([("001", "001"), ("002", "009"), ("003", "010")]):
        stem = f"sub-{who}_ses-{when}_task-compr"
        bids(tmp_path, "armeni2022", stem, ARMENI, SCANDAL, seed)
    found = load_all("armeni2022", tmp_path)
    assert [r.split for r in found.values()] == ["train", "val", "test"]
    assert [r.split_group for r in found.values()] == [
        f"armeni2022/ses-{n}" for n in ("001", "009", "010")
    ]
    r = found["sub-001_ses-001_task-compr"]
    assert r.events == [
        Event(1.0, 0.5, "word:to"),
        Event(4.0, 0.5, "word:sherlock"),
        Event(1.0, 0.2, "phoneme:T"),
        Event(1.2, 0.3, "phoneme:UW"),
    ]
    assert any("1 marks before" in n for n in r.notes)
    assert any("1 pauses among the words" in n for n in r.notes)


def test_a_recorded_file_goes_before_a_derived_one_and_brings_positions(tmp_path):
    stem = "sub-001_ses-001_task-compr"
    table = bids(tmp_path, "armeni2022", stem, ARMENI, SCANDAL)
    info = mne.create_info(list(NAMES), 250.0, list(TYPES))
    for i, channel in enumerate(info["chs"]):
        channel["loc"][:] = [0.05 * i, 0.05, 0.05, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    x = np.cumsum(np.random.default_rng(0).standard_normal((3, 2500)), 1) * 1e-13
    path = table.parents[3] / "derivatives" / "preproc" / "sub-001" / "ses-001" / "meg"
    path.mkdir(parents=True)
    path = path / f"{stem}_proc-notch_meg.fif"
    mne.io.RawArray(x, info, verbose="ERROR").save(path, verbose="ERROR")
    (r,) = load_all("armeni2022", tmp_path).values()
    assert r.source == str(path) and np.isfinite(r.channels.pos_m).all()


MASC = ("onset", "duration", "sample", "trial_type")


def masc(kind, onset, lasts=0.2, **said):
    return (onset, lasts, int(1000 * onset), {"story": "lw1", "kind": kind, **said})


STORY = [
    (0.5, 9.0, 500, "{'kind': 'sound', 'sound': 'lw1_0.wav', 'speech_rate': nan}"),
    masc("word", 1.0, 0.4, word="Tara", condition="sentence", sequence_id=0.0, pronounced=1.0),
    masc("phoneme", 1.0, phoneme="t_B", sequence_id=0.0),
    masc("word", 1.5, 0.5, word="stood", condition="sentence", sequence_id=0.0),
    masc("word", 3.0, 0.4, word="hidden", condition="sentence", sequence_id=1.0, pronounced=0.0),
    masc("word", 4.0, 0.4, word="roof", condition="word_list", sequence_id=2.0),
]


def test_a_story_of_masc_is_in_one_split_for_all_people_and_sessions(tmp_path):
    for seed, (ses, task) in enumerate([("0", "0"), ("1", "0"), ("0", "1"), ("1", "3")]):
        stem = f"sub-01_ses-{ses}_task-{task}"
        bids(tmp_path, "gwilliams2022", stem, MASC, STORY, seed)
    found = load_all("gwilliams2022", tmp_path)
    assert {n[7:]: r.split for n, r in found.items()} == {
        "ses-0_task-0": "val",
        "ses-1_task-0": "val",
        "ses-0_task-1": "test",
        "ses-1_task-3": "train",
    }
    assert len({r.split_group for r in found.values()}) == 3
    r = found["sub-01_ses-0_task-0"]
    assert r.events == [
        Event(1.0, 1.0, "sentence:Tara stood"),
        Event(1.0, 0.4, "word:Tara"),
        Event(1.5, 0.5, "word:stood"),
        Event(4.0, 0.4, "word:roof"),
        Event(1.0, 0.2, "phoneme:T"),
    ]
    assert any("1 words and phonemes that were not pronounced" in n for n in r.notes)


def test_trial_types_that_are_code_are_refused_not_run(tmp_path):
    code = (1.0, 0.1, 0, "__import__('os').system('true')")
    table = bids(tmp_path, "gwilliams2022", "sub-01_ses-0_task-0", MASC, [*STORY, code])
    with pytest.raises(DataError, match="trial_type in line 8 is no dict") as e:
        load_all("gwilliams2022", tmp_path)
    assert str(table) in str(e.value)


def test_a_table_without_its_recording_is_named(tmp_path):
    write_tsv(
        tmp_path / "gwilliams2022" / "sub-01" / "ses-0" / "meg" / "sub-01_ses-0_task-0_events.tsv",
        MASC,
        STORY,
    )
    with pytest.raises(DataError, match=r"task-0_meg\.con"):
        load_all("gwilliams2022", tmp_path)


@pytest.mark.parametrize("name", ["libribrain", "gwilliams2022", "armeni2022"])
def test_what_is_not_there_is_refused_with_its_home(tmp_path, name):
    dataset = get_dataset(name)
    with pytest.raises(DataError, match="brainfm does not download") as e:
        dataset.fetch(tmp_path, print)
    assert dataset.facts.origin in str(e.value) and str(tmp_path / name) in str(e.value)
