"""Each question by itself: its search, its language, its pool, its correlations, its refusals."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from listeners import (
    PREPROCESS,
    SOUNDS,
    TARGETS,
    WORDS,
    Oracle,
    listeners,
    sentences_of,
    symbols,
    trained,
)

from brainfm.errors import ContractError, DataError
from brainfm.signals.phonemes import SIL
from brainfm.speech.decoder import SYMBOLS
from brainfm.speech.ngram import NGram
from eval.speech.figures import bars, heard_and_decoded
from eval.speech.heard import at, ridge_features
from eval.speech.language import Language
from eval.speech.phonemes import DEFAULT, Search, Transcripts, with_symbols
from eval.speech.regression import Regression
from eval.speech.retrieval import Retrieval
from eval.speech.run import Section, evaluate
from eval.speech.windows import plan_windows
from eval.speech.words import Words


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    torch.set_num_threads(1)
    return listeners(tmp_path_factory.mktemp("listeners"))


def plan(store, head, **more):
    words = WORDS if head == "classify" else None
    return plan_windows(store, TARGETS[head], PREPROCESS, vocabulary=words, **more)


@pytest.fixture(scope="module")
def task(store):
    return Transcripts(plan(store, "ctc"))


def spelled(words, sure=0.9, n_symbols=40):
    """Log-probabilities that spell words, a blank behind each phoneme."""
    path = [x for k in symbols(words) for x in (k, 0)]
    p = np.full((len(path), n_symbols), (1 - sure) / (n_symbols - 1), np.float32)
    p[np.arange(len(path)), path] = sure
    return np.log(p)


def test_the_search_finds_what_is_spelled(task):
    logp = spelled("cat dog")
    assert task.search.words(logp, 0.3, 0.0) == ["cat", "dog"]
    assert task.search.phonemes(logp, 0.3, 0.0) == "K AE T D AO G".split()


def test_a_language_model_decides_where_the_brain_does_not(store):
    language = Language(plan(store, "ctc"))
    language.word_lm = NGram.train([["cat", "dog"]] * 9 + [["cat", "dad"]], 2)
    search = Search(NGram.train([["K"]], 2, SYMBOLS[1:40]), language, silence=False)
    either = (np.exp(spelled("cat dog")) + np.exp(spelled("cat dad"))) / 2
    assert search.words(np.log(either), 2.0, 0.0) == ["cat", "dog"]
    language.word_lm = NGram.train([["cat", "dad"]] * 9 + [["cat", "dog"]], 2)
    other = Search(NGram.train([["K"]], 2, SYMBOLS[1:40]), language, silence=False)
    assert other.words(np.log(either), 2.0, 0.0) == ["cat", "dad"]


def test_what_was_asked_before_is_remembered(task, monkeypatch):
    logp = spelled("sock tug")
    first = task.search.words(logp, 0.7, 0.0)
    monkeypatch.setattr("eval.speech.phonemes.beam_search", lambda *a: pytest.fail("asked again"))
    assert task.search.words(logp.copy(), 0.7, 0.0) == first == ["sock", "tug"]


def test_silence_may_stand_between_words_where_targets_have_it(store):
    p = plan(store, "ctc")
    p.targets = replace(p.targets, silence=True)
    task = Transcripts(p)
    gap = np.full((2, 41), -8.0, np.float32)
    gap[0, SIL] = gap[1, 0] = -0.01
    logp = np.concatenate([spelled("cat", n_symbols=41), gap, spelled("dad", n_symbols=41)])
    assert task.search.words(logp, 0.3, 0.0) == ["cat", "dad"]
    assert task.search.phonemes(logp, 0.3, 0.0) == "K AE T D AE D".split()
    assert with_symbols(logp, silence=True).shape[1] == 41
    assert with_symbols(logp, silence=False).shape[1] == 40


def test_impossible_symbols_stay_thinkable():
    logp = np.full((3, 41), -np.inf)
    assert np.isfinite(with_symbols(logp, silence=False)).all()


def test_the_weight_is_the_one_with_the_fewest_errors_on_validation_windows(task):
    val = [spelled(w.text, 0.99) for w in task.plan.val]
    phoneme, word = task._choices(val)
    wrong = sum(
        task.search.words(logp, *word) != w.words
        for logp, w in zip(val, task.plan.val, strict=True)
    )
    assert wrong == 0
    assert task._choices([]) == [DEFAULT, DEFAULT]


def test_words_that_train_does_not_hold_are_counted(tmp_path):
    said = {("train", "01"): ["cat dog sack tug", "tug sack dog cat"]}
    task = Transcripts(plan(listeners(tmp_path, said, subjects=("01",)), "ctc"))
    missing, many = task.language.unknown_words()
    heard = " ".join(w.text for w in task.plan.test).split()
    assert many == len(heard) and missing == sum(w in ("sock", "dad") for w in heard) > 0
    assert f"{missing} of {many} tested words" in task.notes()[0]
    assert task.facts()["lexicon"] == 4


def test_a_language_needs_sentences_that_are_not_tested(store):
    p = plan(store, "classify")
    p.train = []
    with pytest.raises(DataError, match="no language model can be made.*--train"):
        Language(p)


def test_a_patient_who_taught_nothing_gets_no_linear_model(store):
    p = plan(store, "regress", train_query="subject == '01'")
    assert p.untaught == ["simulated_words/02"]
    found = ridge_features(p, say=lambda sentence: None)
    moved = {w.patient: [] for w in p.test}
    for w, x in zip(p.test, found, strict=True):
        moved[w.patient].append(bool(x.any()))
    assert all(moved["simulated_words/01"]) and not any(moved["simulated_words/02"])
    oracle = trained(Oracle(p, "regress"), query="subject == '01'")
    (section,) = evaluate(store, [oracle], train_query="subject == '01'", n_resamples=10)
    assert any("No training window of simulated_words/02" in n for n in section.result["notes"])
    ridge = next(r for r in section.result["rows"] if r["sort"] == "linear")
    one, two = ridge["patients"]["correlation"].values()
    assert one > 0.6 and two == 0


def test_classes_need_names(store):
    with pytest.raises(ContractError, match="no names"):
        Words(plan_windows(store, TARGETS["classify"], PREPROCESS))


def test_segments_of_several_lengths_are_no_pool(store):
    p = plan(store, "align")
    p.test[0] = replace(p.test[0], stimulus_NF=p.test[0].stimulus_NF[:20])
    with pytest.raises(ContractError, match="2 shapes.*one length"):
        Retrieval(p)


def test_the_pool_is_stated_with_its_chance(store):
    task = Retrieval(plan(store, "align"))
    m = len(task.plan.test)
    assert task.facts()["pool"] == m and task.facts()["chance_top10"] == pytest.approx(10 / m)
    assert f"Pool: {m} stretches of 1 s of 'mel'" in task.notes()[0]
    shares = task.counts([np.zeros(m, np.float32)] * m, None)
    assert shares["top-10"].got_N == pytest.approx(np.full(m, 10 / m))


def test_ties_count_against_the_true_stretch(store):
    task = Retrieval(plan(store, "align"))
    m = len(task.pool)
    score = np.zeros((m, m), np.float32)
    score[:, :12] = 1.0
    found = task.counts(list(score), None)
    assert found["top-10"].got_N.sum() == 0  # the first twelve tie for the first place
    score[0, 0] = 2.0
    assert task.counts(list(score), None)["top-1"].got_N.tolist() == [1] + [0] * (m - 1)


def test_windows_in_which_nothing_moves_do_not_count(store):
    p = plan(store, "regress")
    p.test[0] = replace(p.test[0], stimulus_NF=np.ones_like(p.test[0].stimulus_NF))
    task = Regression(p)
    said = [w.stimulus_NF * 3 + 1 for w in p.test]
    counts = task.counts(said, None)["correlation"]
    assert counts.of_N[0] == 0 and counts.got_N[0] == 0
    assert counts.got_N[1:] == pytest.approx(1, abs=1e-5) and counts.of_N[1:].all()


def test_answers_of_another_rate_are_compared_at_the_frames_heard(store):
    task = Regression(plan(store, "regress"))
    half = [at(w.stimulus_NF, 12) for w in task.plan.test]
    again = task.read(None, half)
    assert {x.shape for x in again} == {(25, len(SOUNDS))}
    counts = task.counts(again, None)["correlation"]
    assert counts.got_N.sum() / counts.of_N.sum() > 0.8


def test_pictures_name_every_system_and_show_what_was_heard(store):
    p = plan(store, "regress")
    (section,) = evaluate(store, [trained(Oracle(p, "regress"))], n_resamples=10)
    assert isinstance(section, Section)
    figure = bars(section.result, "correlation")
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names == [r["system"] for r in section.result["rows"]]
    plt.close(figure)
    figure = heard_and_decoded(section)
    images = [ax.images[0].get_array() for ax in figure.axes]
    assert len(images) == 3
    assert np.allclose(images[0], images[1], atol=1e-4)  # the oracle says what was heard
    plt.close(figure)


def test_splits_of_the_toy_share_no_sentence():
    said = [set(sentences_of(split, s)) for split in ("train", "val", "test") for s in ("01", "02")]
    for i, a in enumerate(said):
        for j, b in enumerate(said):
            assert i // 2 == j // 2 or not a & b
