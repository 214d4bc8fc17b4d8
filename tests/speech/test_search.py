"""The search against an enumeration of every path of tiny cases."""

import itertools

import numpy as np
import pytest

from brainfm.errors import ContractError
from brainfm.speech.lexicon import Lexicon, WordGrammar, words_in
from brainfm.speech.ngram import NGram
from brainfm.speech.search import AnySymbol, beam_search, edits, greedy

LETTERS = ("-", "a", "b", "c")
LM = NGram.train([list("abca"), list("abba"), list("cab")], 3, ["a", "b", "c"])


def random_logp(n, k, seed, sharp=1.5):
    logits = sharp * np.random.default_rng(seed).standard_normal((n, k))
    return logits - np.logaddexp.reduce(logits, 1, keepdims=True)


def collapsed(path):
    joined = [k for k, _ in itertools.groupby(path)]
    return tuple(k for k in joined if k != 0)


def every_sequence(logp_NK):
    """Log-probability of each sequence: all of its paths added up."""
    n, k = logp_NK.shape
    total = {}
    for path in itertools.product(range(k), repeat=n):
        score = sum(logp_NK[i, s] for i, s in enumerate(path))
        key = collapsed(path)
        total[key] = np.logaddexp(total.get(key, -np.inf), score)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_with_room_for_all_prefixes_every_path_is_counted(seed):
    logp = random_logp(5, 4, seed)
    expected = every_sequence(logp)
    found = {f.symbols: f.score for f in beam_search(logp, AnySymbol(4), beam=10**6)}
    assert found.keys() == expected.keys()
    for key, score in expected.items():
        assert found[key] == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_language_weighs_whole_sequences(seed):
    logp = random_logp(5, 4, seed)
    weight, bonus = 0.7, 0.4
    expected = {
        s: p + weight * LM.score([LETTERS[k] for k in s]) + bonus * len(s)
        for s, p in every_sequence(logp).items()
    }
    results = beam_search(logp, AnySymbol(4, LM, LETTERS, weight, bonus), beam=10**6)
    assert results[0].symbols == max(expected, key=expected.get)
    for f in results:
        assert f.score == pytest.approx(expected[f.symbols], abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("silence", [False, True])
def test_a_lexicon_lets_through_its_words_and_nothing_else(seed, silence):
    # AA and AE are classes 1 and 2, SIL is 40; no frame says anything else.
    lexicon = Lexicon({"ab": ["AA AE"], "a": ["AA"], "ah": ["AA"], "bab": ["AE AA AE"]})
    lm = NGram.train([["ab", "a"], ["ah", "bab"], ["a", "ab"]], 2)
    k = 41
    logp = np.full((5, k), -np.inf)
    logp[:, [0, 1, 2, 40]] = random_logp(5, 4, seed)
    weight, bonus = 0.8, 0.3
    small = every_sequence(logp[:, [0, 1, 2, 40]])
    spelled = {w: tuple(p) for w, (p,) in lexicon.entries.items()}
    expected = {}
    for many in range(5):
        for words in itertools.product(spelled, repeat=many):
            for pauses in itertools.product([(), (3,)] if silence else [()], repeat=many + 1):
                parts = [pauses[0]]
                for word, pause in zip(words, pauses[1:], strict=True):
                    parts += [spelled[word], pause]
                key = tuple(itertools.chain(*parts))
                if key in small:
                    p = small[key] + weight * lm.score(words) + bonus * many
                    expected[words, key] = p
    grammar = WordGrammar(lexicon, lm, weight, bonus, silence)
    results = beam_search(logp, grammar, beam=10**6)
    names = {1: 1, 2: 2, 40: 3}
    found = {
        (tuple(words_in(f.states)), tuple(names[s] for s in f.symbols)): f.score for f in results
    }
    assert found.keys() == expected.keys()
    for key, score in expected.items():
        assert found[key] == pytest.approx(score, abs=1e-9)
    assert (tuple(words_in(results[0].states))) == max(expected, key=expected.get)[0]


def test_greedy_joins_repeats_and_drops_blanks():
    path = [0, 1, 1, 0, 1, 2, 2, 3, 0, 3]
    assert greedy(np.log(np.eye(4)[path] * 0.9 + 0.025)) == [1, 1, 2, 3, 3]


def test_a_beam_finds_what_greedy_misses():
    # Each frame's best is the blank, yet "a" has more paths together.
    logp = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert greedy(logp) == []
    assert beam_search(logp, AnySymbol(2), beam=4)[0].symbols == (1,)


def test_a_narrow_beam_is_as_good_on_clear_speech():
    path = np.random.default_rng(0).integers(0, 41, 200)
    logp = np.log(np.eye(41)[path] * 0.95 + 0.05 / 41)
    said = beam_search(logp, AnySymbol(41), beam=8)[0].symbols
    assert list(said) == greedy(logp)


def test_homophones_are_told_apart_by_what_was_said_before():
    lexicon = Lexicon({"two": ["T UW"], "too": ["T UW1"], "me": ["M IY"], "cats": ["K AE T S"]})
    lm = NGram.train([["me", "too"]] * 3 + [["two", "cats"]] * 3, 2)
    for said in (["me", "too"], ["two", "cats"]):
        ids = [p for w in said for p in lexicon.entries[w][0]]
        path = [k for p in ids for k in (p, 0)]
        logp = np.log(np.eye(41)[path] * 0.9 + 0.1 / 41)
        best = beam_search(logp, WordGrammar(lexicon, lm), beam=16)[0]
        assert words_in(best.states) == said


@pytest.mark.parametrize("wrong", [np.ones((3, 4)), np.full((3, 4), np.nan), np.zeros(4)])
def test_what_is_no_log_probability_is_refused(wrong):
    with pytest.raises(ContractError, match="log_softmax"):
        beam_search(wrong, AnySymbol(4))


def test_a_language_of_other_symbols_is_refused():
    with pytest.raises(ContractError, match="3 symbols, the decoder has 4"):
        AnySymbol(4, LM, ("-", "a", "b"))


def test_nothing_is_found_where_nothing_may_be_said():
    logp = np.full((3, 41), -np.inf)
    logp[:, 5] = 0.0
    grammar = WordGrammar(Lexicon({"a": ["AA"]}))
    assert beam_search(logp, grammar) == []
    assert beam_search(logp, AnySymbol(41))[0].symbols == (5,)


def test_a_word_that_is_cut_off_is_given_only_where_nothing_else_is():
    grammar = WordGrammar(Lexicon({"ow": ["AW"], "out": ["AW T"]}))
    path = [5, 0, 5, 0]
    clear = np.log(np.eye(41)[path] * 0.9 + 0.1 / 41)
    assert [f.complete for f in beam_search(clear, grammar, beam=50)][:1] == [True]
    only = WordGrammar(Lexicon({"ow": ["AA AW"], "out": ["AW T"]}))
    sure = np.where(np.eye(41)[[1, 5, 0, 5]] > 0, 0.0, -np.inf)
    (best,) = beam_search(sure, only)
    assert not best.complete and words_in(best.states) == ["ow"]


def test_edits_by_hand():
    assert edits("kitten", "sitting") == 3
    assert edits("", "abc") == 3 and edits("abc", "") == 3 and edits("abc", "abc") == 0
