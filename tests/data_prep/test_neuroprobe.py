"""Neuroprobe's tasks and splits: known answers on small tables, and leaks refused."""

import numpy as np
import pytest
from treebank_helpers import trust, words_of, write_trial, write_wheel

import data_prep.datasets.brain_treebank as module
from brainfm.errors import DataError
from data_prep.datasets import get_dataset
from data_prep.datasets.brain_treebank import located, neuroprobe_splits
from data_prep.download import source_folder, unpack
from data_prep.readers.neuroprobe import (
    Timeline,
    contact_positions,
    lite_electrodes,
    members,
    read_timeline,
)
from data_prep.readers.neuroprobe_splits import (
    LITE_TRIALS,
    Split,
    cross_session,
    cross_subject,
    partner,
    refuse_leaks,
    within_session,
    without_overlap,
)
from data_prep.readers.neuroprobe_tasks import TASKS, Samples, task_samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("neuroprobe")
    words, features = words_of()
    found = unpack(write_wheel(root, words), members(), root, print)
    features.to_csv(found / "features.csv")
    return found


@pytest.fixture(scope="module")
def timeline(folder):
    return read_timeline(folder, 1, 1, folder / "features.csv")


def words_in(timeline, samples, label):
    starts = samples.start_N[samples.label_N == label]
    return [int(np.flatnonzero(timeline.start_N == s)[0]) for s in starts]


