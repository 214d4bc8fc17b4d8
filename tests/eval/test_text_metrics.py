"""Error rates against counts by hand; pooling, intervals and refusals."""

import jiwer
import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.speech.search import edits
from brainfm.speech.text import NORMALISER
from eval.metrics.text import error_counts, macro, paired_difference, pooled, summarise

SAID = ["the cat sat down", "a dog", "yes"]
FOUND = ["The cat sad down!", "dog", "oh yes yes"]


def test_words_by_hand():
    counts = error_counts(SAID, FOUND)
    assert counts.tolist() == [[1, 0, 0, 4], [0, 1, 0, 2], [0, 0, 2, 1]]
    assert pooled(counts) == pytest.approx(4 / 7)
    assert macro(counts) == pytest.approx((1 / 4 + 1 / 2 + 2) / 3)


def test_characters_count_spaces():
    assert error_counts(["a b"], ["ab"], "character").tolist() == [[0, 1, 0, 3]]
    assert error_counts(["cat"], ["cut"], "character").tolist() == [[1, 0, 0, 3]]


def test_phonemes_lose_stress_and_silence():
    counts = error_counts([["K", "AE1", "T", "SIL"]], ["K AH T S"], "phoneme")
    assert counts.tolist() == [[1, 0, 1, 3]]


@pytest.mark.parametrize("unit", ["word", "character"])
def test_counts_add_up_to_what_jiwer_says(unit):
    rng = np.random.default_rng(0)
    words = ["aa", "b", "cab", "dd"]
    said, found = (
        [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(40)] for _ in range(2)
    )
    rate = jiwer.wer(said, found) if unit == "word" else jiwer.cer(said, found)
    counts = error_counts(said, found, unit)
    assert pooled(counts) == pytest.approx(rate)
    if unit == "word":
        own = [edits(a.split(), b.split()) for a, b in zip(said, found, strict=True)]
        assert counts[:, :3].sum(1).tolist() == own


def test_nothing_decoded_is_all_deleted():
    assert error_counts(["one two"], [""]).tolist() == [[0, 2, 0, 2]]


def test_a_summary_says_what_was_counted_and_how():
    found = summarise(SAID, FOUND)
    assert (found["metric"], found["sentences"], found["units"]) == ("WER", 3, 7)
    assert (found["substitutions"], found["deletions"], found["insertions"]) == (1, 1, 2)
    assert found["normaliser"] == NORMALISER
    assert found["low"] <= found["rate"] <= found["high"]
    assert "SIL dropped" in summarise(["K"], ["K"], "phoneme")["normaliser"]


def test_intervals_cover_the_truth_and_groups_widen_them():
    rng = np.random.default_rng(1)
    bad = np.repeat(rng.random(20) * 0.6, 15)  # 20 patients of 15 sentences
    said = ["w " * 10] * 300
    found = [" ".join("x" if rng.random() < p else "w" for _ in range(10)) for p in bad]
    alone, patients = (summarise(said, found, groups=g) for g in (None, np.arange(300) // 15))
    assert patients["low"] < 0.3 < patients["high"]
    assert patients["high"] - patients["low"] > 1.5 * (alone["high"] - alone["low"])
    assert patients["over"] == "20 groups"


def test_one_sentence_has_no_interval():
    assert summarise(["a b"], ["a c"])["low"] is None
    assert summarise(["a b", "c"], ["a c", "c"], groups=["p", "p"])["high"] is None


def test_a_difference_is_paired():
    said = [f"w{i} v{i % 7}" for i in range(60)]
    worse = [s.replace("v", "x") if i % 3 else s for i, s in enumerate(said)]
    found = paired_difference(said, said, worse)
    assert found["difference"] == pytest.approx(-1 / 3)
    assert found["high"] < 0 and found["p"] < 0.01
    assert paired_difference(said, worse, worse)["difference"] == 0


@pytest.mark.parametrize(
    ("said", "found", "unit", "named"),
    [
        (["a", "?!"], ["a", "b"], "word", r"reference 2 of 2 \('\?!'\) is empty"),
        (["a"], [], "word", "1 references but 0 hypotheses"),
        ([], [], "word", "needs references"),
        (["K QQ"], ["K"], "phoneme", "'QQ'"),
        (["SIL"], ["K"], "phoneme", "is empty"),
    ],
)
def test_what_cannot_be_counted_is_refused(said, found, unit, named):
    with pytest.raises(DataError, match=named):
        error_counts(said, found, unit)


def test_groups_of_another_length_are_refused():
    with pytest.raises(DataError, match="2 groups for 3 sentences"):
        summarise(SAID, FOUND, groups=["p", "q"])
    with pytest.raises(ValueError, match="unit is 'line'"):
        error_counts(SAID, FOUND, "line")
