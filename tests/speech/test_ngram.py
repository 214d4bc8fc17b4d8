"""The n-gram model: probabilities that add up to one, counts, and a file that keeps them."""

import json
import math

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.speech.ngram import END, UNKNOWN, NGram

TEXT = [s.split() for s in ("the cat sat", "the cat ran", "a dog sat", "the dog ran away", "a cat")]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("closed", [False, True])
def test_what_may_follow_adds_up_to_one_after_any_history(order, closed):
    vocabulary = sorted({w for s in TEXT for w in s} | {"never"}) if closed else None
    model = NGram.train(TEXT, order, vocabulary)
    rng = np.random.default_rng(0)
    for _ in range(30):
        history = tuple(rng.integers(0, len(model.symbols) + 1, order - 1).tolist())
        p = np.exp(model.log_probs(history))
        assert p.min() > 0
        assert p.sum() == pytest.approx(1, abs=1e-12)


def test_one_probability_is_that_of_the_whole_row():
    asked, fresh = NGram.train(TEXT), NGram.train(TEXT)
    history = (asked.number("the"), asked.number("cat"))
    row = asked.log_probs(history)
    for k in range(len(row)):
        assert fresh.log_prob(history, k) == pytest.approx(row[k])


def test_kneser_ney_of_a_bigram_by_hand():
    model = NGram.train([["a", "b"], ["a", "b"], ["a", "c"]], 2, ["a", "b", "c"])
    # Bigrams: <s>a 3, ab 2, b</s> 2, ac 1, c</s> 1: n1 2, n2 2, discount 2 / (2 + 4) = 1 / 3.
    # Preceded by so many different: a 1, b 1, c 1, </s> 2: n1 3, n2 1, discount 3 / (3 + 2) = .6.
    unigram = 0.6 * 4 / 5 * (1 / 4) + (1 - 0.6) / 5
    expected = (1 / 3) * 2 / 3 * unigram + (2 - 1 / 3) / 3
    found = math.exp(model.log_prob((model.number("a"),), model.number("b")))
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_word_with_many_neighbours_is_likelier_in_a_new_place_than_one_with_a_single_one():
    text = [["san", "francisco"]] * 9 + [[w, "tea"] for w in ("hot", "cold", "green")]
    model = NGram.train(text, 2)
    new = (model.number("unheard"),)
    assert model.log_prob(new, model.number("tea")) > model.log_prob(new, model.number("francisco"))


def test_what_was_read_is_less_surprising_than_what_was_not():
    model = NGram.train(TEXT)
    assert model.perplexity(TEXT) < 3
    assert model.perplexity(TEXT) < model.perplexity([s[::-1] for s in TEXT])
    n = sum(len(s) + 1 for s in TEXT)
    assert model.perplexity(TEXT) == pytest.approx(math.exp(-sum(map(model.score, TEXT)) / n))


def test_a_longer_memory_helps_where_it_matters():
    text = [list("abab"), list("cbcb")] * 5
    assert NGram.train(text, 3).perplexity(text) < NGram.train(text, 2).perplexity(text)


def test_other_words_are_unknown_or_refused():
    model = NGram.train(TEXT)
    assert model.number("zebra") == model.symbols.index(UNKNOWN)
    assert math.isfinite(model.score(["zebra", "sat"]))
    closed = NGram.train(TEXT, vocabulary=sorted({w for s in TEXT for w in s}))
    with pytest.raises(DataError, match="'zebra' is not in the closed vocabulary"):
        closed.score(["zebra"])


@pytest.mark.parametrize(
    ("text", "vocabulary", "named"),
    [
        ([], None, "no sequence"),
        ([["a"], []], None, "sequence 2 of 2 is empty"),
        ([["a", "b"]], ["a"], "'b' is not in the vocabulary"),
        ([["a", END]], None, "'</s>'"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(text, vocabulary, named):
    with pytest.raises(DataError, match=named):
        NGram.train(text, vocabulary=vocabulary)


def test_a_saved_model_says_the_same(tmp_path):
    model = NGram.train(TEXT)
    again = NGram.load(model.save(tmp_path / "lm.json"))
    assert again.symbols == model.symbols
    for s in [*TEXT, ["the", "zebra"]]:
        assert again.score(s) == model.score(s)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.update(format="other"),
        lambda c: c.pop("counts"),
        lambda c: c["counts"][0].append(1),
        lambda c: c["counts"][0].__setitem__(0, 999),
        lambda c: c["counts"][0].__setitem__(-1, 0),
    ],
)
def test_a_damaged_file_is_named(spoil, tmp_path):
    path = NGram.train(TEXT).save(tmp_path / "lm.json")
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="lm.json.* train and save it again"):
        NGram.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.json"):
        NGram.load(tmp_path / "none.json")
