"""The data set of simulated heads: jobs, splits, and the road down which recordings go."""

import numpy as np
import pytest

from brainfm.data.activity import Experiment
from brainfm.data.anatomy import Head
from brainfm.data.simulated_heads import simulate, to_raw
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import pick_channels
from brainfm.types import Kind
from data_prep.datasets import get_dataset
from data_prep.datasets.simulated_heads import SimulatedHeads

pytest.importorskip("nilearn")
SMALL = SimulatedHeads(subjects=4, minutes=0.25)


def jobs_of(dataset, root):
    dataset.fetch(root, lambda text: None)
    return dataset.jobs(root)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    jobs = jobs_of(SMALL, tmp_path_factory.mktemp("data"))

    def load(kind, number=0):
        job = next(j for j in jobs[4 * number :] if j.options["kind"] == kind)
        return job, SMALL.load(job, Recipe(highpass_hz=0.5))

    return load


def test_it_is_listed_and_says_simulated():
    facts = get_dataset("simulated_heads").facts
    assert facts.title.startswith("SIMULATED") and "no evidence" in facts.nominal[0]
    assert facts.kinds == ("EEG", "MEG", "SEEG", "BOLD")


def test_subjects_are_split_and_no_subject_is_in_two_splits(tmp_path):
    jobs = jobs_of(get_dataset("simulated_heads"), tmp_path)
    assert len(jobs) == 96 and len({j.name for j in jobs}) == 96
    split_of = {}
    for job in jobs:
        split_of.setdefault(job.options["head"], set()).add(job.options["split"])
    assert all(len(splits) == 1 for splits in split_of.values())
    many = [splits.pop() for splits in split_of.values()]
    assert many == ["train"] * 16 + ["val"] * 2 + ["test"] * 6


def test_too_few_subjects_are_refused():
    with pytest.raises(DataError, match="ask for 4 or more"):
        SimulatedHeads(subjects=3)


@pytest.mark.parametrize("kind", ["EEG", "MEG", "SEEG"])
def test_electric_recordings_go_through_the_recipe_and_keep_their_clock(load, kind):
    job, recording = load(kind)
    (made,) = simulate([Head(job.options["head"])], 15.0, [kind])
    assert recording.sfreq == 256 and recording.split == "train" and recording.name == job.name
    assert recording.clock == made.clock and recording.start_s == 0
    assert recording.notes[0].startswith("SIMULATED: ")
    for field in ("kind", "pos_m", "ori"):
        a, b = getattr(recording.channels, field), getattr(made.channels, field)
        assert np.allclose(a, b, atol=1e-6), field
    assert recording.channels.unit == made.channels.unit
    assert recording.channels.frame == made.channels.frame
    assert recording.channels.reference == made.channels.reference
    # Annotations are kept to the microsecond.
    assert [e.label for e in recording.events] == [e.label for e in made.events]
    assert np.allclose([e[:2] for e in recording.events], [e[:2] for e in made.events], atol=1e-5)


def test_fmri_goes_through_its_own_recipe(load):
    pytest.importorskip("brainfm.signals.bold")
    job, recording = load("BOLD", 3)
    assert recording.sfreq == 1.0 and recording.split == "test" and recording.is_bold
    _, eeg = load("EEG", 3)
    assert recording.clock == eeg.clock and recording.start_s == 0.5
    assert recording.channels.frame == "mni" and recording.name == job.name
    assert recording.notes[0].startswith("SIMULATED: ")


def test_every_job_of_a_head_is_of_one_run(load):
    """Jobs are made one by one; the same currents must lie behind them."""
    (_, eeg), (_, seeg) = load("EEG"), load("SEEG")
    assert [e.label for e in eeg.events] == [e.label for e in seeg.events]
    assert [e.onset_s for e in eeg.events] == pytest.approx([e.onset_s for e in seeg.events])


@pytest.mark.parametrize("seed", [0, 1])
def test_helmets_travel_through_mne_with_their_coils(seed):
    (made,) = simulate([Head(seed)], 4.0, ["MEG"])
    raw = to_raw(made)
    coils = {int(ch["coil_type"]) for ch in raw.info["chs"]}
    assert coils == ({3012, 3024} if (made.channels.kind == Kind.GRAD).any() else {5001})
    _, channels, notes = pick_channels(raw)
    assert not notes and channels.name == made.channels.name and channels.frame == "head"
    assert channels.unit == made.channels.unit
    assert np.array_equal(channels.kind, made.channels.kind)
    assert np.allclose(channels.pos_m, made.channels.pos_m, atol=1e-6)
    assert np.allclose(channels.ori, made.channels.ori, atol=1e-6)
    assert np.array_equal(raw.get_data().T.astype(np.float32), made.signal)


def test_what_happens_can_be_chosen(tmp_path):
    dataset = SimulatedHeads(4, 0.5, experiment=Experiment((), sound=True, seizure=True))
    recording = dataset.load(jobs_of(dataset, tmp_path)[0], Recipe(highpass_hz=0.5))
    assert [e.label for e in recording.events] == ["sz"]
    assert recording.stimulus["envelope"].values_NF.shape == (30 * 64, 1)


def test_a_cohort_is_drawn_once_and_again_when_it_is_another(tmp_path):
    said = []
    for _ in range(2):
        SMALL.fetch(tmp_path, said.append)
    assert len(said) == 1 and "4 heads drawn" in said[0]
    SimulatedHeads(subjects=5).fetch(tmp_path, said.append)
    assert len(said) == 2 and len(SMALL.jobs(tmp_path)) == 20


def test_recordings_without_events_travel_too():
    (made,) = simulate([Head(1)], 2.0, ["EEG"])
    assert not made.events and not len(to_raw(made).annotations)
