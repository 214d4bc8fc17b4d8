"""SIMULATED viewers answer to images after the lag of blood, most at the back of the head."""

import numpy as np
import pytest

from brainfm.data.images import PREFIX
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.datasets import get_dataset
from data_prep.datasets.simulated_images import REPEATS, TEST, SimulatedImages

pytest.importorskip("nilearn")
from brainfm.data.anatomy import Head
from brainfm.data.simulated_images import Viewing, image_table, tuned, tuning, view


@pytest.fixture(scope="module")
def head():
    return Head(501)


def test_parcels_at_the_back_are_tuned_most(head):
    size_P = tuned(head.channels("BOLD").pos_m)
    found_P = np.linalg.norm(tuning(head, Viewing()), axis=1)
    means = [found_P[size_P == s].mean() for s in (1.0, 0.6, 0.4, 0.1)]
    assert means == sorted(means, reverse=True) and means[0] > 5 * means[3]


def test_heads_share_part_of_their_tuning(head):
    v = Viewing()
    a, b = tuning(head, v).ravel(), tuning(Head(502), v).ravel()
    assert 0.4 < np.corrcoef(a, b)[0, 1] < 0.95


def test_an_image_is_answered_some_five_seconds_later(head):
    v = Viewing(rest=0.0, strength=3.0)
    r = view(head, image_table(1), [0], "alone", v)
    at = np.abs(tuning(head, v) @ image_table(1).vector_NE[0]).argmax()
    x = r.signal[:, at] - r.signal[0, at]
    onset = r.events[0].onset_s
    assert r.events[0].label == PREFIX + "simulated0000"
    assert 3 <= np.abs(x).argmax() / r.sfreq - onset <= 8
    assert r.notes[0].startswith("SIMULATED")


def test_the_same_run_is_the_same_and_another_run_is_not(head):
    table = image_table(3)
    one, again = (view(head, table, [0, 1, 2], "a").signal for _ in range(2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, view(head, table, [0, 1, 2], "b").signal)
    assert np.array_equal(image_table(3).vector_NE, image_table(9).vector_NE[:3])


def test_test_images_are_in_no_training_run(tmp_path):
    small = SimulatedImages(subjects=2, images=4)
    small.fetch(tmp_path, lambda text: None)
    jobs = small.jobs(tmp_path)
    assert len(jobs) == 8 and small.table(tmp_path).is_file()
    shown: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for job in jobs:
        r = small.load(job, Recipe())
        shown[r.split] += [e.label for e in r.events]
        assert r.split_group.endswith(r.split)
    train, val, test = (set(v) for v in shown.values())
    assert not train & test and not train & val and not val & test
    assert len(train) == len(shown["train"]) == 16
    assert len(test) == TEST and len(shown["test"]) == 2 * TEST * REPEATS


def test_it_is_listed_and_says_simulated():
    facts = get_dataset("simulated_images").facts
    assert facts.title.startswith("SIMULATED") and "no evidence" in facts.nominal[0]
    with pytest.raises(DataError, match="ask for 1 and 2 or more"):
        SimulatedImages(subjects=0)
