"""Residual quantisation: where codes go, what moves them, what they pass back."""

import pytest
import torch
import torch.nn.functional as F

from brainfm.codecs.quantize import (
    Codebook,
    QuantizerConfig,
    ResidualQuantizer,
    codebook_stats,
    kmeans,
    nearest,
    nearest_angle,
    rotate_to,
)
from brainfm.errors import ContractError

SMALL = QuantizerConfig(dim=8, codebook_dim=8, codebook_size=16, n_levels=3)


def _ready(config=SMALL, n=400, seed=0):
    torch.manual_seed(seed)
    quantizer = ResidualQuantizer(config)
    x = F.normalize(torch.randn(n, config.dim), dim=-1)
    quantizer(x, update=True)
    return quantizer.eval(), x


def test_nearest_is_the_smallest_distance():
    x, codes = torch.randn(50, 4), torch.randn(7, 4)
    assert torch.equal(nearest(x, codes), torch.cdist(x, codes).argmin(-1))


def test_kmeans_finds_separate_clusters():
    torch.manual_seed(0)
    centres = torch.eye(4) * 10
    x = centres.repeat_interleave(100, 0) + 0.01 * torch.randn(400, 4)
    best = min(
        (kmeans(x, 4, 10) for _ in range(8)), key=lambda r: torch.cdist(x, r[0]).amin(-1).sum()
    )
    assert torch.cdist(centres, best[0]).amin(-1).max() < 0.1
    assert best[1].sum() == 400


def test_each_level_takes_away_error():
    quantizer, x = _ready()
    ids = quantizer(x).ids
    errors = [(x - quantizer.lookup(ids[:, :n])).norm() for n in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]


def test_lookup_gives_back_what_forward_returned():
    quantizer, x = _ready(QuantizerConfig(dim=8, codebook_dim=4, codebook_size=16, n_levels=3))
    out = quantizer(x.view(20, 20, 8))
    assert out.ids.shape == (20, 20, 3)
    torch.testing.assert_close(quantizer.lookup(out.ids), out.latent)


def test_an_empty_codebook_refuses_to_evaluate_and_says_what_to_do():
    quantizer = ResidualQuantizer(SMALL).eval()
    with pytest.raises(ContractError, match="no codes yet.*initialise_codebooks"):
        quantizer(torch.randn(5, 8))


def test_strict_mode_initialises_at_evaluation_as_published():
    config = QuantizerConfig(dim=8, codebook_dim=8, codebook_size=4, n_levels=1, init_at_eval=True)
    quantizer = ResidualQuantizer(config).eval()
    quantizer(torch.randn(50, 8))
    assert quantizer.levels[0].codebook.is_ready


def test_evaluation_moves_nothing_and_training_does():
    quantizer, x = _ready()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(x)
    assert all(torch.equal(v, before[k]) for k, v in quantizer.state_dict().items())
    quantizer(x, update=True)
    assert not torch.equal(
        quantizer.levels[0].codebook.codes_KE, before["levels.0.codebook.codes_KE"]
    )


