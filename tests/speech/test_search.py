"""The search against an enumeration of every path of tiny cases."""

import itertools

import numpy as np
import pytest

from brainfm.errors import ContractError
from brainfm.signals.phonemes import PHONEMES, phoneme_id
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


WORDS = {"ab": ["AA AE"], "abb": ["AA AE AE"], "a": ["AA"], "ah": ["AA"], "bab": ["AE AA AE"]}
WORD_LM = NGram.train([["ab", "a"], ["ah", "bab"], ["a", "ab"], ["abb", "a", "ab"]], 3)


@pytest.mark.parametrize("lookahead", [1, 2, 3])
@pytest.mark.parametrize("silence", [False, True])
def test_looking_ahead_leaves_scores_of_whole_words_as_they_are(lookahead, silence):
    logp = np.full((5, 41), -np.inf)
    logp[:, [0, 1, 2, 40]] = random_logp(5, 4, 7)
    plain, ahead = (
        {
            f.symbols + tuple(words_in(f.states)): f.score
            for f in beam_search(
                logp, WordGrammar(Lexicon(WORDS), WORD_LM, 0.8, 0.3, silence, n), beam=10**6
            )
        }
        for n in (0, lookahead)
    )
    assert len(plain) > 10 and ahead == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("lookahead", [1, 2, 3])
def test_inside_a_word_stands_what_the_best_word_below_will_add(lookahead):
    lexicon, weight, bonus = Lexicon(WORDS), 0.7, 0.4
    grammar = WordGrammar(lexicon, WORD_LM, weight, bonus, lookahead=lookahead)
    history = tuple(WORD_LM.number(w) for w in ("ah", "bab"))
    seen = history[len(history) - lookahead + 1 :]
    state, total, spelled = grammar.start._replace(history=history), 0.0, ()
    for phoneme in lexicon.entries["bab"][0]:
        arcs = grammar.arcs(state)
        (way,) = np.flatnonzero(arcs.symbol_A == phoneme)
        state, total = arcs.state_A[way], total + arcs.score_A[way]
        spelled += (phoneme,)
        below = [w for w, (p,) in lexicon.entries.items() if p[: len(spelled)] == spelled]
        rest = [weight * WORD_LM.log_prob(seen, WORD_LM.number(w)) + bonus for w in below]
        if not state.word:
            assert total == pytest.approx(max(rest))
    whole = weight * WORD_LM.log_prob(history, WORD_LM.number("bab")) + bonus
    assert state.word == "bab" and total == pytest.approx(whole)


def test_looking_ahead_a_narrow_beam_keeps_the_likely_word():
    # Twenty words begin alike; the signal leans a little to nineteen that nobody says.
    others = {f"x{i}": [f"K AE {p} S"] for i, p in enumerate(PHONEMES[:19])}
    lexicon = Lexicon({"cats": ["K T S"], **others})
    lm = NGram.train([["cats"]] * 50 + [["x0"]], 2, list(lexicon.words))
    k, t, s, ae = (phoneme_id(p) for p in ("K", "T", "S", "AE"))
    p_NK = np.full((4, 41), 0.002)
    p_NK[[0, 3], [k, s]] = 0.9
    p_NK[1, [t, ae]] = 0.3, 0.6
    p_NK[2, 0] = 0.02
    logp = np.log(p_NK / p_NK.sum(1, keepdims=True))
    wide = beam_search(logp, WordGrammar(lexicon, lm), beam=1000)[0]
    assert words_in(wide.states) == ["cats"]
    for lookahead, kept in ((0, False), (2, True)):
        (best, *_) = beam_search(logp, WordGrammar(lexicon, lm, lookahead=lookahead), beam=1)
        assert (words_in(best.states) == ["cats"]) is kept


@pytest.mark.parametrize(("lm", "said"), [(None, "no n-gram model"), (WORD_LM, "of order 3")])
def test_a_lookahead_that_no_model_can_give_is_refused(lm, said):
    with pytest.raises(ContractError, match=f"lookahead is 4, but the search has .*{said}"):
        WordGrammar(Lexicon(WORDS), lm, lookahead=4)


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
