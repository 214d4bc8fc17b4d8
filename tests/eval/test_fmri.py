"""Blocks decoded with a run left out, people found again, and pages that say so."""

import json

import numpy as np
import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.connectivity import connectivity, found_again
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording
from eval.fmri.__main__ import main
from eval.fmri.haxby import BASELINE, METHODS, decode, read_blocks
from eval.fmri.identify import identify


def recording(x_TC, **fields):
    n = x_TC.shape[1]
    rng = np.random.default_rng(9)
    channels = Channels(
        tuple(f"P{i}" for i in range(n)),
        np.full(n, Kind.BOLD),
        rng.uniform(-0.06, 0.06, (n, 3)),
        np.zeros((n, 3)),
        ("au",) * n,
        "mni",
        "none",
    )
    return Recording(x_TC, 0.4, channels, split="train", **fields)


def store_of(root, recordings):
    for k, r in enumerate(recordings):
        write_recording(r, root / r.dataset / f"{k}.safetensors", recipe=Recipe())
    build_tables(root)
    return Store(root)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """Six runs of three categories, each with a pattern of its own under noise."""
    rng = np.random.default_rng(0)
    pattern = {name: rng.normal(size=40) for name in ("face", "house", "shoe")}
    runs = []
    for run in range(6):
        x, events = rng.normal(size=(60, 40)) * 2.0, []
        for i, name in enumerate(rng.permutation(list(pattern) * 2)):
            x[i * 10 : i * 10 + 8] += 0.9 * pattern[name]
            events.append(Event(i * 25.0, 20.0, str(name)))
        runs.append(recording(x, dataset="toy", subject="01", name=f"run-{run}", events=events))
    return store_of(tmp_path_factory.mktemp("blocks"), runs)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four people at rest, each with connections of their own."""
    rng = np.random.default_rng(1)
    made = []
    for person in range(4):
        mix = rng.normal(size=(8, 12))
        made.append(
            recording(
                rng.normal(size=(240, 8)) @ mix + 0.5 * rng.normal(size=(240, 12)),
                dataset="rest",
                subject=f"{person}",
                name=f"sub-{person}",
            )
        )
    return store_of(tmp_path_factory.mktemp("people"), made)


def test_blocks_are_read_within_runs(blocks):
    found = read_blocks(blocks, "toy")
    assert found["x_NC"].shape == (36, 40) and found["half_N2C"].shape == (36, 2, 40)
    assert len(np.unique(found["run_N"])) == 6
    np.testing.assert_allclose(found["half_N2C"].mean(1), found["x_NC"], atol=1e-6)


def test_categories_are_decoded_and_chance_is_chance(blocks):
    found = decode(read_blocks(blocks, "toy"), 50)
    accuracy = {n: m["accuracy"]["mean"] for n, m in found["rows"].items()}
    assert accuracy["majority"] < 0.4 and accuracy["shrinkage LDA"] > 0.8
    assert accuracy[BASELINE] > 0.8 and found["best"] != BASELINE
    assert found["confusion"].sum() == 36


@pytest.mark.parametrize("name", METHODS)
def test_labels_of_the_left_out_run_teach_nothing(blocks, name):
    found = read_blocks(blocks, "toy")
    _, y = np.unique(found["label_N"], return_inverse=True)
    out = found["run_N"] == found["run_N"][0]
    other = y.copy()
    other[out] = (other[out] + 1) % 3
    before, after = (METHODS[name](found, labels, ~out, out) for labels in (y, other))
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]


def test_one_run_cannot_be_left_out(blocks, people):
    with pytest.raises(DataError, match="holds 0 runs of 'haxby'"):
        read_blocks(blocks)
    with pytest.raises(DataError, match="runs of 4 people, whose voxels are others"):
        read_blocks(people, "rest")


def test_runs_that_show_nothing_have_no_categories(tmp_path):
    rng = np.random.default_rng(0)
    runs = [
        recording(rng.normal(size=(60, 5)), dataset="d", subject="1", name=f"{k}") for k in range(2)
    ]
    with pytest.raises(DataError, match="show 0 categories in 0 blocks"):
        read_blocks(store_of(tmp_path, runs), "d")


def test_connectivity_is_the_correlation_of_pairs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    x[:, 1] = x[:, 0] + 0.5 * x[:, 1]
    z = connectivity(x)
    np.testing.assert_allclose(np.tanh(z), np.corrcoef(x.T)[np.triu_indices(3, 1)])


def test_people_are_found_again_by_connectivity(people):
    rows = identify(people, ["rest"])
    by = {r["system"]: r for r in rows}
    assert by["connectivity"]["right"] == [4, 4] and by["connectivity"]["p"] < 0.1
    assert set(by) == {"connectivity", "encoder, random init"}
    with pytest.raises(DataError, match="'nobody' has fMRI of 0 people"):
        identify(people, ["nobody"])


def test_runs_of_a_person_are_one_person_and_scrubbed_frames_do_not_count(tmp_path, blocks):
    rng = np.random.default_rng(2)
    made = []
    for person in range(3):
        mix = rng.normal(size=(8, 12))
        for run in range(3):
            x = rng.normal(size=(80, 8)) @ mix + 0.5 * rng.normal(size=(80, 12))
            x[50:60] = 1e3 * rng.normal(size=12)  # outside the intervals
            made.append(
                recording(
                    x,
                    dataset="rest",
                    subject=f"{person}",
                    name=f"sub-{person}_run-{run}",
                    intervals_s=[(0.0, 125.0), (150.0, 200.0)],
                )
            )
    (found, _) = identify(store_of(tmp_path, made), ["rest"])
    assert found["people"] == 3 and found["right"] == [3, 3]
    with pytest.raises(DataError, match="'toy' has fMRI of 1 people"):
        identify(blocks, ["toy"])


def test_found_again_counts_both_ways():
    first = np.array([[1.0, 0, 0, 2], [0, 1, 0, -1], [0, 0, 1, 0]])
    assert found_again(first, first) == (3, 3)
    assert found_again(first, first[[1, 0, 2]]) == (1, 1)


def test_pages_are_written_and_refusals_are_sentences(blocks, people, tmp_path, capsys):
    out = tmp_path / "haxby"
    args = ["haxby", f"--store={blocks.root}", "--dataset", "toy", f"--out={out}"]
    assert main([*args, "--resamples=20"]) == 0
    assert "36 blocks of 3 categories" in (out / "report.html").read_text()
    out = tmp_path / "who"
    assert main(["identify", f"--store={people.root}", "--dataset", "rest", f"--out={out}"]) == 0
    assert json.loads((out / "report.json").read_text())["rows"][0]["found again"] == "4 of 4"
    assert main(["haxby", f"--store={people.root}"]) == 1
    assert "holds 0 runs of 'haxby'" in capsys.readouterr().err
