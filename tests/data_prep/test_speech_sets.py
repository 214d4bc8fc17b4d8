"""Speech sets: the audiobook is read and aligned, and simulated listeners hear it."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from book import (
    FRAMES_HZ,
    SECONDS,
    SOUND_HZ,
    TEXTS,
    WORDS,
    CountingDecoder,
    aligned,
    write_book,
    write_fetched,
)

from brainfm.data.format import read_header
from brainfm.data.speech import SpeechTargets, SpeechWindows, sentences_judged_on, utterances
from brainfm.data.store import Store, build_tables
from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.signals.phonemes import PHONEMES, phoneme_id
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Event
from data_prep import download, prepare
from data_prep.aligner import Aligned, align, as_sound
from data_prep.audiobook import (
    ALIGNMENT,
    audiobook_files,
    events_of,
    fetch_audiobook,
    read_alignment,
    read_chapters,
    read_dictionary,
)
from data_prep.commands import status_command
from data_prep.datasets import get_dataset
from data_prep.datasets import naplib_speech as naplib
from data_prep.datasets.simulated_speech import SimulatedSpeech
from data_prep.packages import NAPLIB, NAPLIB_DICTIONARY
from data_prep.phoneme_sounds import measured_sounds
from data_prep.prepare import prepare_one
from data_prep.speech_embedding import speech_embedding

RECIPE = Recipe(sfreq=256.0, lowpass_hz=96.0)
LEXICON = {w: [s.rstrip("012") for s in p.split()] for w, p in WORDS.items()}


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", SimpleNamespace(Decoder=CountingDecoder))


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    return write_fetched(tmp_path_factory.mktemp("root"))


@pytest.fixture
def embedding(monkeypatch):
    def ramp(sound_T, sfreq, networks):
        n = int(np.ceil(len(sound_T) / sfreq * 12.5))
        return np.arange(n * 96, dtype=np.float32).reshape(n, 96)

    monkeypatch.setattr(naplib, "speech_embedding", ramp)


def noise(seconds=2.0, sfreq=11_025.0):
    return np.random.default_rng(0).normal(size=int(seconds * sfreq))


def test_words_and_phonemes_get_times_and_silences_none(counting):
    found = align(noise(), 11_025.0, "THE CAT", LEXICON, "x")
    assert [w.text for w in found] == ["THE", "CAT"]
    assert found[0].phonemes == [("DH", 0.5, 0.1), ("AH", 0.6, 0.1)]
    assert (found[1].onset_s, found[1].end_s) == (0.7, pytest.approx(1.0))


def test_a_word_the_aligner_does_not_know_is_taken_from_the_dictionary(counting):
    found = align(noise(), 11_025.0, "THE DOG", LEXICON, "x")
    assert [s for s, _, _ in found[1].phonemes] == ["D", "AO", "G"]


def test_a_text_that_begins_with_one_phoneme_is_aligned_all_the_same(counting):
    found = align(noise(), 11_025.0, "A CAT SAT", LEXICON, "x")
    assert [w.text for w in found] == ["A", "CAT", "SAT"]
    assert [s for w in found for s, _, _ in w.phonemes] == "AH K AE T S AE T".split()
    assert found[1].onset_s == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" ", "stim07: its transcript is empty"),
        ("THE XYLOPHONE", "stim07: word 'xylophone' is in no dictionary"),
    ],
)
def test_texts_that_cannot_be_aligned_are_refused(counting, text, sentence):
    with pytest.raises(DataError, match=sentence):
        align(noise(), 11_025.0, text, LEXICON, "stim07")


def test_a_text_that_is_not_in_the_sound_is_refused(counting, monkeypatch):
    monkeypatch.setattr(CountingDecoder, "finds", False)
    with pytest.raises(
        DataError, match=r"stim07: pocketsphinx does not find its 2 words in 2\.0 s"
    ):
        align(noise(), 11_025.0, "THE CAT", LEXICON, "stim07")


def test_fewer_words_than_the_text_has_are_refused(counting, monkeypatch):
    monkeypatch.setattr(CountingDecoder, "get_alignment", lambda self: iter(()))
    with pytest.raises(DataError, match="finds 0 of 2 words"):
        align(noise(), 11_025.0, "THE CAT", LEXICON, "stim07")


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("pocketsphinx", lambda: align(noise(), 11_025.0, "THE CAT", LEXICON, "x")),
        ("onnxruntime", lambda: speech_embedding(noise(), 11_025.0, ("a.onnx", "b.onnx"))),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf"{module}, which is not .*brainfm-decoding\[speech\]"):
        call()


def test_a_damaged_network_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(DataError, match=r"a\.onnx: cannot be loaded"):
        speech_embedding(noise(), 11_025.0, (str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")))


def test_sounds_are_resampled_and_as_loud_as_can_be():
    sound = as_sound(0.01 * noise(1.0), 11_025.0)
    assert sound.dtype == np.int16 and len(sound) == pytest.approx(16_000, abs=2)
    assert np.abs(sound.astype(int)).max() == pytest.approx(0.9 * 32767, rel=0.01)


def test_trials_of_the_file_are_read(tmp_path):
    chapters = read_chapters(str(write_book(tmp_path / "book.mat")))
    assert [c.name for c in chapters] == list(TEXTS)
    assert [c.text for c in chapters] == list(TEXTS.values())
    first = chapters[0]
    assert (first.sound_hz, first.frames_hz) == (SOUND_HZ, FRAMES_HZ)
    assert len(first.sound_T) == int(SECONDS * SOUND_HZ)
    assert first.auditory_NF.shape == (600, 128) and first.answers_NE.shape == (600, 10)


def test_a_damaged_book_is_refused(tmp_path):
    (tmp_path / "book.mat").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"book\.mat: cannot be read"):
        read_chapters(str(tmp_path / "book.mat"))


def test_the_dictionary_gives_first_pronunciations_without_stress(tmp_path):
    path = tmp_path / "eng.dict"
    path.write_text("A AH0\nA EY1\nMURDER M ER1 D ER0\n")
    assert dict(read_dictionary(str(path))) == {"a": ("AH",), "murder": ("M", "ER", "D", "ER")}
    other = tmp_path / "bad.dict"
    other.write_text("A AH0\nMURDER\n")
    with pytest.raises(DataError, match=r"bad\.dict: line 2 has no phonemes"):
        read_dictionary(str(other))


def test_fetching_aligns_once(tmp_path, counting, monkeypatch):
    root = write_fetched(tmp_path / "root")
    folder = download.source_folder(NAPLIB, root)
    (folder / ALIGNMENT).unlink()
    assert audiobook_files(root) is None
    lines = []
    fetch_audiobook(root, lines.append)
    assert len(lines) == 1 and "aligning" in lines[0]
    words = read_alignment(audiobook_files(root)[1])
    assert {k: [w.text for w in v] for k, v in words.items()} == {
        k: v.split() for k, v in TEXTS.items()
    }
    fetch_audiobook(root, lambda text: pytest.fail(text))


def test_a_damaged_alignment_is_refused_and_made_again_by_fetch(tmp_path, counting):
    root = write_fetched(tmp_path / "root")
    path = download.source_folder(NAPLIB, root) / ALIGNMENT
    path.write_text('{"version": 1, "chapters": {"stim01": [{}]}}')
    with pytest.raises(DataError, match=r"alignment\.json: damaged .*delete it"):
        read_alignment(str(path))
    path.write_text("{")
    fetch_audiobook(root, str)
    assert set(read_alignment(str(path))) == set(TEXTS)


def test_pauses_end_sentences_and_silence_fills_what_is_left():
    words = [Aligned(w["text"], [tuple(p) for p in w["phonemes"]]) for w in aligned("THE CAT SAT")]
    said = transcript_of(events_of(words, 4.0), 4.0, "x")
    assert [(s.label, s.onset_s) for s in said.sentences] == [("THE CAT", 1.0), ("SAT", 2.0)]
    silences = [(round(p.onset_s, 3), round(p.duration_s, 3)) for p in said.phonemes[::1]]
    assert silences[0] == (0.0, 1.0) and said.phonemes[0].label == "SIL"
    assert sum(p.duration_s for p in said.phonemes) == pytest.approx(4.0)
    assert [p.label for p in said.phonemes].count("SIL") == 3


def test_an_unknown_phoneme_of_the_alignment_is_refused():
    with pytest.raises(DataError, match="phoneme 'QQ'"):
        events_of([Aligned("X", [("QQ", 0.0, 0.1)])], 1.0)


def test_sounds_of_phonemes_are_means_of_their_tokens():
    rng = np.random.default_rng(0)
    level = {p: k / 10 for k, p in enumerate(PHONEMES)}
    events, mel, t = [], [], 0
    for p in [*PHONEMES, "SIL"] * 6:
        frames = 6 if p != "SIL" else 20
        mel.append(np.full((frames, 4), level.get(p, -3.0)) + rng.normal(0, 0.01, (frames, 4)))
        events.append(Event(t / 100, frames / 100, f"phoneme:{p}"))
        t += frames
    sounds = measured_sounds([(np.concatenate(mel), events)], "x")
    k = phoneme_id("K") - 1
    np.testing.assert_allclose(sounds.mel_P3F[k], level["K"], atol=0.02)
    np.testing.assert_allclose(sounds.mel_P3F[39], -3.0, atol=0.02)
    np.testing.assert_allclose(np.exp(sounds.log_s_P[[k, 39]]), [0.06, 0.2], rtol=1e-6)
    assert sounds.varies_PF.max() < 0.02


def test_a_rare_phoneme_sounds_like_those_made_like_it_and_too_little_speech_is_refused():
    events = [
        Event(k / 10, 0.1, f"phoneme:{'ZH' if k == 9 else p}")
        for k, p in enumerate((*PHONEMES, "SIL") * 6)
    ]
    mel = np.zeros((2400, 4))
    events = [e for e in events if e.label not in ("phoneme:ZH",)]
    for e in events:
        if e.label in ("phoneme:Z", "phoneme:V", "phoneme:DH"):
            mel[round(e.onset_s * 100) : round(e.onset_s * 100) + 10] = 2.0
    sounds = measured_sounds([(mel, events)], "x")
    np.testing.assert_allclose(sounds.mel_P3F[phoneme_id("ZH") - 1], 2.0)
    with pytest.raises(DataError, match=r"book: phoneme \w+ and those made like it are heard 0"):
        measured_sounds([(mel, [Event(0.0, 0.1, "phoneme:AA")] * 9)], "book")


def test_the_published_electrodes_enter_with_words_and_what_was_heard(fetched, tmp_path, embedding):
    dataset = get_dataset("naplib_speech")
    jobs = dataset.jobs(fetched)
    assert [j.name for j in jobs] == list(TEXTS)
    out = prepare_one(jobs[0], RECIPE, tmp_path)
    assert out.status == "done", out.reason
    header = read_header(tmp_path / out.files[0])
    assert (header["split"], header["split_group"]) == ("train", "naplib_speech/stim01")
    assert header["notes"][0].startswith("SIMULATED: the electrodes")
    assert any("forced alignment" in note for note in header["notes"])
    said = transcript_of(header["events"], SECONDS, "x")
    assert [w.label for w in said.words] == TEXTS["stim01"].split()
    assert header["stimulus"]["shape"] == {
        "mel": [600, 40],
        "auditory": [600, 128],
        "speech_embedding": [75, 96],
    }
    assert prepare_one(jobs[0], RECIPE, tmp_path).status == "skipped"


def test_features_of_whisper_are_there_where_its_weights_are(
    fetched, embedding, monkeypatch, tmp_path
):
    module = "data_prep.datasets.naplib_speech"
    dataset = get_dataset("naplib_speech")
    without = dataset.jobs(fetched)[0]
    weights = tuple(str(tmp_path / name) for name in ("config.json", "model.safetensors"))
    monkeypatch.setattr(f"{module}.whisper_files", lambda: weights)

    def heard(sound, sfreq, files):
        assert files == weights
        return np.ones((round(len(sound) / sfreq * 50), 3), np.float32)

    monkeypatch.setattr(f"{module}.whisper_features", heard)
    job = dataset.jobs(fetched)[0]
    assert job.files == (*without.files, *weights), "a job with other files is prepared again"
    stimulus = dataset.load(job, RECIPE).stimulus
    assert stimulus["whisper"].rate_hz == 50 and stimulus["whisper"].values_NF.shape[1] == 3
    assert "whisper" not in dataset.load(without, RECIPE).stimulus


def test_the_demonstration_has_the_first_two_patients_of_the_large_set(fetched):
    small, large = (
        get_dataset(n).jobs(fetched) for n in ("simulated_speech_demo", "simulated_speech")
    )
    assert [j.name for j in small] == [j.name for j in large[:6]]
    assert sum(j.options["minutes"] for j in small) == pytest.approx(30)
    assert {j.options["split"] for j in small} == {"train", "val", "test"}


def test_later_trials_of_the_book_are_judged_on(fetched, embedding):
    dataset = get_dataset("naplib_speech")
    splits = {j.name: dataset.load(j, RECIPE).split for j in dataset.jobs(fetched)}
    assert splits == {"stim01": "train", "stim08": "val", "stim09": "test"}


@pytest.mark.parametrize("name", ["simulated_speech", "simulated_audiobook"])
def test_listeners_differ_by_patient_and_session_and_each_session_has_one_split(fetched, name):
    jobs = get_dataset(name).jobs(fetched)
    assert len({j.name for j in jobs}) == len(jobs) == 18
    assert len({j.files[0] for j in jobs}) == 6
    split_of = {(j.options["number"], j.options["session"]): j.options["split"] for j in jobs}
    assert {s for _, s in split_of} == (
        {"train", "val", "test"} if "speech" in name else set(TEXTS)
    )
    for (_, session), split in split_of.items():
        assert split == split_of[1, session]


def test_nothing_is_fetched_twice(fetched):
    for name in ("simulated_speech", "simulated_audiobook", "naplib_speech"):
        get_dataset(name).fetch(fetched, lambda text: pytest.fail(f"tried to fetch: {text}"))


def test_nothing_is_there_before_it_is_fetched(tmp_path):
    for name in ("simulated_speech", "simulated_audiobook", "naplib_speech"):
        assert get_dataset(name).jobs(tmp_path) == []


def test_a_patient_hears_the_audiobook(fetched, tmp_path):
    dataset = get_dataset("simulated_audiobook")
    job = next(j for j in dataset.jobs(fetched) if j.name == "sub-sim02_ses-stim09")
    out = prepare_one(job, RECIPE, tmp_path)
    assert out.status == "done", out.reason
    header = read_header(tmp_path / out.files[0])
    assert (header["subject"], header["session"], header["split"]) == ("sim02", "stim09", "test")
    assert header["split_group"] == "simulated_audiobook/sim02/stim09"
    assert header["notes"][0] == "SIMULATED: naplib's audiobook, heard by no patient"
    assert header["channels"].frame == "mni"
    assert header["stimulus"]["rate_hz"] == {"mel": 100.0}
    said = transcript_of(header["events"], SECONDS, "x")
    assert [w.label for w in said.words] == TEXTS["stim09"].split()


@pytest.fixture(scope="module")
def made_up(fetched, tmp_path_factory):
    """Two sessions of one patient with sounds invented for the words of the real dictionary."""
    from brainfm.data.speech_sounds import WORDS as SIXTY_ONE
    from brainfm.data.speech_sounds import invented_sounds
    from data_prep.datasets import simulated_speech

    patch = pytest.MonkeyPatch()
    patch.setattr(simulated_speech, "audiobook_sounds", lambda *files: invented_sounds())
    path = download.source_folder(NAPLIB, fetched) / NAPLIB_DICTIONARY
    text = "".join(
        f"{w.upper()} {PHONEMES[i % 39]}1 {PHONEMES[3 * i % 39]} {PHONEMES[7 * i % 39]}\n"
        for i, w in enumerate(SIXTY_ONE)
    )
    lexicon = tmp_path_factory.mktemp("dict") / "eng.dict"
    lexicon.write_text(text)
    patch.setattr(simulated_speech, "read_dictionary", lambda _: read_dictionary(str(lexicon)))
    dataset = SimulatedSpeech(minutes=8.0)
    patch.setattr(prepare, "load", lambda job, recipe: dataset.load(job, recipe))
    store = tmp_path_factory.mktemp("store")
    for job in dataset.jobs(fetched)[:3]:
        out = prepare_one(job, RECIPE, store)
        assert out.status == "done", out.reason
    patch.undo()
    assert path.is_file()
    build_tables(store)
    return Store(store)


def test_a_patient_is_in_all_splits_and_no_sentence_is_in_two(made_up):
    table = made_up.recordings
    assert set(table["split"]) == {"train", "val", "test"} and set(table["subject"]) == {"sim01"}
    hours = table.set_index("split")["hours"]
    assert 4 < hours["train"] * 60 < 8 and 0.4 < hours["val"] * 60 < 1.3
    train = table.index[table["split"] == "train"][0]
    sentences = {u.text for u in utterances(made_up, train, SpeechTargets(unit="sentence"))}
    assert sentences and not sentences & sentences_judged_on(made_up, table, "train")


def test_made_up_speech_gives_batches_of_everything(made_up):
    targets = SpeechTargets(start_s=0.0, stop_s=1.0, phonemes=True, stimulus="mel", frames_hz=50.0)
    from brainfm.data.speech_sounds import WORDS as SIXTY_ONE

    said = SpeechWindows(made_up, Preprocess(RECIPE), 64, targets, SIXTY_ONE)
    refs = [u.ref for u in utterances(made_up, 0, targets, 64)][:16]
    batch = said[refs]
    assert batch.x_BCWP.shape[2:] == (4, 64) and batch.valid_BC.all()
    assert batch.sequence_BL.shape == (16, 3) and batch.stimulus_BNF.shape == (16, 50, 40)
    texts = [SIXTY_ONE[k] for k in batch.target_B]
    assert texts == [said.utterance(r).text for r in refs]


def test_older_files_of_a_recording_go_with_their_features(fetched, tmp_path):
    dataset = get_dataset("simulated_audiobook")
    job = dataset.jobs(fetched)[0]
    out = prepare_one(job, RECIPE, tmp_path)
    older = Recipe(sfreq=256.0, lowpass_hz=90.0)
    again = prepare_one(job, older, tmp_path)
    assert again.status == "done" and again.files != out.files
    left = sorted(p.name for p in (tmp_path / "simulated_audiobook").iterdir())
    stem = again.files[0].split("/")[1].removesuffix(".safetensors")
    assert left == [f"{stem}.safetensors", f"{stem}.stimulus.safetensors"]


def test_files_of_features_are_not_counted_as_recordings(fetched, tmp_path, capsys):
    dataset = get_dataset("simulated_audiobook")
    assert prepare_one(dataset.jobs(fetched)[0], RECIPE, tmp_path / "store").status == "done"
    _, said = status_command(SimpleNamespace(store=tmp_path / "store"))
    assert said["recordings"] == 1
    capsys.readouterr()


def test_the_alignment_on_disk_states_its_version(fetched):
    content = json.loads((download.source_folder(NAPLIB, fetched) / ALIGNMENT).read_text())
    assert content["version"] == 1
