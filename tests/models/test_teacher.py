"""A teacher follows slowly, sees everything, and goes on where a run was left."""

import pytest
import torch
from model_batches import make_batch

from brainfm.models.guessing import pass_hidden
from brainfm.models.hiding import HidingConfig
from brainfm.models.teacher import Teacher
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig


def pair(decay=0.9):
    torch.manual_seed(0)
    encoder = UnifiedEncoder(UnifiedEncoderConfig(preset="test"))
    return encoder, Teacher(encoder, decay)


def test_it_moves_a_share_of_the_way_and_takes_units_over():
    encoder, teacher = pair()
    before = teacher.slow.last.weight.clone()
    with torch.no_grad():
        encoder.last.weight += 1.0
        encoder.embedding.fast_unit.met_J[0] = True
    teacher.follow(encoder)
    torch.testing.assert_close(teacher.slow.last.weight, before + 0.1)
    assert bool(teacher.slow.embedding.fast_unit.met_J[0])
    assert not any(p.requires_grad for p in teacher.slow.parameters())


def test_it_begins_as_the_student_once():
    encoder, teacher = pair()
    with torch.no_grad():
        encoder.last.weight += 1.0
    teacher.meet(encoder)
    torch.testing.assert_close(teacher.slow.last.weight, encoder.last.weight)
    with torch.no_grad():
        encoder.last.weight += 1.0
    teacher.meet(encoder)
    assert not torch.equal(teacher.slow.last.weight, encoder.last.weight)


def test_guessing_what_it_sees_can_be_learned():
    encoder, teacher = pair()
    batch, g = make_batch(b=4, t=1024), torch.Generator().manual_seed(0)
    weights = [*encoder.parameters(), *teacher.predict.parameters()]
    optimiser = torch.optim.Adam(weights, 3e-3)
    found = []
    for _ in range(25):
        seen = pass_hidden(encoder, batch, HidingConfig(), g)
        parts = teacher.losses(batch, seen.h_BGSD)
        optimiser.zero_grad()
        parts["latent"].backward()
        optimiser.step()
        teacher.follow(encoder)
        found.append(float(parts["latent"].detach()))
    assert found[-1] < 0.7 * found[0]
    assert float(parts["latent_spread"]) > 0.01


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match="decay is 1"):
        pair(1.0)
