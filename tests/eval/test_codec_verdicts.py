"""Sentences at given rates, from curves whose answers are known."""

import numpy as np
import pytest

from brainfm.errors import DataError
from eval.codec import verdicts as v


def nobody(paths):
    return np.zeros((0, len(paths)))


def two_people(paths):
    return np.array([[2.0, 0.0], [0.0, 2.0]])[:, : len(paths)]


def records(coder, points, sort="codec", paths=("a",), kind="EEG"):
    return [
        {
            "kind": kind, "coder": coder, "sort": sort, "setting": str(i), "path": p,
            "bits_per_s": rate, "nmse": nmse * (1 + j),
        }
        for i, (rate, nmse) in enumerate(points)
        for j, p in enumerate(paths)
    ]  # fmt: skip


def line(gain=1.0, low=100, high=10_000):
    """NMSE falls as 1 / rate: -10 dB a decade."""
    return [(rate, gain * 10 / rate) for rate in (low, high)]


def test_the_best_transform_coder_is_looked_for_at_every_rate():
    found = v.duels(
        records("ours", line(0.5))
        + records("DCT", line(1.0), "baseline")
        + records("MDCT", [(100, 0.1), (10_000, 1e-5)], "baseline"),
        [], nobody,
    )  # fmt: skip
    assert [r["rate"] for r in found] == [250, 500, 1000, 2000, 4000]
    assert {r["other"] for r in found} == {"MDCT"}
    assert found[0]["difference"]["mean"] == pytest.approx(-3.01 + 10 * np.log10(2.5) * 1, abs=0.1)
    assert found[0]["difference"]["low"] is None
    (said,) = v.duel_sentences(found)
    assert said.startswith("EEG: ours: not lower than the best transform coder at .25 (+1.0 dB)")


def test_a_published_design_with_fewer_bits_may_leave_the_rest_unused():
    design = records("bio", [(300, 0.5), (600, 0.25)])
    found = v.duels(records("ours", line()) + design, ["bio"], nobody)
    mine = [r for r in found if (r["coder"], r["against"]) == ("ours", "bio")]
    assert mine[0]["difference"] is None  # none so low
    assert mine[-1]["other_db"] == pytest.approx(10 * np.log10(0.25))
    said = next(s for s in v.duel_sentences(found) if "bio (published)" in s)
    assert "lower NMSE than bio (published) at .5 (" in said and "4 (" in said
    assert "bio (published) has no such rate as .25" in said


def test_differences_are_paired_over_people():
    found = v.duels(
        records("ours", line(0.5), paths="ab") + records("DCT", line(), "baseline", paths="ab"),
        [], two_people,
    )  # fmt: skip
    for r in found:  # twice the error for person b on both sides
        for k in ("mean", "low", "high"):
            assert r["difference"][k] == pytest.approx(-3.01, abs=0.01)


def test_a_rate_above_the_lossless_one_has_no_meaning():
    row = {"kind": "ECG", "coder": v.LOSSLESS, "setting": "step 1/256", "order": 1 / 256,
           "bits_per_s": {"mean": 1500.0}, "nmse": {"mean": 1e-6}}  # fmt: skip
    coarse = {**row, "order": 1 / 16, "bits_per_s": {"mean": 300.0}}
    (said,) = v.lossless_sentences([coarse, row])
    assert "1.50 kbit/s a channel (NMSE -60 dB), so that 2/4 kbit/s have no" in said
    assert v.lossless_sentences([{**row, "bits_per_s": {"mean": 9000.0}}]) == []
    assert v.lossless_sentences([{**row, "nmse": {"mean": 0.01}}]) == []  # a coarse step


def test_a_codec_says_nothing_beyond_its_own_rates():
    found = v.duels(
        records("ours", [(200, 0.1), (600, 0.05)]) + records("DCT", line(), "baseline"), [], nobody
    )
    assert [r["difference"] is None for r in found] == [False, False, True, True, True]
    assert v.duel_sentences(found)[0].endswith("it has no such rate as 1/2/4.")


def test_a_multi_rate_codec_is_held_against_those_of_one_rate():
    made = (
        records("all", line(1.04))
        + records("one", [(1000, 0.01)])
        + records("two", [(200, 1.0), (2000, 0.004)])
        + records("far", [(20_000, 1e-4)])
    )
    found = v.rate_ratios(made, "all", ["one", "two", "far"], nobody)
    assert [r["ratio"]["mean"] for r in found[:2]] == [pytest.approx(1.04), pytest.approx(1.3)]
    assert found[2]["ratio"]["mean"] is None and found[1]["setting"] == "1"
    (said,) = v.ratio_sentences(found)
    assert "1.040 of one at 1.00 kbit/s" in said and "at 1 more rates all has none" in said
    assert said.endswith("Within 5% at 1 of 3: misses the mark.")
    (said,) = v.ratio_sentences(found[:1])
    assert said.endswith("Within 5% at 1 of 1: meets the mark.")


def test_a_name_that_is_no_compared_codec_is_refused():
    with pytest.raises(DataError, match=r"'b' is none of the compared codecs \(a\)"):
        v.rate_ratios(records("a", line()), "a", ["b"], nobody)
