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
    assert said == (
        "EEG: ours is not below the best transform coder at .25 to 4 kbit/s (+1.0 to +13.0 dB)."
    )


def test_a_published_design_with_fewer_bits_may_leave_the_rest_unused():
    design = records("bio", [(300, 0.5), (600, 0.25)])
    found = v.duels(records("ours", line()) + design, ["bio"], nobody)
    mine = [r for r in found if (r["coder"], r["against"]) == ("ours", "bio")]
    assert mine[0]["difference"] is None  # none so low
    assert mine[-1]["other_db"] == pytest.approx(10 * np.log10(0.25))
    ours, theirs = v.duel_sentences(found)
    assert ours == "EEG: ours is below bio (published) at .5 to 4 kbit/s (-11.8 to -20.0 dB)."
    assert theirs == "EEG: bio is without a rate of .25, 1 to 4."


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
    assert "NMSE -60 dB) takes 1.50 kbit/s: 2 to 4 kbit/s have no" in said
    assert v.lossless_sentences([{**row, "bits_per_s": {"mean": 9000.0}}]) == []
    assert v.lossless_sentences([{**row, "nmse": {"mean": 0.01}}]) == []  # a coarse step


def test_a_codec_says_nothing_beyond_its_own_rates():
    found = v.duels(
        records("ours", [(200, 0.1), (600, 0.05)]) + records("DCT", line(), "baseline"), [], nobody
    )
    assert [r["difference"] is None for r in found] == [False, False, True, True, True]
    assert v.duel_sentences(found)[0].endswith("(+3.4 to +4.5 dB); without a rate of 1 to 4.")


def test_rates_of_one_outcome_are_one_range_and_no_loss_is_left_out():
    away = [(1.5, None), (-0.2, None), (-3.0, None), (-0.1, (-0.4, 0.2)), (0.0, None)]
    rows = [
        {
            "kind": "EMG", "coder": "ours", "rate": rate, "against": "transform", "mine_db": -1.0,
            "difference": {"mean": d, "low": i and i[0], "high": i and i[1]},
        }
        for rate, (d, i) in zip(v.RATES, away, strict=True)
    ]  # fmt: skip
    (said,) = v.duel_sentences(rows)
    who = "the best transform coder at"
    assert said == (
        f"EMG: ours is not below {who} .25 kbit/s (+1.5 dB); below {who} .5 to 1 kbit/s "
        f"(-0.2 to -3.0 dB); level with {who} 2 kbit/s (-0.1 dB, intervals hold 0); "
        f"not below {who} 4 kbit/s (+0.0 dB)."
    )


def test_codecs_of_one_rate_share_a_sentence():
    made = records("ours", line()) + records("DCT", line(), "baseline")
    made += records("one", [(1500, 0.01)]) + records("two", [(300, 0.1)])
    found = v.duels(made, [], nobody)
    rows = [
        {"kind": "EEG", "coder": n, "against": {"mean": d}}
        for n, d in (("one", -2.0), ("two", 1.0))
    ]
    assert v.lone_sentences(rows, found) == [
        "EEG: one, two have none of the compared rates; at their own, against the DCT: +1.0 to "
        "-2.0 dB."
    ]
    assert len(v.duel_sentences(found)) == 1
    assert v.lone_sentences(rows, found, ["one", "two"]) == []


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
    assert "1.040 of one's at 1.00 kbit/s" in said and said.endswith("at 1 more rates it has none.")
    assert "misses the mark of 5% more NMSE than models of one rate (1 of 3)" in said
    (said,) = v.ratio_sentences(found[:1])
    assert "meets the mark" in said and said.endswith("(1 of 1): 1.040 of one's at 1.00 kbit/s.")


def test_a_name_that_is_no_compared_codec_is_refused():
    with pytest.raises(DataError, match=r"'b' is none of the compared codecs \(a\)"):
        v.rate_ratios(records("a", line()), "a", ["b"], nobody)
