"""`python -m eval.bench detect`: what is measured, and what it is compared with."""

import os

import pytest
import torch

from eval.bench import detect


@pytest.fixture(scope="module")
def measured():
    return detect.main(["--minutes", "0.5", "--channels", "4", "--models"])


def test_both_kinds_of_filters_are_measured_in_one_run(measured):
    assert [r["mode"] for r in measured["rows"]] == ["causal", "offline"]
    assert all(r["step s"] == 2.0 and r["times real time"] > 0 for r in measured["rows"])
    first, second = (r["times real time"] for r in measured["rows"])
    assert measured["causal_over_offline"] == pytest.approx(first / second)
    assert measured["times_real_time"] == first and measured["channels"] == 4


def test_what_came_out_is_what_is_counted(measured):
    causal, offline = measured["rows"]
    assert causal["steps"] == 15
    # A block of a minute comes out whole.
    assert offline["steps"] == 30


def test_threads_and_cores_are_given_back():
    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    detect.main(["--minutes", "1", "--channels", "2", "--models"])
    assert torch.get_num_threads() == threads and os.sched_getaffinity(0) == cores


def test_a_size_that_does_not_fit_is_left_out_in_one_sentence(monkeypatch):
    monkeypatch.setattr(detect, "_free_bytes", lambda: 1e6)
    found = detect.main(["--minutes", "1", "--channels", "2", "--models", "S", "M"])
    assert len(found["rows"]) == 2
    assert sum("left out" in note for note in found["notes"]) == 2
