"""A codebook on the sphere: nearest by angle, codes drift as published, dead ones come back."""

import pytest
import torch
import torch.nn.functional as F

from brainfm.codecs.sphere import SphereCodebook, SphereConfig
from brainfm.errors import ContractError


def book(codes, **settings):
    codes = torch.tensor(codes)
    settings = {"dead_share": None} | settings
    made = SphereCodebook(SphereConfig(dim=codes.shape[1], size=len(codes), **settings))
    made.codes_KE.copy_(codes)
    made.count_K.fill_(10.0)
    made.ready.fill_(1.0)
    return made


AXES = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]


def directions(*degrees):
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack((angle.cos(), angle.sin()), -1)


def test_a_vector_gets_the_code_of_the_nearest_direction():
    out = book(AXES)(directions(10.0, 50.0, 100.0, 170.0), update=False)
    assert out.ids.tolist() == [0, 1, 1, 2]
    assert torch.equal(out.latent, torch.tensor(AXES)[out.ids])


def test_commitment_is_the_mean_squared_distance_to_the_codes():
    out = book(AXES, commitment=0.5)(directions(60.0), update=False)
    assert out.commit == pytest.approx(0.5 * (2 - 2 * torch.tensor(30.0).deg2rad().cos()) / 2)


def test_a_code_turns_by_the_share_it_does_not_keep():
    codes = book(AXES, decay=0.9)
    codes(directions(20.0, 40.0), update=True)
    want = F.normalize(0.9 * torch.tensor([1.0, 0.0]) + 0.1 * directions(30.0)[0], dim=-1)
    torch.testing.assert_close(codes.codes_KE[0], want)
    assert torch.equal(codes.codes_KE[1:], torch.tensor(AXES)[1:]), "codes without vectors stay"
    torch.testing.assert_close(codes.count_K, torch.tensor([9.2, 9.0, 9.0]))


def test_ids_and_loss_are_taken_before_the_codes_move():
    z = directions(20.0, 40.0)
    assert torch.equal(book(AXES)(z, True).commit, book(AXES)(z, False).commit)


@pytest.mark.parametrize("told", [False, True])
def test_evaluation_counts_only_when_told_and_never_moves_a_code(told):
    codes = book(AXES, count_at_eval=told)
    codes(directions(0.0, 10.0), update=False)
    assert torch.equal(codes.codes_KE, torch.tensor(AXES))
    assert (codes.count_K[0] != 10.0) == told


def test_gradients_pass_straight_through():
    z = directions(20.0).requires_grad_()
    weight = torch.tensor([[2.0, -3.0]])
    (book(AXES)(z, True).latent * weight).sum().backward()
    torch.testing.assert_close(z.grad, weight)


def test_a_code_that_nobody_uses_is_put_on_a_vector():
    codes = book(AXES, dead_share=0.5)
    codes.count_K[2] = 0.0
    z = directions(80.0, 85.0)
    codes(z, update=True)
    assert any(torch.equal(codes.codes_KE[2], row) for row in z)
    assert codes.count_K[2] == pytest.approx(codes.count_K.mean().item(), rel=0.5)


def test_the_first_training_batch_places_codes_on_its_clusters():
    torch.manual_seed(0)
    z = torch.cat([directions(*(c + torch.randn(20)).tolist()) for c in (0.0, 90.0, 200.0)])
    codes = SphereCodebook(SphereConfig(dim=2, size=3))
    start = torch.tensor([0, 20, 40])
    assert codes.initialise(z, start).tolist() == [20, 20, 20]
    torch.testing.assert_close(codes.codes_KE, directions(0.0, 90.0, 200.0), atol=0.02, rtol=0)
    fresh = SphereCodebook(SphereConfig(dim=2, size=3))
    fresh(z, update=True)
    assert fresh.is_ready
    torch.testing.assert_close(fresh.codes_KE.norm(dim=-1), torch.ones(3))


def test_empty_codes_are_refused_at_evaluation_unless_told_to_make_them():
    with pytest.raises(ContractError, match="no codes yet"):
        SphereCodebook(SphereConfig(dim=2, size=3))(directions(1.0), update=False)
    SphereCodebook(SphereConfig(dim=2, size=3, init_at_eval=True))(directions(1.0), update=False)
