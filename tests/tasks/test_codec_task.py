"""The codec's objective: all channels come back from some of them."""

import pytest
import torch

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.tasks.codec import CodecTask
from brainfm.training.optim import adamw


def train(task, batch, steps: int) -> list[float]:
    optimizer = adamw(task, task.settings, task.lr_of())
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        loss = task.losses(batch)["loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def test_training_lowers_the_loss(batch, codec):
    losses = train(CodecTask(codec, lr=3e-3, eps=1e-8).train(), batch, 40)
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


def test_the_first_step_places_the_codebooks(batch):
    codec = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    task = CodecTask(codec).train()
    assert not any(level.codebook.is_ready for level in codec.quantizer.levels)
    task.losses(batch)
    assert all(level.codebook.is_ready for level in codec.quantizer.levels)


def test_the_loss_is_the_published_sum_of_its_parts(batch, codec):
    p = {k: v.item() for k, v in CodecTask(codec).eval().losses(batch).items()}
    pcc = torch.exp(torch.tensor(-p["pcc"])).item()
    assert p["loss"] == pytest.approx(p["time"] + pcc + p["commit"] + p["amp"] + 0.5 * p["phase"])


def test_validation_does_not_move_the_codebooks(batch, codec):
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    with torch.no_grad():
        CodecTask(codec).eval().losses(batch)
    assert all(torch.equal(before[k], v) for k, v in codec.state_dict().items())


def test_quantiser_projections_have_their_own_rate():
    codec = BrainTokenizer(BrainTokenizerConfig(preset="test", codebook_dim=16))
    task = CodecTask(codec, lr=1e-3, codebook_lr=5e-3)
    groups = adamw(task, task.settings, task.lr_of()).param_groups
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    for name, p in codec.named_parameters():
        assert rate[id(p)] == (5e-3 if name.startswith("quantizer.") else 1e-3)


def test_codebooks_are_never_given_to_the_optimiser(codec):
    task = CodecTask(codec)
    groups = adamw(task, task.settings).param_groups
    codebooks = {b.data_ptr() for b in codec.quantizer.buffers()}
    assert not codebooks & {p.data_ptr() for g in groups for p in g["params"]}


def test_a_preview_lays_signal_and_reconstruction_side_by_side(batch, codec):
    preview = CodecTask(codec).eval().preview(batch)
    assert preview.target_BCT.shape == preview.reconstruction_BCT.shape == (4, 6, 128)
    windows = preview.target_BCT.unflatten(-1, (2, 64))
    assert torch.allclose(windows.mean(-1), torch.zeros(4, 6, 2), atol=1e-5)
    n_codes = 4 * 5 * 2 * (64 // 8)
    assert preview.counts_QK.shape == (3, 24)
    assert preview.counts_QK.sum(1).tolist() == [n_codes] * 3


def test_half_precision_gives_finite_losses_and_gradients(batch, codec):
    task = CodecTask(codec).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = task.losses(batch)["loss"]
    loss.backward()
    grads = [p.grad for p in task.parameters() if p.grad is not None]
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in grads)