def test_there_are_15_tasks_and_each_has_as_many_samples_of_each_class(timeline):
    assert len(TASKS) == 15
    for task in TASKS:
        s = task_samples(timeline, task)
        counts = np.bincount(s.label_N)
        assert len(counts) == 2 and counts[0] == counts[1] > 0, task
        # Classes alternate, from class 1 on.
        assert s.label_N.tolist() == [1, 0] * (len(s) // 2)


@pytest.mark.parametrize(
    ("task", "high", "low"),
    [
        ("volume", range(31, 40), range(10)),
        ("pitch", range(31, 40), range(10)),
        ("delta_volume", range(9), range(30, 40)),
        ("word_index", range(0, 40, 4), range(1, 40, 4)),
        ("word_head_pos", range(0, 40, 2), range(1, 40, 2)),
        ("word_part_speech", range(1, 40, 4), range(0, 40, 4)),
        ("face_num", [i for i in range(40) if i % 3], range(0, 40, 3)),
        # Words without a value rank lowest, as published.
        ("gpt2_surprisal", range(35, 40), [0, 10, 20, 30, *range(1, 10), 11]),
    ],
)
def test_classes_follow_the_published_rules(timeline, task, high, low):
    s = task_samples(timeline, task)
    mine = set(words_in(timeline, s, 1)), set(words_in(timeline, s, 0))
    assert mine[0] <= set(high) and mine[1] <= set(low)
    n = min(len(list(high)), len(list(low)))
    assert len(mine[0]) == len(mine[1]) == n


def test_onset_and_speech_are_told_from_seconds_without_speech(timeline):
    for task, step in (("onset", 4), ("speech", 1)):
        s = task_samples(timeline, task)
        assert set(s.start_N[s.label_N == 0]) == set(timeline.silence_N)
        assert all(w % step == 0 for w in words_in(timeline, s, 1))


def test_gaps_are_inside_sentences(timeline):
    s = task_samples(timeline, "word_gap")
    words = words_in(timeline, s, 1) + words_in(timeline, s, 0)
    assert all(w % 4 for w in words)
    start, end = (timeline.words[c].to_numpy() for c in ("start", "end"))
    gap = {w: start[w] - end[w - 1] for w in words}
    long, short = words_in(timeline, s, 1), words_in(timeline, s, 0)
    assert min(gap[w] for w in long) > max(gap[w] for w in short)


def test_more_classes_and_fewer_samples_where_that_is_asked_for(timeline):
    three = task_samples(timeline, "volume", binary=False)
    assert set(three.label_N) == {0, 1, 2} and three.label_N[:3].tolist() == [1, 2, 0]
    assert set(words_in(timeline, three, 1)) <= set(range(15, 25))
    assert len(task_samples(timeline, "speech", most=8)) == 8
    # The draw is the benchmark's: NumPy's old generator, seed 42, the highest class first.
    draw = np.random.RandomState(42)
    first = np.sort(draw.choice(np.arange(40), size=4, replace=False))
    s = task_samples(timeline, "speech", most=8)
    assert words_in(timeline, s, 1) == first.tolist()


def test_a_task_without_its_column_says_which_file_has_it(folder):
    bare = read_timeline(folder, 1, 1, None)
    assert len(task_samples(bare, "speech")) and len(task_samples(bare, "pitch"))
    with pytest.raises(DataError, match=r"'rms' of subject 1 .*the-martian/features\.csv"):
        task_samples(bare, "volume")
    with pytest.raises(DataError, match="task 'smell' is none of Neuroprobe's"):
        task_samples(bare, "smell")
    with pytest.raises(DataError, match="subject 1 trial 9 is none of Neuroprobe's"):
        read_timeline(folder, 1, 9, None)


def test_electrodes_and_contacts_are_read_without_running_the_package(folder):
    assert lite_electrodes(folder, 3) == ("T1a1",)
    assert contact_positions(folder, 1)["T1a3"] == (-0.046, -0.02, 0.005)


def test_a_trial_is_divided_by_the_name_of_the_split(tmp_path, monkeypatch):
    words, features = words_of()
    trust(monkeypatch, write_wheel(tmp_path, words))
    for subject, trial in ((2, 4), (2, 0), (3, 0)):
        write_trial(tmp_path, subject, trial, features=features)
    get_dataset("brain_treebank").fetch(tmp_path, print)
    folds = neuroprobe_splits(tmp_path, "within session", 2, 0, "volume")
    assert len(folds) == 2 and len(folds[0].train) == 9
    (split,) = neuroprobe_splits(tmp_path, "cross session", 2, 0, "volume")
    assert (split.train.trial, split.test.trial) == (4, 0)
    (split,) = neuroprobe_splits(tmp_path, "cross subject", 3, 0, "speech")
    assert (split.train.subject, split.test.subject) == (2, 3)
    with pytest.raises(DataError, match="split 'random' is none of"):
        neuroprobe_splits(tmp_path, "random", 2, 0, "volume")


def test_samples_are_found_in_the_parts_of_their_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART_S", 15.0)
    words, features = words_of()
    trust(monkeypatch, write_wheel(tmp_path, words))
    write_trial(tmp_path, features=features)
    dataset = get_dataset("brain_treebank")
    dataset.fetch(tmp_path, print)
    jobs = dataset.jobs(tmp_path)
    every = task_samples(
        read_timeline(source_folder(module.NEUROPROBE, tmp_path), 1, 1, None), "speech"
    )
    found, n_cut = located(jobs, every)
    assert len(found) + n_cut == len(every)
    starts = {j.name: j.options["start"] for j in jobs}
    whole = sorted((round(onset * 2048) + starts[name], label) for name, onset, label in found)
    assert set(whole) <= set(zip(every.start_N.tolist(), every.label_N.tolist(), strict=True))
    # A part has the length that its job says: no window reaches past it.
    ends = {j.name: (j.options["stop"] - j.options["start"]) / 2048 for j in jobs}
    assert all(0 <= onset <= ends[name] - 1 for name, onset, _ in found)


def test_damaged_tables_are_named(folder, tmp_path):
    for name in folder.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    path = tmp_path / "subject1_trial1_words_df.csv"
    path.write_text(path.read_text().replace("est_idx", "idx"))
    with pytest.raises(DataError, match="words_df.csv: has no column est_idx"):
        read_timeline(tmp_path, 1, 1, None)
    path = tmp_path / "subject1_trial2_words_df.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace("3,", "x,", 1)]))
    with pytest.raises(DataError, match="original_index in line 2 is 'x', no number"):
        read_timeline(tmp_path, 1, 2, None)
    (tmp_path / "thor-ragnarok_pitch_volume_features.json").write_text("{")
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="no pitch features"):
        read_timeline(tmp_path, 1, 2, None)


