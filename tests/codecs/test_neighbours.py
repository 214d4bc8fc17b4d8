"""Neighbours of coefficients: causal, found at the right place, in few moments."""

import numpy as np
import torch

from brainfm.codecs.neighbours import EVIDENCE, OWN, PER_REFERENCE, Neighbours, references

G = np.random.default_rng(0)


def head(n):
    pos = G.normal(size=(n, 3))
    return 0.09 * pos / np.linalg.norm(pos, axis=1, keepdims=True)


def test_references_come_before_and_are_the_nearest():
    pos = head(20)
    reference = references(pos, np.ones(20, bool), 2)
    starts = (reference < 0).all(1)
    assert starts.sum() == 1, "one channel is coded from nothing"
    generation = Neighbours(reference, 1, 4).generation_C
    for c in np.flatnonzero(~starts):
        there = reference[c][reference[c] >= 0]
        assert (generation[there] < generation[c]).all()
        # Nothing that comes before, hence could have been taken, is nearer.
        first = np.flatnonzero(generation == 0)
        assert np.linalg.norm(pos[there[0]] - pos[c]) <= np.linalg.norm(pos[first] - pos[c]).min()


def test_references_do_not_depend_on_the_order_of_a_list():
    pos, order = head(12), G.permutation(12)
    plain = references(pos, np.ones(12, bool), 3)
    shuffled = references(pos[order], np.ones(12, bool), 3)
    back = np.where(shuffled >= 0, order[shuffled], -1)
    assert (back == plain[order]).all()


def test_unusable_channels_are_nobodys_reference_and_have_none():
    usable = np.ones(10, bool)
    usable[[2, 7]] = False
    pos = head(10)
    pos[7] = np.nan
    reference = references(pos, usable, 2)
    assert not np.isin(reference, [2, 7]).any()
    assert (reference[[2, 7]] == -1).all()
    alone = references(pos[usable], np.ones(8, bool), 2)
    names = np.flatnonzero(usable)
    assert (np.where(alone >= 0, names[alone], -1) == reference[usable]).all()


def test_without_positions_the_list_stands_in():
    reference = references(np.full((3, 3), np.nan), np.ones(3, bool), 2)
    assert reference.tolist() == [[-1, -1], [0, 2], [0, -1]]


def test_generations_are_few():
    reference = references(head(128), np.ones(128, bool), 3)
    assert Neighbours(reference, 1, 4).generation_C.max() < 24


def box():
    return Neighbours(references(head(5), np.ones(5, bool), 2), 3, 8)


def test_neighbours_are_found_where_they_lie():
    near = box()
    c, f, k = np.indices(near.shape)
    value = torch.from_numpy(100.0 * (c + 1) + 10 * f + k)[None]
    found = near.pad(value)[0][near.index_MJ].numpy()
    m = np.ravel_multi_index((3, 2, 5), near.shape)
    for j, (df, dk) in enumerate(OWN):
        inside = 0 <= 5 + dk < 8
        assert found[m, j] == (400 + 10 * (2 + df) + 5 + dk if inside else 0.0)
    for r, reference in enumerate(near.reference_CR[3]):
        first = len(OWN) + r * PER_REFERENCE
        here, above = found[m, first + EVIDENCE], found[m, first + EVIDENCE + 1]
        there = 100.0 * (reference + 1) + 25 if reference >= 0 else 0.0
        assert (here, above) == (there, there + 1 if there else 0.0)
    assert (near.pad(value)[0][near.place_M()].numpy() == value.numpy().ravel()).all()


def test_every_neighbour_is_decoded_before_it_is_looked_at():
    near = box()
    assert torch.cat(near.moments).sort().values.tolist() == list(range(len(near)))
    known = near.pad(torch.zeros(1, *near.shape))[0]
    place = near.place_M()
    real = torch.zeros_like(known, dtype=torch.bool)
    real[place] = True
    for moment in near.moments:
        index = near.index_MJ[moment]
        assert (known[index][real[index]] == 1).all()
        known[place[moment]] = 1.0


def test_moments_are_few():
    near = Neighbours(references(head(64), np.ones(64, bool), 3), 8, 256)
    assert len(near.moments) < 360
