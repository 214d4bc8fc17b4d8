"""Guessing what is hidden, and what a recording of another kind showed in the same seconds."""

from dataclasses import replace

import torch
from model_batches import make_batch

from brainfm.models.guessing import other_losses, pass_hidden, signal_losses
from brainfm.models.hiding import HidingConfig
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.types import Kind

HIDING = HidingConfig(modes=("region",))


def encoder():
    torch.manual_seed(0)
    return UnifiedEncoder(UnifiedEncoderConfig(preset="test")).train()


def at_once(seed, twins=True):
    """EEG and MEG of one course; without twins, of another course each."""
    g = torch.Generator().manual_seed(seed)
    course = torch.randn(2, 8, 1, 16, generator=g).repeat_interleave(64, -1).flatten(1)[:, None]
    eeg = make_batch(b=8, c=5, t=512)
    meg = make_batch(b=8, c=5, t=512, kind=int(Kind.MAG), seed=1)
    x = course.reshape(2, 8, 1, 1, -1)[..., :512]
    return tuple(
        replace(b, x_BCWP=x[i if not twins else 0].expand(-1, 5, -1, -1).clone())
        for i, b in enumerate((eeg, meg))
    )


def learn(twins, steps=60):
    model = encoder()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(steps):
        batches = at_once(step, twins)
        seen = [pass_hidden(model, b, HIDING) for b in batches]
        parts = other_losses(model, batches, seen)
        optimiser.zero_grad()
        parts["other"].backward()
        optimiser.step()
    batches = at_once(999, twins)
    return float(
        other_losses(model, batches, [pass_hidden(model, b, HIDING) for b in batches])[
            "other_explained"
        ]
    )


def test_what_another_kind_showed_is_learned_where_both_show_the_same():
    assert learn(twins=True) > 0.3


def test_nothing_is_learned_of_another_kind_that_shows_something_else():
    assert learn(twins=False) < 0.1


def test_one_recording_and_fmri_are_asked_about_no_other():
    model = encoder()
    eeg = make_batch(t=512)
    bold = make_batch(t=40, kind=int(Kind.BOLD), sfreq=1.0)
    seen = [pass_hidden(model, b, HIDING) for b in (eeg, bold)]
    assert other_losses(model, [eeg, bold], seen) == {}
    assert other_losses(model, [eeg], seen[:1]) == {}


def test_sensors_that_are_not_valid_are_never_asked():
    model = encoder().eval()
    eeg, meg = make_batch(t=512), make_batch(t=512, kind=int(Kind.MAG), seed=1)
    found = []
    for junk in (0.0, 1e6):
        broken = replace(meg, x_BCWP=meg.x_BCWP.clone(), valid_BC=meg.valid_BC.clone())
        broken.x_BCWP[:, :2], broken.valid_BC[:, :2] = junk, False
        g = torch.Generator().manual_seed(0)
        seen = [pass_hidden(model, b, HIDING, g) for b in (eeg, broken)]
        found.append(other_losses(model, [eeg, broken], seen, g)["other"])
    assert torch.equal(*found)


def test_only_what_is_hidden_is_asked():
    """With another value in tokens that are seen, the error at hidden ones stays what it was."""
    model = encoder().eval()
    batch = make_batch(c=8, t=1024)
    seen = pass_hidden(model, batch, HIDING, torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(1)
    before = signal_losses(model, batch, seen, g)["loss"]
    moved = torch.where(seen.hidden_BCW[..., None], seen.features_BCWK, 100.0)
    g = torch.Generator().manual_seed(1)
    after = signal_losses(model, batch, seen._replace(features_BCWK=moved), g)["loss"]
    assert torch.equal(before, after)
