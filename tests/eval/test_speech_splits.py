"""Tested windows share nothing with those that teach; controls read the wrong moment."""

import pytest
from listeners import DATASET, PREPROCESS, TARGETS, WORDS, listeners, sentences_of, symbols, trained

from brainfm.data.speech import SpeechTargets
from brainfm.errors import DataError
from eval.speech.answers import other_windows
from eval.speech.language import Language
from eval.speech.run import refuse_seen
from eval.speech.windows import (
    dropped_text,
    is_simulated,
    plan_windows,
    require_apart,
    shifted,
    taught_windows,
)

LEAK = "cat dog sack tug"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    said = {
        ("train", "01"): [*sentences_of("train", "01", 4), LEAK],
        ("test", "02"): [LEAK, *sentences_of("test", "02", 5)],
    }
    for subject in ("01", "02"):
        said.setdefault(("train", subject), sentences_of("train", subject, 5))
    return listeners(tmp_path_factory.mktemp("leak"), said)


def plan(store, head="ctc", **more):
    return plan_windows(store, TARGETS[head], PREPROCESS, **more)


def test_a_sentence_that_is_tested_is_left_out_of_training_and_counted(store):
    p = plan(store)
    assert LEAK in {w.text for w in p.test}
    assert LEAK not in {w.text for w in p.train}
    assert p.dropped["train"] == {"sentence of another split": 1}
    assert "train: 1 (sentence of another split)" in dropped_text(p.dropped)
    assert LEAK.split() not in Language(p).sentences


def test_windows_of_every_role_lie_in_their_split(store):
    p = plan(store, "classify", vocabulary=WORDS)
    for role in ("train", "val", "test"):
        rows = {w.ref.recording for w in getattr(p, role)}
        assert set(store.recordings["split"].iloc[sorted(rows)]) == {role}
    assert p.patients == [f"{DATASET}/01", f"{DATASET}/02"] and p.simulated


def test_validation_can_be_tested_without_touching_the_test(store):
    p = plan(store, split="val")
    rows = {w.ref.recording for w in (*p.test, *p.train)}
    assert set(store.recordings["split"].iloc[sorted(rows)]) == {"train", "val"}
    assert not p.val


def test_windows_carry_what_was_said(store):
    w = plan(store).test[0]
    assert w.symbols == symbols(w.text) and w.words == w.text.split()
    s = plan(store, "align").test[0]
    assert s.stimulus_NF.shape == (25, 8)


def test_a_shared_sentence_is_refused(store):
    p = plan(store)
    told = taught_windows(p, "split == 'train'")  # a run that never knew what is tested
    assert LEAK in {w.text for w in told}
    with pytest.raises(DataError, match=f"'{LEAK}' is tested .*02_test.*taught from .*01_train"):
        require_apart(store, told, p.test)
    # A window that only touches the sentence has heard it, too.
    words = plan(store, "classify")
    one = [w for w in taught_windows(words, "split == 'train'") if w.text == "tug"]
    with pytest.raises(DataError, match="leave it out"):
        require_apart(store, one, p.test)


def test_a_session_with_two_roles_is_refused(store):
    p = plan(store)
    with pytest.raises(DataError, match="simulated_words/01/test' is tested .*one split"):
        require_apart(store, p.test[:1], p.test)


def test_a_decoder_that_was_trained_on_a_tested_sentence_is_refused(store):
    p = plan(store)

    class Decoder:
        config = type("C", (), {"head": "ctc"})

    with pytest.raises(DataError, match=LEAK):
        refuse_seen(store, [trained(Decoder(), query="split == 'train'")], p)
    assert refuse_seen(store, [trained(Decoder(), query="")], p) == []
    (note,) = refuse_seen(store, [trained(Decoder(), "lost", query=None)], p)
    assert "lost" in note and "not known" in note


def test_nothing_to_test_is_refused(store):
    with pytest.raises(DataError, match="leave no word to test"):
        plan(store, "classify", vocabulary=("horse",))


def test_shifted_windows_stay_in_their_recording_and_leave_what_was_said(store):
    p = plan(store)
    for by_s in (10.0, 1.0):
        for w, ref in zip(p.test, shifted(store, p.test, by_s), strict=True):
            (lo, hi), = store.intervals(ref.recording)  # fmt: skip
            assert ref.recording == w.ref.recording and ref.length == w.ref.length
            assert lo <= ref.start and ref.start + ref.length <= hi
            assert abs(ref.start - w.ref.start) >= ref.length


def test_a_stretch_too_short_to_move_in_has_no_shifted_windows(store):
    targets = SpeechTargets(unit="segment", segment_s=1.0, start_s=-0.5)
    few = plan_windows(store, targets, PREPROCESS).test[:1]
    assert shifted(store, few, 5.0) is not None
    store.recordings.at[few[0].ref.recording, "intervals"], kept = (
        [[few[0].ref.start, few[0].ref.start + 2 * few[0].ref.length - 2]],
        store.recordings.at[few[0].ref.recording, "intervals"],
    )
    try:
        assert shifted(store, few, 5.0) is None
    finally:
        store.recordings.at[few[0].ref.recording, "intervals"] = kept


def test_every_window_is_paired_with_another_one_of_its_patient(store):
    windows = plan(store).test
    order = other_windows(windows, seed=0)
    assert sorted(order) == list(range(len(windows)))
    assert all(i != j and windows[i].patient == windows[j].patient for i, j in enumerate(order))
    assert order == other_windows(windows, seed=0) != other_windows(windows, seed=1)


def test_the_language_is_that_of_train_and_knows_the_words_before(store):
    language = Language(p := plan(store, "classify"))
    tested = {w.sentence for w in p.test}
    assert len(language.sentences) == len({w.sentence for w in p.train}) and tested
    third = [w for w in p.test if w.text == "sack"][0]
    assert language.before(third)[:1] != ["sack"] and len(language.before(third)) < 4
    assert set(language.lexicon().words) <= set(WORDS)
    assert language.lexicon().entries["cat"] == (symbols("cat"),)


def test_simulated_data_are_known_by_their_name(store):
    assert is_simulated(store, 0)