def samples(n=200, subject=1, trial=1, every=4096):
    start_N = every * (np.arange(n) // 2)
    return Samples(subject, trial, "speech", start_N, (np.arange(n) + 1) % 2)


def spans(split):
    return [(p.start_N.min(), p.start_N.max()) for p in (split.val, split.test, split.train)]


def test_folds_within_a_session_are_stretches_of_time():
    every = samples()
    first, second = within_session(every)
    for split in (first, second):
        assert [len(p) for p in (split.train, split.val, split.test)] == [100, 50, 50]
        (_, v1), (t0, _), _ = spans(split)
        assert v1 <= t0
        parts = np.concatenate([p.start_N for p in (split.train, split.val, split.test)])
        assert sorted(parts) == sorted(every.start_N)
    assert spans(first)[2][0] > spans(first)[1][1] and spans(second)[2][1] < spans(second)[0][0]


def test_random_folds_within_a_movie_are_refused():
    every = samples()
    order = np.random.default_rng(0).permutation(len(every))
    parts = [every.take(np.sort(order[a:b])) for a, b in ((0, 100), (100, 150), (150, 200))]
    with pytest.raises(DataError, match="windows of class 0 lie between .* stretches of time"):
        refuse_leaks(Split("within session", *parts))


def test_another_session_is_another_movie_and_never_the_same_trial():
    split = cross_session(samples(trial=2), samples(trial=1))
    assert len(split.val) == len(split.test) == 100 and split.train.trial == 2
    with pytest.raises(DataError, match="subject 1 trial 1 is trained on and scored"):
        cross_session(samples(), samples())
    # Subjects 1 and 5 saw the same movie.
    with pytest.raises(DataError, match="'fantastic-mr-fox' and 'fantastic-mr-fox'"):
        cross_session(samples(trial=0), samples(subject=5, trial=0))


def test_another_subject_is_trained_on_the_published_trial():
    split = cross_subject(samples(subject=2, trial=4), samples(subject=7, trial=0))
    assert (split.train.subject, split.test.subject) == (2, 7)
    with pytest.raises(DataError, match="trains on subject 2 trial 0; the published"):
        cross_subject(samples(subject=2, trial=0), samples(subject=7, trial=0))
    with pytest.raises(DataError, match="subject 2 trial 4 is trained on and scored"):
        cross_subject(samples(subject=2, trial=4), samples(subject=2, trial=4))


def test_partners_are_the_other_scored_trial_of_the_person():
    assert partner(2, 0) == (2, 4) and partner(10, 1) == (10, 0)
    assert all(partner(*partner(s, t)) == (s, t) for s, t in LITE_TRIALS)
    with pytest.raises(DataError, match="subject 5 trial 0 is not scored"):
        partner(5, 0)


def test_windows_that_overlap_at_the_cut_can_be_left_out_and_counted():
    close = within_session(samples(every=1024))[0]
    clean, n = without_overlap(close)
    assert n > 0 and len(clean.train) == len(close.train) - n
    gaps = abs(clean.train.start_N[:, None] - np.r_[clean.val.start_N, clean.test.start_N])
    assert gaps.min() >= 2048
    assert without_overlap(within_session(samples())[0])[1] == 0


def test_a_class_without_a_sample_is_named(timeline):
    words = timeline.words.assign(face_num="0")
    odd = Timeline(1, 1, words, timeline.silence_N, True, timeline.pitch_N)
    with pytest.raises(DataError, match="task 'face_num' has no sample of class 1"):
        task_samples(odd, "face_num")


def test_a_word_without_a_value_is_of_no_class_and_nonsense_is_named(timeline):
    words = timeline.words.copy()
    words.loc[1:4, "face_num"] = ""
    odd = Timeline(1, 1, words, timeline.silence_N, True, timeline.pitch_N)
    s = task_samples(odd, "face_num", most=None)
    assert not {1, 2, 3, 4} & set(words_in(odd, s, 0) + words_in(odd, s, 1))
    words.loc[7, "face_num"] = "many"
    with pytest.raises(DataError, match=r"the-martian/features\.csv: face_num in line 9 is 'many'"):
        task_samples(odd, "face_num")


def test_words_without_a_value_rank_lowest_as_published(timeline):
    assert timeline.words["gpt2_surprisal"][0] == ""
    assert 0 in words_in(timeline, task_samples(timeline, "gpt2_surprisal"), 0)
