"""Made-up speech and simulated listeners: exact times, answers where and when they are due."""

import numpy as np
import pytest

from brainfm.data.patient_montages import Implantation
from brainfm.data.speech_patients import (
    AREAS_M,
    LAGS,
    answers_to,
    draw_listener,
    listen,
    stimulus_features,
)
from brainfm.data.speech_sounds import (
    FRAMES_HZ,
    WORDS,
    Speech,
    draw_sentences,
    invented_sounds,
    speak,
    word_chain,
)
from brainfm.data.synthetic_speech import invented_lexicon
from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.types import Event, Kind

LEXICON = invented_lexicon()


def shafts(near_m=(0.058, -0.02, 0.004), n=4, per_shaft=10):
    """The first shaft ends at `near_m`, the others lie in front of it, ever farther."""
    names, places = [], []
    for s in range(n):
        for k in range(per_shaft):
            names.append(f"{'ABCDEFGH'[s]}{k + 1}")
            places.append(np.array(near_m) + (-0.0035 * k, 0.025 * s, 0.0))
    return Implantation(tuple(names), np.array(places))


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(3)
    return speak(rng, draw_sentences(rng, 20, "train"), LEXICON, invented_sounds())


def test_the_words_are_sixty_one_and_all_different():
    assert len(set(WORDS)) == len(WORDS) == 61 and list(WORDS) == sorted(WORDS)


def test_no_sentence_is_in_two_splits():
    found = {
        split: {" ".join(s) for s in draw_sentences(np.random.default_rng(k), 300, split)}
        for k, split in enumerate(("train", "val", "test"))
    }
    assert not found["train"] & (found["val"] | found["test"]) and not found["val"] & found["test"]


def test_some_words_follow_a_word_more_often_than_others_and_none_follows_itself():
    chain = word_chain(WORDS, 0)
    np.testing.assert_allclose(chain.sum(1), 1)
    assert (np.diag(chain) == 0).all()
    perplexity = np.exp(-(chain * np.log(chain.clip(1e-12))).sum(1))
    # A language model alone must know something, and must not know the answer.
    assert 20 < perplexity.mean() < 50


def test_every_phoneme_of_every_word_is_said_in_order_and_in_time(speech):
    said = transcript_of(speech.events, speech.seconds, "x")
    assert len(said.sentences) == 20
    for word in said.words:
        inside = said.phonemes_within(word.onset_s, word.onset_s + word.duration_s)
        assert [p.label for p in inside] == list(LEXICON[word.label])
    for sentence in said.sentences:
        inside = said.words_within(sentence.onset_s, sentence.onset_s + sentence.duration_s)
        assert " ".join(w.label for w in inside) == sentence.label
    ends = [p.onset_s + p.duration_s for p in said.phonemes]
    np.testing.assert_allclose(ends[:-1], [p.onset_s for p in said.phonemes[1:]], atol=1e-9)
    assert ends[-1] == pytest.approx(speech.seconds)


def test_tokens_of_a_phoneme_sound_alike(speech):
    said = transcript_of(speech.events, speech.seconds, "x")
    sounds = {}
    for p in said.phonemes:
        first, n = round(p.onset_s * FRAMES_HZ), max(1, round(p.duration_s * FRAMES_HZ))
        sounds.setdefault(p.label, []).append(speech.mel_NF[first : first + n].mean(0))
    often = {k: np.array(v) for k, v in sounds.items() if len(v) >= 6 and k != "SIL"}
    middles = np.stack([v.mean(0) for v in often.values()])
    hits = [
        (np.linalg.norm(middles - x, axis=1).argmin() == k)
        for k, v in enumerate(often.values())
        for x in v
    ]
    assert np.mean(hits) > 5 / len(often)


def test_the_same_seed_says_the_same():
    twice = [
        speak(np.random.default_rng(5), [["water", "house"]], LEXICON, invented_sounds())
        for _ in range(2)
    ]
    assert twice[0].events == twice[1].events
    np.testing.assert_array_equal(twice[0].mel_NF, twice[1].mel_NF)


def test_a_word_without_pronunciation_or_with_an_unknown_phoneme_is_refused():
    rng, sounds = np.random.default_rng(0), invented_sounds()
    with pytest.raises(DataError, match="word 'xylophone' is not in the lexicon"):
        speak(rng, [["xylophone"]], LEXICON, sounds)
    with pytest.raises(DataError, match="phoneme 'QQ' is none of the 39"):
        speak(rng, [["odd"]], {"odd": ["QQ"]}, sounds)


def test_contacts_near_the_auditory_cortex_answer_and_far_ones_do_not():
    who = draw_listener(1, 1, shafts())
    assert set(who.area) <= set(AREAS_M) and (who.channels.kind == Kind.SEEG).all()
    centre = np.array(list(AREAS_M.values()))
    apart = np.linalg.norm(who.channels.pos_m[:, None] - centre[None], axis=-1).min(1)
    assert (who.answers_C[apart > 0.035] == 0).all()
    assert who.answers_C[apart < 0.012].max() > 0.5