def test_averages_move_by_one_percent_of_the_batch():
    config = QuantizerConfig(dim=2, codebook_dim=2, codebook_size=2, n_levels=1, dead_share=None)
    book = Codebook(config)
    book.codes_KE.copy_(torch.tensor([[1.0, 0], [0, 1]]))
    book.sum_KE.copy_(torch.tensor([[10.0, 0], [0, 20]]))
    book.count_K.copy_(torch.tensor([10.0, 20.0]))
    x = torch.tensor([[2.0, 0], [4, 0], [0, 2]])
    book.update(x, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(book.count_K, torch.tensor([9.92, 19.81]))
    torch.testing.assert_close(book.sum_KE, torch.tensor([[9.96, 0], [0, 19.82]]))
    torch.testing.assert_close(book.codes_KE[0, 0], torch.tensor(9.96 / 9.92))


def test_a_dead_code_moves_onto_a_vector_of_the_batch_and_stays_there():
    config = QuantizerConfig(dim=2, codebook_dim=2, codebook_size=2, n_levels=1)
    book = Codebook(config)
    book.codes_KE.copy_(torch.tensor([[1.0, 0], [-9, -9]]))
    book.count_K.copy_(torch.tensor([100.0, 0.01]))
    book.sum_KE.copy_(book.codes_KE * book.count_K[:, None])
    x = torch.tensor([[0.0, 3.0]]).expand(4, 2)
    book.update(x, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(book.codes_KE[1], x[0])
    book.update(x, torch.ones(4, dtype=torch.long))
    torch.testing.assert_close(book.codes_KE[1], x[0])


def test_published_threshold_counts_uses():
    config = QuantizerConfig(
        dim=2, codebook_dim=2, codebook_size=2, n_levels=1, dead_count=2.0, dead_share=None
    )
    book = Codebook(config)
    book.count_K.copy_(torch.tensor([2.5, 1.5]))
    assert book._dead().tolist() == [False, True]


def test_rotation_gives_the_code_and_turns_the_gradient():
    x = torch.tensor([[2.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.0, 3.0]])
    out = rotate_to(x, q)
    torch.testing.assert_close(out, q)
    # A quarter turn and a stretch by 3 / 2: what pulls q along itself pulls x along itself.
    (g,) = torch.autograd.grad(out, x, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(g, torch.tensor([[1.5, 0.0]]))


def test_straight_through_passes_the_gradient_as_it_is():
    config = QuantizerConfig(
        dim=8, codebook_dim=8, codebook_size=16, n_levels=1, rotation_trick=False, commitment=0.0
    )
    quantizer, x = _ready(config)
    x = x.clone().requires_grad_(True)
    g = torch.randn(x.shape)
    (got,) = torch.autograd.grad(quantizer(x, update=True).latent, x, g)
    torch.testing.assert_close(got, g)


def test_codes_do_not_depend_on_autocast():
    quantizer, x = _ready()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = quantizer(x)
    assert half.latent.dtype == torch.float32
    assert torch.equal(half.ids, quantizer(x).ids)


def test_statistics_of_use():
    ids = torch.tensor([[0, 3], [0, 3], [1, 3], [1, 3]])
    stats = codebook_stats(ids, 8)
    torch.testing.assert_close(stats.perplexity_Q, torch.tensor([2.0, 1.0]).double())
    assert stats.used_Q.tolist() == [2, 1]


def test_loaded_codebooks_are_ready():
    quantizer, x = _ready()
    fresh = ResidualQuantizer(SMALL).eval()
    with pytest.raises(ContractError):
        fresh(x)
    fresh.load_state_dict(quantizer.state_dict())
    assert torch.equal(fresh(x).ids, quantizer(x).ids)


def test_unit_codes_are_found_by_angle_whatever_the_length():
    codes = F.normalize(torch.randn(7, 4), dim=-1)
    x = torch.randn(50, 4)
    wanted = F.cosine_similarity(x[:, None], codes[None], dim=-1).argmax(-1)
    assert torch.equal(nearest_angle(x, codes), wanted)
    assert torch.equal(nearest_angle(x * torch.rand(50, 1), 3 * codes), wanted)


def test_unit_codes_keep_length_one_through_start_updates_and_revival():
    config = QuantizerConfig(dim=4, codebook_dim=4, codebook_size=16, n_levels=2, unit_codes=True)
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(config)
    for step in range(5):
        quantizer(5 * torch.randn(200, 4), update=True)
        if step == 2:
            quantizer.levels[0].codebook.count_K[:5] = 0.0
        for level in quantizer.levels:
            lengths = level.codebook.codes_KE.norm(dim=-1)
            torch.testing.assert_close(lengths, torch.ones(16))


def test_unit_codes_follow_the_sum_of_vectors_as_they_are():
    config = QuantizerConfig(
        dim=2, codebook_dim=2, codebook_size=2, n_levels=1, unit_codes=True, dead_share=None
    )
    book = Codebook(config)
    book.codes_KE.copy_(torch.tensor([[1.0, 0], [0, 1]]))
    book.sum_KE.copy_(torch.tensor([[10.0, 0], [0, 20]]))
    book.count_K.copy_(torch.tensor([10.0, 20.0]))
    book.update(torch.tensor([[10.0, 10.0], [0, 2]]), torch.tensor([0, 1]))
    torch.testing.assert_close(book.sum_KE[0], torch.tensor([10.0, 0.1]))
    torch.testing.assert_close(book.codes_KE[0], F.normalize(torch.tensor([10.0, 0.1]), dim=0))


def test_fewer_levels_are_the_first_ones():
    quantizer, x = _ready()
    two = quantizer(x, n_levels=2)
    assert torch.equal(two.ids, quantizer(x).ids[..., :2])
    torch.testing.assert_close(two.latent, quantizer.lookup(two.ids))
