"""Code lengths against an arithmetic coder written here, and against entropies."""

import numpy as np
import pytest

from eval.codec import entropy
from eval.codec.entropy import LARGEST, CodeTable, CodeTables, IntegerTables, perplexity, table_bits

RNG = np.random.default_rng(0)


def arithmetic_encode(symbols, cumulative, bits=32):
    """Integer arithmetic coder (Witten, Neal and Cleary 1987, from its description)."""
    top, half, quarter = 2**bits - 1, 2 ** (bits - 1), 2 ** (bits - 2)
    low, high, waiting, out, total = 0, top, 0, [], int(cumulative[-1])

    def put(bit):
        nonlocal waiting
        out.extend([bit] + [1 - bit] * waiting)
        waiting = 0

    for s in symbols:
        span = high - low + 1
        high = low + span * int(cumulative[s + 1]) // total - 1
        low = low + span * int(cumulative[s]) // total
        while True:
            if high < half:
                put(0)
            elif low >= half:
                put(1)
                low, high = low - half, high - half
            elif low >= quarter and high < 3 * quarter:
                waiting += 1
                low, high = low - quarter, high - quarter
            else:
                break
            low, high = 2 * low, 2 * high + 1
    waiting += 1
    put(int(low >= quarter))
    return out


def arithmetic_decode(stream, n, cumulative, bits=32):
    top, half, quarter = 2**bits - 1, 2 ** (bits - 1), 2 ** (bits - 2)
    padded = iter(list(stream) + [0] * (bits + 2))
    low, high, total, out = 0, top, int(cumulative[-1]), []
    code = sum(next(padded) << (bits - 1 - i) for i in range(bits))
    for _ in range(n):
        span = high - low + 1
        at = ((code - low + 1) * total - 1) // span
        s = int(np.searchsorted(cumulative, at, side="right")) - 1
        out.append(s)
        high = low + span * int(cumulative[s + 1]) // total - 1
        low = low + span * int(cumulative[s]) // total
        while True:
            if high < half:
                shift = 0
            elif low >= half:
                shift = half
            elif low >= quarter and high < 3 * quarter:
                shift = quarter
            else:
                break
            low, high = 2 * (low - shift), 2 * (high - shift) + 1
            code = 2 * (code - shift) + next(padded)
    return out


def codes(p, n):
    return RNG.choice(len(p), size=n, p=p)[None, None, :, None]


SKEWED = np.array([0.6, 0.25, 0.1, 0.04, 0.01])


def test_an_arithmetic_coder_writes_as_many_bits_as_the_tables_say():
    tables = CodeTables(5, shared=True, contexts=False)
    tables.fit(codes(SKEWED, 400))
    test = codes(SKEWED[::-1], 300)  # not what training looked like
    twice = 2 * tables.tables[0, 0].count_K + 1  # counts + 1/2, as integers
    cumulative = np.concatenate([[0], np.cumsum(twice)])
    stream = arithmetic_encode(test.ravel(), cumulative)
    assert arithmetic_decode(stream, 300, cumulative) == test.ravel().tolist()
    length = tables.bits(test)[0]
    assert length <= len(stream) <= length + 2


def test_the_length_tends_to_the_entropy_and_never_below_what_test_codes_hold():
    tables = CodeTables(5, shared=True, contexts=False)
    tables.fit(codes(SKEWED, 50_000))
    test = codes(SKEWED, 50_000)
    own = np.bincount(test.ravel(), minlength=5) / test.size
    entropy_of_test = -(own * np.log2(own)).sum()
    true = -(SKEWED * np.log2(SKEWED)).sum()
    assert tables.bits(test)[0] / test.size == pytest.approx(true, rel=0.02)
    assert tables.bits(test)[0] / test.size > entropy_of_test


def test_codes_that_training_never_showed_cost_much_but_not_everything():
    tables = CodeTables(4, shared=True)
    tables.fit(np.zeros((1, 1, 100, 1), int))
    seen = tables.bits(np.zeros((1, 1, 1, 1), int))[0]
    unseen = tables.bits(np.full((1, 1, 1, 1), 3))[0]
    assert seen == pytest.approx(-np.log2(100.5 / 102))
    assert unseen == pytest.approx(-np.log2(0.5 / 102))


