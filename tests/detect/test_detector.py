"""A detector as one model: causal, honest about missing signal, saved with its operating point."""

from dataclasses import replace

import pytest
import torch
from model_batches import make_batch

from brainfm.detect.alarms import AlarmRule
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.errors import ContractError
from brainfm.heads.detect import DetectConfig
from brainfm.hub import load_model
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.signals.preprocess import Preprocess, Recipe

STREAMING = MVPFormerConfig(preset="test", band=3)


def detector(encoder=STREAMING, **settings):
    torch.manual_seed(0)
    return SeizureDetector(SeizureDetectorConfig(encoder, context=8, **settings)).eval()


def batch(seed=0, b=2, c=5, steps=8):
    return make_batch(b=b, c=c, t=steps * 32, seed=seed)


def part(whole, first, last):
    """Steps first to last - 1 of a batch made with one step a patch."""
    x = whole.signal_BCT[..., first * 32 : last * 32]
    return replace(whole, x_BCWP=x.unflatten(-1, (-1, 32)))


def test_a_probability_for_every_step():
    p = detector().probabilities(batch())
    assert p.shape == (2, 8)
    assert ((p > 0) & (p < 1)).all()


def test_the_future_changes_no_verdict():
    model, now = detector(), batch()
    later = replace(now, x_BCWP=now.x_BCWP.clone())
    later.signal_BCT[..., 5 * 32 :] *= -3  # a view of the same samples
    a, b = model.probabilities(now), model.probabilities(later)
    torch.testing.assert_close(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 1, 4]])
def test_step_by_step_says_what_the_whole_says(sizes):
    model, whole = detector(), batch()
    past, found, at = None, [], 0
    for size in sizes:
        p, past = model.advance(part(whole, at, at + size), past)
        found.append(p)
        at += size
    torch.testing.assert_close(torch.cat(found, 1), model.probabilities(whole))


def test_published_geometry_refuses_to_stream_and_says_what_to_do():
    model = detector(MVPFormerConfig(preset="test", time_rows="from_end", last_sees_all=True))
    assert not model.streams
    with pytest.raises(ContractError, match="the last 8 steps"):
        model.advance(batch())


def test_no_usable_channel_is_no_signal_and_one_is_enough():
    model, b = detector(), batch()
    b.valid_BC[0] = False
    b.valid_BC[1, 1:] = False
    p = model.probabilities(b)
    assert p[0].isnan().all()
    assert p[1].isfinite().all()


def test_a_saved_detector_keeps_weights_contract_and_operating_point(tmp_path):
    rule = AlarmRule(threshold=0.7, smooth_s=6.0)
    model = detector(alarm=rule, head=DetectConfig(pooling="mean"))
    model.preprocess = Preprocess(Recipe(sfreq=128.0, lowpass_hz=40.0))
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert again.config.alarm == rule
    assert again.step_s == 32 / 128
    assert torch.equal(again.probabilities(batch()), model.probabilities(batch()))


def test_a_pretrained_encoder_brings_its_sizes_and_contract():
    encoder = MVPFormer(STREAMING, Preprocess(Recipe(sfreq=100.0, lowpass_hz=40.0)))
    model = SeizureDetector(SeizureDetectorConfig(context=8), encoder=encoder)
    assert model.config.encoder == STREAMING
    assert model.config.head.dim == encoder.dim
    assert model.preprocess.recipe.sfreq == 100.0
    assert model.encoder is encoder


def test_a_context_longer_than_the_time_table_is_refused():
    with pytest.raises(ValueError, match="context is 200"):
        SeizureDetectorConfig(STREAMING, context=200)
