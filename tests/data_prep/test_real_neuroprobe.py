"""The real tables of neuroprobe 0.1.8: our samples are those of its own program.

The digests were made with the published program (its `output_indices`), over the same tables.
Needs a package registry, once.
"""

import hashlib

import numpy as np
import pytest

from brainfm.data.paths import data_root
from brainfm.errors import DataError
from data_prep.datasets.brain_treebank import sentences_of
from data_prep.datasets.simulated_seizures import NEUROPROBE
from data_prep.download import unpack
from data_prep.readers.neuroprobe import (
    MOVIES,
    contact_positions,
    lite_electrodes,
    members,
    read_timeline,
)
from data_prep.readers.neuroprobe_splits import LITE_TRIALS, within_session, without_overlap
from data_prep.readers.neuroprobe_tasks import task_samples

pytestmark = pytest.mark.slow

PUBLISHED = {
    (1, 1): ("9dea527222c6", "cba613669b4c"),
    (1, 2): ("70765fd81874", "267112d0d732"),
    (2, 0): ("f45dadf0bf6c", "f8008a3daa31"),
    (2, 4): ("c5472eac5218", "db9f3b912293"),
    (3, 0): ("006076327b9b", "97dba7adcde3"),
    (3, 1): ("2d606911a311", "992632f17f00"),
    (4, 0): ("601c34004cfa", "b9879aa23032"),
    (4, 1): ("6ae3f9d65740", "594023f8d893"),
    (7, 0): ("a3a2b7623eac", "c5e8a71aeec1"),
    (7, 1): ("ab666788e66e", "9eac9a7af1fc"),
    (10, 0): ("133306e94fb8", "6ae8e7635dc4"),
    (10, 1): ("9362b1e34315", "b312a6e2401a"),
}
"""Samples of "speech" and "pitch", which need no table but those of the package."""


@pytest.fixture(scope="module")
def folder():
    try:
        return unpack(NEUROPROBE, members(), data_root(), str)
    except DataError as e:
        pytest.skip(str(e))  # no registry in reach; the reason names what is missing


def digest(samples):
    content = samples.start_N.astype("<i8").tobytes() + samples.label_N.astype("<i8").tobytes()
    return hashlib.sha256(content).hexdigest()[:12]


def test_samples_of_every_scored_trial_are_the_published_ones(folder):
    assert tuple(PUBLISHED) == LITE_TRIALS
    for (subject, trial), expected in PUBLISHED.items():
        timeline = read_timeline(folder, subject, trial, None)
        found = tuple(digest(task_samples(timeline, task)) for task in ("speech", "pitch"))
        assert found == expected, (subject, trial)


def test_published_folds_pass_and_few_of_their_windows_overlap(folder):
    for subject, trial in LITE_TRIALS:
        timeline = read_timeline(folder, subject, trial, None)
        for split in within_session(task_samples(timeline, "pitch")):
            _, n = without_overlap(split)
            assert n < 0.1 * len(split.train)


def test_every_trial_has_words_and_every_scored_electrode_a_place(folder):
    for subject, trial in MOVIES:
        timeline = read_timeline(folder, subject, trial, None)
        assert len(timeline.words) > 2000 and (timeline.words["full_word"] != "").all()
        assert len(sentences_of(timeline)) == len(timeline.words)
        assert np.isfinite(timeline.pitch_N).mean() > 0.99
    for subject in {s for s, _ in LITE_TRIALS}:
        places = contact_positions(folder, subject)
        electrodes = lite_electrodes(folder, subject)
        assert 80 <= len(electrodes) <= 120 and set(electrodes) <= set(places)
        assert all(np.linalg.norm(places[e]) < 0.12 for e in electrodes)
