"""Integers to bytes and back, and lengths that are those of the bytes."""

import math

import numpy as np
import pytest
import torch

from brainfm.codecs.arithmetic import (
    COUNTS,
    REACH,
    Place,
    Reader,
    Writer,
    length_bits,
    place,
    tables,
    take_apart,
)
from brainfm.codecs.context import Guess, bits_of

G = np.random.default_rng(0)


def drawn(n=6000, widest=16.0):
    """Integers of known distributions, and what would be guessed of them."""
    log_scale = G.uniform(-4, widest, n)
    mean = G.normal(size=n) * 2.0**log_scale
    q = np.round(mean + G.logistic(size=n) * 2.0**log_scale).astype(np.int64)
    tail = G.uniform(-5, -1, n)
    return q, Guess(*(torch.from_numpy(v) for v in (mean, log_scale, tail)), torch.zeros(n, 3))


def rows(at, part):
    return Place(*(x[part] for x in at))


def test_every_table_is_a_distribution_in_which_all_can_happen():
    p = tables().astype(np.float64)
    assert (p.sum(1) == 1).all()
    assert p.min() >= 1 / COUNTS
    assert ((p * COUNTS) % 1 == 0).all()


def test_what_is_written_is_read():
    q, guess = drawn()
    q[:4] = [10**9, -(10**9), 0, 2**33]  # freaks
    at = place(guess)
    writer = Writer()
    parts = np.split(np.arange(len(q)), [1, 1, 2000])
    for part in parts:
        writer.write(q[part], rows(at, part))
    reader = Reader(*writer.bytes())
    assert (np.concatenate([reader.read(rows(at, part)) for part in parts]) == q).all()


def test_the_length_is_that_of_the_bytes():
    q, guess = drawn()
    at = place(guess)
    writer = Writer()
    writer.write(q, at)
    written = 8 * sum(len(b) for b in writer.bytes())
    told = length_bits(take_apart(q, at)).sum()
    assert told <= written <= told + 100


def test_the_grid_costs_less_than_a_percent():
    q, guess = drawn(20000)
    ideal = float(bits_of(torch.from_numpy(q).double(), guess).sum())
    assert length_bits(take_apart(q, place(guess))).sum() < 1.01 * ideal


def test_bits_are_those_of_a_logistic_in_a_closed_form():
    guess = Guess(*(torch.tensor([v], dtype=torch.float64) for v in (0.3, 1.0, -60.0)), None)
    upper, lower = (1 / (1 + math.exp(-(x - 0.3) / 2)) for x in (2.5, 1.5))
    got = float(bits_of(torch.tensor([2.0], dtype=torch.float64), guess))
    assert got == pytest.approx(-math.log2(upper - lower), rel=1e-9)


@pytest.mark.parametrize("log_scale", [-4.0, 0.0, 1.9, 2.1, 5.3, 20.0])
def test_integers_around_the_mean_are_the_likeliest(log_scale):
    guess = Guess(
        *(torch.tensor([v], dtype=torch.float64) for v in (1000.0, log_scale, -3.0)), None
    )
    at = place(guess)
    away = max(1, int(3 * 2**log_scale))
    length = [
        length_bits(take_apart(np.array([q]), at))[0] for q in (1000, 1000 - away, 1000 + away)
    ]
    assert length[0] < min(length[1:])
    assert abs(length[1] - length[2]) < 2.0


def test_a_message_that_ends_too_early_is_refused():
    q, guess = drawn(500, 12.0)
    at = place(guess)
    writer = Writer()
    writer.write(q, at)
    coded, loose = writer.bytes()
    with pytest.raises(ValueError, match="too early"):
        Reader(coded, loose[:-20]).read(at)


def test_symbols_beyond_reach_say_how_far_they_are():
    guess = Guess(*(torch.tensor([v], dtype=torch.float64) for v in (0.0, 0.0, 0.0)), None)
    at = place(guess)
    inside, outside = (take_apart(np.array([q]), at) for q in (REACH - 1, REACH + 7))
    assert inside.beyond[0] == -1
    assert outside.beyond[0] == 7
    assert length_bits(outside)[0] > length_bits(inside)[0] + 6
