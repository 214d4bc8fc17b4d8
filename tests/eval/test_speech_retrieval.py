"""Segments found among others: known answers, controls at chance, and a pool worth its name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from listeners import PREPROCESS, TARGETS, Oracle, listeners, sentences_of, trained

from brainfm.errors import ContractError
from brainfm.signals.spelling import normalise
from eval.speech.answers import CHANCE, LINEAR, other_windows
from eval.speech.heard import LIKELIHOOD, RIDGE
from eval.speech.retrieval import Retrieval
from eval.speech.run import evaluate
from eval.speech.windows import overlapping, plan_windows

SHORT = replace(TARGETS["align"], segment_s=0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    torch.set_num_threads(1)
    return listeners(tmp_path_factory.mktemp("listeners"))


def plan(store, targets=SHORT, **more):
    return plan_windows(store, targets, PREPROCESS, **more)


@pytest.fixture(scope="module")
def task(store):
    return Retrieval(plan(store))


@pytest.fixture(scope="module")
def baselines(task):
    return task.baselines(lambda sentence: None)


def share(task, said, metric="top-10"):
    return float(task.counts(said, None)[metric].got_N.mean())


def ranked(task, place):
    """Scores in which every own candidate comes at that place."""
    score_QM = np.zeros((len(task.plan.test), len(task.pool)), np.float32)
    for q, own in enumerate(task.target_Q):
        others = [m for m in range(len(task.pool)) if m != own]
        score_QM[q, others[: place - 1]] = 2
        score_QM[q, own] = 1
    return list(score_QM)


@pytest.mark.parametrize(("place", "top1", "top10"), [(1, 1, 1), (2, 0, 1), (10, 0, 1), (11, 0, 0)])
def test_a_place_is_counted_as_it_is(task, place, top1, top10):
    said = ranked(task, place)
    assert (share(task, said, "top-1"), share(task, said)) == (top1, top10)


def test_ties_are_no_hits(task):
    tied = [np.ones_like(x) for x in ranked(task, 1)]
    tied[0][0] = 0.5  # not constant, or it would count as guessing
    assert share(task, tied) < 0.02


def test_guessing_is_ten_of_the_pool(task, baselines):
    assert baselines["chance"].sort == CHANCE
    assert share(task, baselines["chance"].runs[0]) == pytest.approx(10 / len(task.pool))
    assert task.facts()["chance_top10"] == pytest.approx(10 / len(task.pool))


def test_linear_models_find_what_contacts_tell(task, baselines):
    for name in (RIDGE, LIKELIHOOD):
        assert baselines[name].sort == LINEAR
        assert share(task, baselines[name].runs[0]) > 0.8
        order = other_windows(task.plan.test, 0)
        wrong = [baselines[name].runs[0][i] for i in order]
        assert share(task, wrong) < 4 * 10 / len(task.pool)


def test_nobody_is_decoded_without_training_windows(store):
    p = plan(store)
    p.train = [w for w in p.train if w.patient.endswith("01")]
    task = Retrieval(p)
    found = task.baselines(lambda sentence: None)
    mine = np.array([w.patient.endswith("01") for w in p.test])
    for name in (RIDGE, LIKELIHOOD):
        score_QM = np.stack(found[name].runs[0])
        assert score_QM[mine].std(0).min() > 0
        assert score_QM[~mine].std(0).max() < 1e-6, "the same for all segments, so it says nothing"


def test_denser_segments_teach_without_touching_what_is_judged(store):
    said = {
        ("train", "01"): [*sentences_of("train", "01", 6), "cat dog sack tug"],
        ("test", "02"): ["cat dog sack tug", *sentences_of("test", "02", 3)],
    }
    p = plan(listeners(store.root.parent / "leak", said))
    patient = p.patients[0]
    dense = overlapping(p, patient, SHORT.segment_s / 4)
    plain = [w for w in p.train if w.patient == patient]
    assert 3 * len(plain) < len(dense) <= 5 * len(plain)
    starts = [w.ref.start for w in dense]
    assert np.diff(starts).min() == round(SHORT.segment_s / 4 * 128)
    assert {w.patient for w in dense} == {patient}
    assert {w.ref.recording for w in dense} == {w.ref.recording for w in plain}
    assert all(w.stimulus_NF is not None for w in dense)
    assert normalise("cat dog sack tug") in p.judged_on
    last = max(w.stop_s for w in dense)
    assert last <= max(w.stop_s for w in plain) + SHORT.segment_s, "the sentence that is tested"


def test_segments_of_other_lengths_cannot_be_compared(store):
    p = plan(store)
    w = p.test[0]
    p.test[0] = replace(w, stimulus_NF=w.stimulus_NF[:-1])
    with pytest.raises(ContractError, match="features of 2 shapes"):
        Retrieval(p)


def test_the_pool_and_its_rules_are_stated(task):
    (note,) = task.notes()
    m = len(task.pool)
    for part in (f"Pool: {m} stretches of 0.5 s of 'mel'", "none twice", f"{10 / m:.4f}"):
        assert part in note
    assert "Ties count against" in note and "not fitted to" in note
    assert task.facts()["pool"] == m == len({w.ref for w in task.plan.test})


def test_the_decoder_is_read_against_its_own_speech_vectors(store):
    p = plan(store)
    oracle = trained(Oracle(p, "align"))
    task = Retrieval(p)
    said = task.read(oracle, [oracle.decoder.known[w.ref].numpy() for w in p.test])
    assert np.stack(said).shape == (len(p.test), len(task.pool))
    assert share(task, said, "top-1") == 1
    assert task.matrix(said, most=7)[0].shape == (7, 7)


def test_a_decoder_read_from_another_moment_is_at_chance(store):
    """The oracle answers for the moment it is shown, right or wrong."""

    class Listening(Oracle):
        def __init__(self, plan):
            super().__init__(plan, "align")
            self.by_row = {}
            for w in plan.test:
                self.by_row.setdefault(w.ref.recording, []).append(w.ref)

        def predict(self, batch):
            near = []
            for ref, x in zip(batch.refs, batch.x_BCWP, strict=True):
                close = min(self.by_row[ref.recording], key=lambda r: abs(r.start - ref.start))
                known = self.known[close]
                near.append(known if float(x.abs().max()) else torch.zeros_like(known))
            return torch.stack(near)

    p = plan(store)
    decoder = replace(trained(Listening(p), "moment"), targets=SHORT)
    (section,) = evaluate(store, [decoder], n_resamples=20, shift_s=6.0)
    found = {r["system"]: r["scores"]["top-10"]["mean"] for r in section.result["rows"]}
    assert found["moment"] == 1.0
    assert found["brain 6 s later"] < 0.25 and found["shuffled pairs"] < 0.25
    assert found["zero brain input"] <= 10 / section.result["facts"]["pool"]
    (line,) = [
        d
        for d in section.result["differences"]
        if d["b"] == "brain 6 s later" and d["metric"] == "top-10"
    ]
    assert line["low"] > 0.5
