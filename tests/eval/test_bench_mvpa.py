"""The attention benchmark compares equals, measures each path by itself, and leaves out by name."""

import pytest
import torch

from brainfm.errors import ContractError
from eval.bench import mvpa
from eval.bench.mvpa import main

SMALL = ["--preset", "test", "--segments", "13", "--channels", "5", "--rounds", "1"]
SMALL += ["--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def here():
    """Memory is given: a child takes seconds to start, and this process has seen larger steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mvpa, "_memory_of", given_memory)
        yield main(SMALL)


def given_memory(args, path, device):
    return {"extra_mb": {"lean": 2.0, "dense": 10.0}[path], "peak_mb": 100.0}


def test_speed_and_memory_of_both_paths_are_told(here):
    assert [row["path"] for row in here["rows"]] == ["lean", "dense"]
    assert here["tokens"] == 65
    assert here["lean"]["tokens_per_s"] == pytest.approx(65 / here["lean"]["s"])
    assert here["speedup"] == pytest.approx(here["dense"]["s"] / here["lean"]["s"])


def test_both_paths_compute_the_same_before_they_are_timed(here):
    assert 0 < here["difference"] < 1e-4


def test_another_function_is_refused():
    args = mvpa._arguments(SMALL)
    layer = mvpa.Layer(args, torch.device("cpu"))
    layer.where = mvpa.Geometry(layer.time, layer.where.relation_CC, layer.channel)  # not flipped
    with pytest.raises(ContractError, match="lean and dense differ by"):
        layer.difference()


def test_dense_is_left_out_with_a_sentence_where_it_does_not_fit(monkeypatch):
    monkeypatch.setattr(mvpa, "_memory_of", mvpa._memory)
    monkeypatch.setattr(mvpa, "_free_bytes", lambda device: 1000)
    found = main(SMALL)
    assert [row["path"] for row in found["rows"]] == ["lean"]
    assert found["speedup"] is None and found["memory_ratio"] is None
    assert "Dense was left out: its logits of 65 x 65 tokens and 4 heads" in found["notes"][0]


def test_the_ratios_are_held_against_what_was_promised():
    memory = {"lean": {"extra_mb": 10.0}, "dense": {"extra_mb": 40.0}}
    for fast, reached in ((1.0, True), (2.0, False)):
        notes = []
        found = mvpa._ratios({"lean": [fast] * 3, "dense": [4.0] * 3}, memory, notes)
        assert found["speedup"] == 4 / fast and found["memory_ratio"] == 0.25
        assert found["reached"] is reached and ("reached" in notes[-1]) is reached


def test_the_high_water_mark_stays_when_memory_is_given_back():
    block = torch.ones(100_000_000 // 4)
    high = mvpa._high_water()
    assert high >= block.nbytes
    del block
    assert mvpa._high_water() >= 0.99 * high, "counters of the kernel lag a little"


@pytest.mark.parametrize(
    "argv, named", [(["--segments", "0"], "must all be 1 or more"), (["--device", "cuda"], "GPU")]
)
def test_what_cannot_be_measured_is_refused(argv, named):
    if torch.cuda.is_available() and named == "GPU":
        argv, named = ["--rounds", "0"], "must all be 1 or more"
    with pytest.raises(ContractError, match=named):
        main([*SMALL, *argv])


def test_the_number_of_threads_is_given_back(here):
    before = torch.get_num_threads()
    with pytest.raises(ContractError):
        main([*SMALL, "--threads", "0"])
    assert torch.get_num_threads() == before