def test_a_patient_is_the_same_in_every_session_and_another_one_is_not(speech):
    a, b = (listen(1, 2, speech, session=s, contacts=shafts()) for s in ("one", "two"))
    assert a.channels.layout() == b.channels.layout() and a.line_freq == b.line_freq
    assert not np.allclose(a.signal, b.signal)
    again = listen(1, 2, speech, session="one", contacts=shafts())
    np.testing.assert_array_equal(a.signal, again.signal)
    one, other = draw_listener(1, 2, shafts()), draw_listener(1, 3, shafts())
    assert one.field_CLK.shape[1] == LAGS
    n = min(len(one.channels), len(other.channels))
    assert not np.allclose(one.field_CLK[:n], other.field_CLK[:n])


def test_answers_are_causal_and_late(speech):
    who = draw_listener(1, 1, shafts())
    at = 600
    changed = Speech(speech.mel_NF.copy(), speech.events, "x")
    changed.mel_NF[at : at + 5] += 5.0
    difference = np.abs(answers_to(who, changed) - answers_to(who, speech)).sum(0)
    # The mean over the session moves a little everywhere; the answer itself is far larger.
    assert difference[:at].max() < 0.05 * difference.max()
    assert at + 3 <= difference.argmax() <= at + 30
    assert difference[at + LAGS + 10 :].max() < 0.05 * difference.max()


def test_phonetic_features_are_on_while_their_phoneme_sounds():
    events = [Event(0.5, 0.1, "phoneme:M"), Event(0.6, 0.1, "phoneme:SIL")]
    features = stimulus_features(Speech(np.zeros((100, 40), np.float32), events, "x"))
    # Standardised columns: of the 32, those of nasal, labial and voiced move, and these alone.
    moving = np.flatnonzero(features.std(0) > 0)
    assert len(moving) == 3
    on = features[:, moving[0]] > 0
    assert np.flatnonzero(on).tolist() == list(range(50, 60))


def test_the_recording_holds_the_answers_as_evoked_potential_and_as_high_gamma(speech):
    from scipy.signal import butter, resample_poly, sosfiltfilt

    who = draw_listener(1, 1, shafts())
    r = listen(1, 1, speech, session="s", contacts=shafts())
    c = int(np.argmax(who.answers_C * np.abs(who.evoked_C)))
    answer = resample_poly(answers_to(who, speech)[c], 64, 25)[: len(r.signal)]
    slow = sosfiltfilt(butter(3, [1, 20], "bandpass", fs=256, output="sos"), r.signal[:, c])
    assert np.sign(who.evoked_C[c]) * np.corrcoef(slow, answer)[0, 1] > 0.2
    g = int(np.argmax(who.answers_C * who.gamma_C))
    answer = resample_poly(answers_to(who, speech)[g], 64, 25)[: len(r.signal)]
    fast = sosfiltfilt(butter(4, [75, 110], "bandpass", fs=256, output="sos"), r.signal[:, g])
    power = sosfiltfilt(butter(2, 8, fs=256, output="sos"), np.abs(fast))
    assert np.corrcoef(power, answer)[0, 1] > 0.3
    silent = int(np.argmin(who.answers_C))
    fast = sosfiltfilt(butter(4, [75, 110], "bandpass", fs=256, output="sos"), r.signal[:, silent])
    power = sosfiltfilt(butter(2, 8, fs=256, output="sos"), np.abs(fast))
    assert abs(np.corrcoef(power, answer)[0, 1]) < 0.15


def test_recordings_are_in_volts_and_say_that_they_are_simulated(speech):
    r = listen(1, 1, speech, session="s", contacts=shafts())
    assert 2e-5 < r.signal.std() < 4e-4 and np.isfinite(r.signal).all()
    assert r.notes[0].startswith("SIMULATED: made-up speech, invented spectra")
    assert "high gamma 2 to 4" in r.notes[1]
    assert r.subject == "sim01" and r.session == "s" and r.channels.frame == "mni"
    assert r.stimulus["mel"].values_NF.shape == (round(r.duration_s * 100), 40)
    np.testing.assert_array_equal(r.events, speech.events)


def test_noise_is_shared_by_neighbours_more_than_across_the_head(speech):
    r = listen(1, 1, speech, session="s", contacts=shafts(near_m=(0.0, 0.06, 0.06)))
    together = np.corrcoef(r.signal.T)
    pos = r.channels.pos_m
    apart = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    off = ~np.eye(len(pos), dtype=bool)
    assert together[off & (apart < 0.004)].mean() > together[apart > 0.03].mean() + 0.2
    assert together[apart > 0.03].mean() > 0.05


def test_without_coordinates_shafts_are_invented(speech):
    r = listen(1, 4, speech, session="s")
    assert np.isfinite(r.channels.pos_m).all() and len(r.channels) >= 32


def test_a_rate_too_low_for_high_gamma_is_refused(speech):
    with pytest.raises(DataError, match="simulated listener 1: .* at 128 Hz; ask for"):
        listen(1, 1, speech, session="s", sfreq=128.0)
