"""RateTask: what is logged, drawn and exported, and that its defaults teach something."""

import copy
from dataclasses import replace

import pytest
import torch
from model_batches import make_batch

from brainfm.codecs.spectral import SpectralCodec, SpectralCodecConfig
from brainfm.hub import load_model
from brainfm.tasks.rate import RateTask
from brainfm.training.optim import adamw
from brainfm.training.schedule import cosine_schedule


def task(**settings):
    torch.manual_seed(0)
    return RateTask(SpectralCodec(SpectralCodecConfig(block=32)), **settings)


def waves(seed):
    """The same slow wave in all channels, and noise a tenth as large."""
    batch = make_batch(6, 3, 128, seed=seed)
    g = torch.Generator().manual_seed(seed)
    phase = 6.3 * torch.rand(6, 1, 1, 1, generator=g)
    wave = torch.sin(phase + torch.arange(128) * 0.2)
    batch.x_BCWP = wave + 0.1 * batch.x_BCWP
    return batch


def fitted(steps=60, **settings):
    made = task(warmup_steps=5, decay_steps=steps, **settings)
    optimizer = adamw(made, made.settings, made.lr_of())
    schedule = cosine_schedule(optimizer, made.settings)
    for i in range(steps):
        loss = made.losses(waves(i))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    made.model.eval()
    return made


@pytest.fixture(scope="module")
def trained():
    return fitted()


@pytest.mark.parametrize("step", [2.0, 0.25, 2.0**-6])
def test_training_saves_bits_at_every_step(trained, step):
    batch = waves(1000)
    before, after = (m.code(batch, step)[1].sum() for m in (task().model.eval(), trained.model))
    assert after < 0.97 * before


def test_what_is_shown_is_what_was_lowered(trained):
    bits = []
    for made in (task(), trained):
        torch.manual_seed(1)
        bits.append(made.losses(waves(1000))["bits"])
    assert bits[1] < bits[0]


def test_the_picture_is_the_reconstruction_at_the_usual_step(trained):
    batch = waves(7)
    seen = trained.preview(batch)
    assert torch.equal(seen.target_BCT, batch.signal_BCT)
    wanted, _ = trained.model.code(batch, trained.model.config.step)
    assert torch.equal(seen.reconstruction_BCT, wanted)
    assert seen.counts_QK is None, "integers are no codebook"


def test_rates_learned_in_training_travel_with_the_weights(trained, tmp_path):
    trained.model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    for step in (4.0, 0.25, 2.0**-8):
        assert again.bits_per_second(256.0, step) == trained.model.bits_per_second(256.0, step) > 0


def test_evaluation_does_not_move_the_remembered_rates(trained):
    before = trained.model.rate_N.clone()
    trained.model.training_forward(waves(3))
    assert torch.equal(before.nan_to_num(-1), trained.model.rate_N.nan_to_num(-1))


def test_a_step_is_repeated_by_its_generator(trained):
    a, b = (
        trained.model.training_forward(waves(5), generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    assert torch.equal(a.loss, b.loss)


def test_few_sampled_coefficients_estimate_all_of_them(trained):
    made, batch = copy.deepcopy(trained.model), waves(9)
    made.config = replace(made.config, finest=2.0**-6)  # so brief a training leaves freaks below
    whole = torch.stack([made.training_forward(batch, generator=g(i)).bits for i in range(20)])
    object.__setattr__(made.config, "sampled", 48)
    part = torch.stack([made.training_forward(batch, generator=g(i)).bits for i in range(20)])
    assert part.mean().item() == pytest.approx(whole.mean().item(), rel=0.1)


def g(seed):
    return torch.Generator().manual_seed(seed)


def test_windows_without_a_valid_channel_do_not_break_a_step():
    batch = waves(2)
    batch.valid_BC[0] = False
    out = task().losses(batch)
    assert all(torch.isfinite(v) for v in out.values())


def test_other_settings_reach_the_optimiser():
    made = task(lr=1e-3, weight_decay=0.1)
    assert made.settings.lr == 1e-3
    assert made.settings.weight_decay == 0.1


def test_gradients_reach_every_weight():
    made = task()
    torch.nn.init.normal_(made.model.context.leave.weight, std=0.1)
    made.losses(waves(0))["loss"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
    assert all(bool((p.grad != 0).any()) for p in made.parameters())
