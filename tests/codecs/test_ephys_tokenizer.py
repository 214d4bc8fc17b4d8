"""The sample-level tokenizer: causal, channel by channel, softer first, and whole recordings."""

import pytest
import torch
import torch.nn.functional as F
from model_batches import make_batch

from brainfm.codecs.meggpt import (
    EphysTokenizer,
    EphysTokenizerConfig,
    Vocabulary,
    decode_recording,
    encode_recording,
)
from brainfm.errors import ContractError


@pytest.fixture
def codec():
    torch.manual_seed(0)
    return EphysTokenizer(EphysTokenizerConfig(preset="test")).eval()


def test_one_token_a_sample_costs_the_log_of_the_vocabulary():
    published = EphysTokenizer(EphysTokenizerConfig())
    assert published.bits_per_second(250.0) == 7 * 250


def test_a_token_depends_on_the_past_of_its_own_channel_alone(codec):
    batch, other = make_batch(t=64), make_batch(t=64)
    other.x_BCWP[:, 0, :, 40:] += 2.0
    a, b = (codec.logits(x.signal_BCT.flatten(0, 1)).unflatten(0, (2, 6)) for x in (batch, other))
    assert torch.equal(a[:, 1:], b[:, 1:])
    assert torch.equal(a[:, 0, :40], b[:, 0, :40])
    assert not torch.allclose(a[:, 0, 40:], b[:, 0, 40:])


@pytest.mark.parametrize("padding, where", [("causal", range(10, 16)), ("same", range(7, 13))])
def test_a_token_adds_its_waveform_after_or_around_its_sample(padding, where):
    codec = EphysTokenizer(EphysTokenizerConfig(preset="test", padding=padding))
    weight = torch.zeros(1, 30, 24)
    weight[0, 10, 3] = 1.0
    out = (codec.synthesise(weight) - codec.bias)[0]
    assert out.nonzero()[:, 0].tolist() == list(where)
    # As in any convolution layer the newest sample meets the first tap.
    torch.testing.assert_close(out[list(where)].flip(0), codec.basis_KP[3])


def test_decoding_ids_is_decoding_codes_and_stored_ids_come_back(codec):
    batch = make_batch(t=64)
    codes = codec.encode(batch)
    assert codes.ids_BSWQ.shape == (2, 6, 64, 1)
    assert torch.equal(codec.lookup(codes.ids_BSWQ), codes.latent_BSWD)
    assert torch.equal(codec.decode(codes, batch), codec.decode_ids(codes.ids_BSWQ[..., 0]))


def test_tau_falls_in_stages_from_1_to_a_thousandth():
    config = EphysTokenizerConfig(preset="test", n_stages=4, stage_steps=10)
    assert [config.tau(s) for s in (0, 9)] == [1.0, 1.0]
    assert config.tau(10) == pytest.approx(1 - 0.999 / 3)
    assert config.tau(30) == config.tau(10_000) == pytest.approx(1e-3)


def test_training_steps_are_counted_and_travel_with_the_weights(codec):
    batch = make_batch(t=32)
    codec.training_forward(batch)
    assert int(codec.step) == 0, "evaluation is no step"
    codec.train().training_forward(batch)
    assert int(codec.state_dict()["step"]) == 1


def test_a_mixture_is_tau_of_the_softmax_and_the_rest_of_the_choice(codec):
    logits = torch.randn(1, 5, 24, requires_grad=True)
    mixed = codec.soft_tokens(logits, 0.3)
    hard = F.one_hot(logits.argmax(-1), 24)
    torch.testing.assert_close(mixed, 0.3 * logits.softmax(-1) + 0.7 * hard)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(1, 5))


def test_without_tau_no_gradient_reaches_the_choice(codec):
    logits = torch.randn(1, 5, 24, requires_grad=True)
    (codec.soft_tokens(logits, 0.0) ** 2).sum().backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"padding": "left"}, "padding is 'left'"),
        ({"n_stages": 1}, "n_stages is 1"),
        ({"stage_steps": 0}, "stage_steps 0"),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        EphysTokenizerConfig(preset="test", **settings)


def test_a_recording_is_cut_into_windows_whose_margins_are_thrown_away(codec):
    x = torch.randn(3, 100)
    ids = encode_recording(codec, x, window=40, margin=5)
    assert ids.shape == (3, 90)
    window = codec.logits(x[:, 30:70]).argmax(-1)
    assert torch.equal(ids[:, 30:60], window[:, 5:35]), "the second window starts at 30"
    last = codec.logits(x[:, 60:]).argmax(-1)
    assert torch.equal(ids[:, 60:], last[:, 5:35]), "the last one ends where the recording ends"


def test_whole_windows_are_decoded_each_alone(codec):
    ids = torch.randint(24, (2, 50))
    out = decode_recording(codec, ids, window=20)
    assert out.shape == (2, 40)
    torch.testing.assert_close(out[:, 20:], codec.decode_ids(ids[:, 20:40]))


@pytest.mark.parametrize("n, window, margin", [(30, 40, 0), (100, 40, 20), (100, 40, -1)])
def test_a_recording_that_cannot_be_cut_is_refused(codec, n, window, margin):
    with pytest.raises(ContractError, match=f"a recording of {n} samples cannot be cut"):
        encode_recording(codec, torch.randn(1, n), window, margin)


def test_labels_go_by_frequency_and_unseen_tokens_share_label_0():
    words = Vocabulary.of_counts(torch.tensor([5, 0, 9, 5, 0]))
    assert words.token_V.tolist() == [2, 0, 3] and len(words) == 4
    assert words.label_K.tolist() == [2, 0, 1, 3, 0]
    seen = torch.tensor([0, 2, 3])
    assert torch.equal(words.raw(words.label_K[seen]), seen)
    assert words.raw(torch.tensor(0)) == 1, "label 0 becomes the first unseen token"