def test_sources_that_are_no_channels_have_tables_of_their_own():
    ids = np.zeros((1, 2, 1000, 1), int)
    ids[:, 1] = 1  # each source is constant, together they are a coin
    lengths = {}
    for shared in (True, False):
        tables = CodeTables(2, shared)
        tables.fit(ids)
        lengths[shared] = tables.bits(ids)[0] / ids.size
    assert lengths[True] == pytest.approx(1.0, abs=0.01) and lengths[False] < 0.01


def test_contexts_pay_where_codes_follow_each_other():
    """A chain that mostly stays costs its entropy rate, not that of its codes."""
    stays = RNG.random((40, 1, 400)) < 0.9
    ids = np.cumsum(np.where(stays, 0, RNG.integers(1, 8, stays.shape)), -1)[..., None] % 8
    tables = CodeTables(8, shared=True)
    tables.fit(ids[:20])
    rate = -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1 / 7)
    assert tables.chosen[0][0] == "before"
    assert tables.bits(ids[20:])[0] / ids[20:].size == pytest.approx(rate, rel=0.05)
    alone = CodeTables(8, shared=True, contexts=False)
    alone.fit(ids[:20])
    assert alone.bits(ids[20:])[0] / ids[20:].size == pytest.approx(3, rel=0.02)


def test_a_level_that_repeats_the_one_above_costs_nothing():
    ids = np.repeat(RNG.integers(0, 16, (20, 2, 50, 1)), 2, -1)
    tables = CodeTables(16, shared=True)
    tables.fit(ids[:10])
    assert tables.chosen[1][0] == "above"
    first, second = tables.bits(ids[10:]) / ids[10:, ..., 0].size
    assert first == pytest.approx(4, rel=0.05) and second < 0.5


def test_after_each_context_probabilities_sum_to_one():
    ids, context = RNG.integers(0, 6, 200), RNG.integers(0, 7, 200)
    table = CodeTable(ids, context, 6, weight=4.0)
    for c in range(7):
        p = [2 ** -table.bits(np.array([k]), np.array([c])) for k in range(6)]
        assert sum(p) == pytest.approx(1)


def test_tables_without_training_are_refused():
    with pytest.raises(ValueError, match="no training codes"):
        CodeTables(2, True).bits(np.zeros((1, 1, 1, 1), int))


def test_perplexity_counts_codes_that_are_used_equally():
    assert perplexity(np.array([7, 7, 7, 7, 0])) == pytest.approx(4)
    assert perplexity(np.array([9, 0])) == pytest.approx(1)


def test_every_integer_has_a_codeword_and_all_fit_into_one_prefix_code():
    tables = IntegerTables(1)
    tables.add(np.array([0, 0, 1, -1, 70, -500]), np.array(0))
    n = np.arange(-(2**12) + 1, 2**12)
    lengths = [tables.bits(np.array([i]), np.array([0])) for i in n]
    kraft = np.sum(2.0 ** -np.array(lengths))
    # Integers of 13 and more digits take the rest.
    symbols = tables.counts[0] + entropy.PRIOR
    beyond = symbols[2 * LARGEST + 1 + 2 * 12 :].sum() / symbols.sum()
    below = symbols[2 * LARGEST + 1 : 2 * LARGEST + 1 + 2 * 6].sum() / symbols.sum()
    assert kraft == pytest.approx(1 - beyond - below)  # digits below 6 are small integers


def test_integers_cost_what_their_groups_tables_say():
    tables = IntegerTables(2)
    value, group = np.array([[0, 0, 5, 5]]), np.array([0, 0, 1, 1])
    tables.add(value, group)
    want = table_bits(tables.counts)
    assert tables.bits(value, group) == pytest.approx(
        2 * want[0, LARGEST] + 2 * want[1, LARGEST + 5]
    )
    assert (entropy.digits_below(np.array([64, -64, 127, 128, 1])) == [6, 6, 6, 7, 0]).all()
