"""Words of a closed vocabulary: places of ties, what the language knows, what lines know."""

import numpy as np
import pytest
import torch
from listeners import PREPROCESS, TARGETS, WORDS, listeners

from eval.speech.answers import NO_BRAIN
from eval.speech.windows import plan_windows
from eval.speech.words import Words, in_top

MAJORITY = "majority (word counts of TRAIN)"
CONTEXT = "language model only (word 3-gram, true words before)"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    torch.set_num_threads(1)
    return listeners(tmp_path_factory.mktemp("listeners"))


@pytest.fixture(scope="module")
def task(store):
    return Words(plan_windows(store, TARGETS["classify"], PREPROCESS, vocabulary=WORDS))


@pytest.fixture(scope="module")
def answers(task):
    return task.baselines(lambda sentence: None)


@pytest.mark.parametrize(
    ("scores", "k", "share"),
    [
        ([3, 2, 1], 1, 1.0),
        ([1, 2, 3], 2, 0.0),
        ([2, 3, 1], 2, 1.0),
        ([1, 1, 1], 1, 1 / 3),
        ([1, 1, 1], 2, 2 / 3),
        ([1, 1, 9], 1, 0.0),
        ([1, 1, 9], 2, 0.5),
    ],
)
def test_the_first_class_shares_the_places_of_its_ties(scores, k, share):
    assert in_top(np.array([scores], float), np.array([0]), k)[0] == pytest.approx(share)


def test_the_majority_is_counted_in_train(task, answers):
    counts = answers[MAJORITY].runs[0][0]
    for word, n in zip(WORDS, counts, strict=True):
        assert n == sum(s.count(word) for s in task.language.sentences)
    assert answers[MAJORITY].sort == answers[CONTEXT].sort == NO_BRAIN
    best = WORDS[int(np.argmax(counts))]
    hits = task.counts(answers[MAJORITY].runs[0], None)["top-1"].got_N
    assert hits.mean() == pytest.approx(np.mean([w.text == best for w in task.plan.test]))


def test_the_language_model_is_told_the_words_before_and_no_other(task, answers):
    lm = task.language.word_lm
    w = next(w for w in task.plan.test if len(task.language.before(w)) == 2)
    history = lm.start
    for word in task.language.before(w):
        history = lm.after(history, lm.number(word))
    expected = [lm.log_probs(history)[lm.number(word)] for word in WORDS]
    found = answers[CONTEXT].runs[0][task.plan.test.index(w)]
    np.testing.assert_allclose(found, expected)


def test_a_patient_without_training_windows_is_answered_by_the_majority(store, task):
    plan = plan_windows(store, TARGETS["classify"], PREPROCESS, vocabulary=WORDS)
    plan.train = [w for w in plan.train if w.patient.endswith("01")]
    few = Words(plan)
    found = few.baselines(lambda sentence: None)
    for name in ("spectrogram + logistic regression", "spectrogram + ridge"):
        for w, said in zip(plan.test, found[name].runs[0], strict=True):
            of_majority = np.array_equal(said, found[MAJORITY].runs[0][0])
            assert of_majority == w.patient.endswith("02")


def test_a_vocabulary_is_found_whatever_its_case(store):
    plan = plan_windows(
        store, TARGETS["classify"], PREPROCESS, vocabulary=[w.upper() for w in WORDS]
    )
    assert Words(plan).y_N.tolist() == [WORDS.index(w.text) for w in plan.test]


def test_chance_and_vocabulary_are_stated(task):
    assert task.facts() == {
        "words": 6, "chance": pytest.approx(1 / 6), "train_windows": len(task.plan.train)
    }  # fmt: skip
    assert "chance is 1/6 and 5/6" in task.notes()[0]
