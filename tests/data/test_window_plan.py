"""Windows lie inside intervals; plans are pure functions that show every window once an epoch."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.permute import key_of, permute, uniform
from brainfm.data.sampler import PlanConfig, PlanSampler
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.data.windows import SEGMENT, Bucket, Cut, WindowIndex, cut_windows
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe


@pytest.fixture
def trials(tmp_path):
    """Intervals of 1.5, 10, 0.2 and 4.3 s at 256 Hz."""
    recording = synthetic_recording("EEG", 20, 4, split="train")
    recording.intervals_s = [(0, 1.5), (2, 12), (12, 12.2), (13, 17.3)]
    write_recording(recording, tmp_path / "d" / "a.safetensors", recipe=Recipe())
    build_tables(tmp_path)
    return Store(tmp_path)


def cut(store, **args):
    return cut_windows(store, store.recordings, Cut(**{"window_s": 4, "patch_s": 0.5, **args}))


def refs(index):
    return [tuple(r) for r in index.refs(np.arange(len(index)))]


def test_windows_lie_inside_intervals_and_short_trials_give_one(trials):
    index = cut(trials)
    assert sorted(refs(index)) == [
        (0, 0, 384),
        (0, 512, 1024),
        (0, 1536, 1024),
        (0, 3328, 1024),
    ]
    assert index.skipped == 1  # 0.2 s hold no step of 0.5 s


def test_min_s_leaves_short_trials_out(trials):
    index = cut(trials, min_s=2.0)
    assert {r[2] for r in refs(index)} == {1024} and index.skipped == 2


def test_a_stride_overlaps_windows(trials):
    starts = [r[1] for r in refs(cut(trials, stride_s=2)) if r[1] < 3072 and r[2] == 1024]
    assert starts == [512, 1024, 1536, 2048]


def test_windows_hold_whole_steps(trials):
    assert {r[2] % 100 for r in refs(cut(trials, patch_s=100 / 256))} == {0}


def test_jitter_moves_windows_inside_their_interval_by_at_most_half_a_stride(trials):
    index = cut(trials)
    still = np.array(refs(index))
    for key in range(50):
        moved = np.array([tuple(r) for r in index.refs(np.arange(len(index)), key)])
        assert (np.abs(moved[:, 1] - still[:, 1]) <= 512).all()
        for _, start, length in moved:
            assert any(a <= start and start + length <= b for a, b in trials.intervals(0))


def test_jitter_depends_on_number_and_key_only(trials):
    index = cut(trials)
    assert index.refs([2, 1], 5) == index.refs([1, 2], 5)[::-1]
    assert index.refs([1, 2, 3], 5) != index.refs([1, 2, 3], 6)


@pytest.mark.parametrize("bad", [{"window_s": 0.1}, {"stride_s": -1}, {"min_s": 9}])
def test_windows_that_cannot_be_are_refused(trials, bad):
    with pytest.raises(DataError, match="window_s is"):
        cut(trials, **bad)


def test_a_bucket_has_one_layout_and_one_length(store):
    index = cut(store)
    assert len(index.buckets) == 4
    for b in index.buckets:
        rows = [r[0] for r in refs(index)[b.first : b.first + b.count]]
        assert set(store.recordings["layout"].iloc[rows]) == {b.layout}


@pytest.mark.parametrize("n", [1, 2, 3, 10, 255, 256, 257, 5000])
def test_a_permutation_holds_every_number_once(n):
    assert sorted(permute(np.arange(n), n, 7)) == list(range(n))


@pytest.mark.parametrize("n", [2, 3, 4, 7, 10])
def test_permutations_are_fair(n):
    """Each number comes first about as often, and each pair first and second: chi-square."""
    draws = 200 * n * n
    both = [tuple(permute([0, 1], n, key_of("fair", i)).tolist()) for i in range(draws // n)]
    first = Counter(a for a, _ in both)
    expected = len(both) / n
    assert sum((first[k] - expected) ** 2 / expected for k in range(n)) < n + 4 * n**0.5 + 6
    pairs = Counter(both)
    cells, expected = n * (n - 1), len(both) / (n * (n - 1))
    spread = sum((pairs[i, j] - expected) ** 2 for i in range(n) for j in range(n) if i != j)
    assert spread / expected < cells + 4 * cells**0.5 + 6


def test_a_permutation_forgets_the_order():
    r = np.corrcoef(np.arange(5000), permute(np.arange(5000), 5000, 3))[0, 1]
    assert abs(r) < 0.05
    steps = np.diff(permute(np.arange(5000), 5000, 3))
    assert Counter(steps.tolist()).most_common(1)[0][1] < 10


def test_a_place_in_a_hundred_million_costs_no_memory():
    tracemalloc.start()
    permute(np.arange(64), 100_000_000, 1)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_uniform_numbers_are_uniform():
    u = uniform(np.arange(10_000), 5)
    assert 0 <= u.min() and u.max() < 1
    assert np.histogram(u, 10)[0] == pytest.approx(1000, abs=120)


def plan(store, rank=0, world=1, index=None, **config):
    index = index or cut(store, stride_s=1)
    base = {"tokens_per_batch": 300, "seed": 3}
    return PlanSampler(index, PlanConfig(**{**base, **config}), rank, world)


def epoch(p, number=0):
    return [p.batch(number * len(p) + k) for k in range(len(p))]


def test_an_epoch_shows_every_window_once(store):
    p = plan(store)
    shown = Counter(r for batch in epoch(p) for r in batch)
    assert set(shown.values()) == {1} and len(shown) == len(p.index)


def test_a_batch_has_one_layout_and_keeps_its_budget(store):
    for batch in epoch(plan(store)):
        rows = store.recordings.iloc[[r.recording for r in batch]]
        assert rows["layout"].nunique() == 1 and len({r.length for r in batch}) == 1
        assert len(batch) * rows["n_channels"].iloc[0] * batch[0].length // 128 <= 300


def test_a_window_without_steps_is_one_token(trials):
    index = cut(trials, patch_s=None, min_s=0.1)
    p = PlanSampler(index, PlanConfig(tokens_per_batch=8))
    shown = [r for batch in epoch(p) for r in batch]
    assert sorted(shown) == sorted(refs(index)) and min(r.length for r in shown) == 51
    assert max(len(batch) for batch in epoch(p)) == 2  # four channels each


def test_batches_of_a_bucket_are_equally_large_to_one(store):
    sizes = {}
    for batch in epoch(plan(store)):
        layout = store.recordings["layout"][batch[0].recording]
        sizes.setdefault(layout, []).append(len(batch))
    assert all(max(s) - min(s) <= 1 for s in sizes.values())


def test_epochs_and_seeds_differ_and_the_same_is_the_same(store):
    p = plan(store)
    assert epoch(p) == epoch(plan(store))
    assert epoch(p) != epoch(p, 1) != epoch(plan(store, seed=4), 1)
    assert sorted(sum(epoch(p), [])) == sorted(sum(epoch(p, 1), []))


def test_a_fixed_plan_repeats_itself(store):
    p = plan(store, fixed=True)
    assert epoch(p) == epoch(p, 5)


def test_without_shuffling_windows_come_in_order(store):
    shown = [r for batch in epoch(plan(store, shuffle=False)) for r in batch]
    assert shown == plan(store).index.refs(np.arange(len(plan(store).index)))


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_no_window_and_have_equally_many_batches(store, world):
    plans = [plan(store, rank, world) for rank in range(world)]
    assert len({len(p) for p in plans}) == 1
    shown = Counter(r for p in plans for batch in epoch(p) for r in batch)
    assert set(shown.values()) == {1}


def test_rank_r_takes_every_world_th_batch(store):
    alone = epoch(plan(store))
    for rank in range(3):
        assert epoch(plan(store, rank, 3)) == alone[rank::3][: len(alone) // 3]


def test_padding_shows_all_windows_and_repeats_some(store):
    plans = [plan(store, rank, 5, pad=True, fixed=True) for rank in range(5)]
    shown = Counter(r for p in plans for batch in epoch(p) for r in batch)
    assert len(shown) == len(plans[0].index) and set(shown.values()) <= {1, 2}


def test_more_ranks_than_batches_still_train(store):
    p = plan(store, 39, 40, tokens_per_batch=100_000)
    assert len(p) == 1 and p.batch(0)


def test_a_mixture_shows_data_sets_more_or_less_often(store):
    p = plan(store, mixture={"simulated_eeg": 2.0, "simulated_meg": 0.5})
    rows = [Counter(), Counter()]
    for number in (0, 1):
        for r in sum(epoch(p, number), []):
            rows[number][(store.recordings["dataset"][r.recording], r)] += 1
    eeg = [n for (d, _), n in rows[0].items() if d == "simulated_eeg"]
    assert set(eeg) == {2}
    meg = [{r for (d, r) in part if d == "simulated_meg"} for part in rows]
    all_meg = sum(b.count for b in p.index.buckets if b.dataset == "simulated_meg")
    assert len(meg[0]) == all_meg // 2 and meg[0] != meg[1]


@pytest.mark.parametrize(
    ("mixture", "message"), [({"tuh": 1.0}, "'tuh'.*simulated_eeg"), ({"simulated_eeg": 0}, "pos")]
)
def test_a_wrong_mixture_is_refused(store, mixture, message):
    with pytest.raises(DataError, match=message):
        plan(store, mixture=mixture)


def test_the_hash_tells_plans_apart(store):
    hashes = [
        plan(store).hash,
        plan(store, seed=4).hash,
        plan(store, tokens_per_batch=301).hash,
        plan(store, 0, 2).hash,
        plan(store, index=cut(store, stride_s=2)).hash,
    ]
    assert len(set(hashes)) == 5 and plan(store).hash == hashes[0]
    assert plan(store, 1, 2).hash == plan(store, 0, 2).hash


def test_a_hundred_million_windows_are_planned_without_listing_them():
    segments = np.zeros(1000, SEGMENT)
    segments["recording"], segments["length"] = np.arange(1000), 512
    segments["count"], segments["stop"] = 100_000, 100_000 * 512
    segments["stride"] = 512
    index = WindowIndex(segments, [Bucket("x", "d", 256.0, 64, 512, 512, 0, 100_000_000)])
    tracemalloc.start()
    p = PlanSampler(index, PlanConfig(tokens_per_batch=64 * 32, jitter=True))
    batch = p.batch(2_000_000)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    assert len(p) == 3_125_000 and len(set(batch)) == 32


def test_no_window_or_rank_is_refused(store):
    empty = WindowIndex(np.zeros(0, SEGMENT), [])
    with pytest.raises(DataError, match="no window to plan"):
        PlanSampler(empty, PlanConfig())
    with pytest.raises(DataError, match="rank 2 is none of 2"):
        plan(store, 2, 2)
