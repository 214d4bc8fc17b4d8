"""The next-token model: blind to the future, told apart by place, and it looks over channels."""

from dataclasses import replace

import pytest
import torch
from model_batches import channels, make_batch

from brainfm.codecs.meggpt import Vocabulary
from brainfm.errors import ContractError
from brainfm.models.meggpt import MEGGPT, SIZES, MEGGPTConfig
from brainfm.models.meggpt_layers import LayerConfig, hidden_keys, key_times, rotate


def made(**settings):
    torch.manual_seed(0)
    return MEGGPT(MEGGPTConfig(**{"preset": "test"} | settings)).eval()


@pytest.mark.parametrize("preset", SIZES)
def test_every_position_sees_itself_and_nothing_later(preset):
    for layer in SIZES[preset]["layers"]:
        hide, ends = hidden_keys(layer, 37, 37), key_times(layer, 37)
        for t in range(37):
            seen = ends[~hide[t]]
            assert seen.max() == t, "its own sample is among the keys"
            assert hide[t, ends > t].all()


def test_patches_and_the_samples_since_leave_no_gap():
    layer = LayerConfig(patch=4, recent=None, recent_band=3)
    seen = ~hidden_keys(layer, 12, 12)[10]
    assert seen[:3].tolist() == [True, True, False], "patches of 0 to 3 and 4 to 7"
    assert seen[3:].nonzero()[:, 0].tolist() == [7, 8, 9, 10]


def test_a_band_is_counted_back_from_the_position_itself():
    seen = ~hidden_keys(LayerConfig(patch_band=2), 10, 4)
    assert [row.nonzero()[:, 0].tolist() for row in seen] == [
        [4, 5, 6], [5, 6, 7], [6, 7, 8], [7, 8, 9],
    ]  # fmt: skip


def test_the_published_band_is_counted_from_the_first_query():
    seen = ~hidden_keys(LayerConfig(patch_band=2), 10, 4, "published")
    assert [row.nonzero()[:, 0].tolist() for row in seen] == [
        [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5],
    ]  # fmt: skip


def test_the_published_rule_leaves_the_first_samples_of_a_patch_blind():
    hide = hidden_keys(LayerConfig(patch=4), 12, 12, "published")
    assert hide.all(1).nonzero()[:, 0].tolist() == [0, 1, 2]


def test_rotary_codes_know_only_how_far_apart_two_samples_are():
    q, k = torch.randn(2, 1, 1, 1, 8).unbind()
    near = [
        (rotate(q, torch.tensor([t + 3])) * rotate(k, torch.tensor([t]))).sum() for t in (0, 50)
    ]
    torch.testing.assert_close(near[0], near[1], atol=1e-4, rtol=0)


def test_later_tokens_change_nothing():
    model, batch = made(), make_batch(t=40)
    label = torch.randint(1, 25, (2, 40, 6))
    other = label.clone()
    other[:, 25:] = 1
    a, b = model.states(batch, label), model.states(batch, other)
    torch.testing.assert_close(a[:, :25], b[:, :25])
    assert not torch.allclose(a[:, 25:], b[:, 25:])


@pytest.mark.parametrize("over", [True, False])
def test_channels_inform_each_other_where_there_is_attention_over_them(over):
    layers = (LayerConfig(patch_band=8, over_channels=over),)
    model, batch = made(layers=layers), make_batch(t=20)
    label = torch.randint(1, 25, (2, 20, 6))
    other = label.clone()
    other[:, :, 0] = 1
    a, b = model.states(batch, label), model.states(batch, other)
    assert torch.allclose(a[:, :, 1:], b[:, :, 1:]) is not over


def trained_on_an_echo(over):
    """Accuracy after training on tokens where the second channel repeats the first one's last."""
    layers = (LayerConfig(patch_band=4, over_channels=over),)
    model = made(layers=layers).train()
    batch = channels(make_batch(b=8, t=17), torch.tensor([0, 1]))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    torch.manual_seed(1)
    for _ in range(60):
        label = torch.randint(1, 5, (8, 17, 2))
        label[:, 1:, 1] = label[:, :-1, 0]
        logits = model.next_logits(batch, label)
        loss = model.losses(logits[:, :, 1:], label[:, 1:, 1:])
        optimizer.zero_grad()
        loss["loss"].backward()
        optimizer.step()
    return float(loss["accuracy"])


def test_what_another_channel_said_is_learned_only_over_channels():
    assert trained_on_an_echo(True) > 0.9
    assert trained_on_an_echo(False) < 0.4


def test_invalid_channels_do_not_count_in_the_loss():
    model = made()
    logits, label = torch.zeros(1, 4, 2, 25), torch.ones(1, 5, 2, dtype=torch.long)
    logits[:, :, 1, 7] = 100.0
    valid = torch.tensor([[True, False]])
    whole, some = model.losses(logits, label), model.losses(logits, label, valid)
    assert some["loss"] == pytest.approx(torch.tensor(25.0).log().item())
    assert whole["loss"] > 10


def test_layers_that_shorten_leave_the_last_positions():
    layers = (LayerConfig(steps_out=12), LayerConfig(patch=4, recent=None, steps_out=5))
    model = made(layers=layers)
    found = model(make_batch(t=40))
    assert found.h_BSWD.shape == (2, 6, 5, 24)
    assert found.time_W.tolist() == [t / 256 for t in range(35, 40)]


def test_a_vocabulary_renames_tokens_and_must_fit():
    counts = torch.zeros(24, dtype=torch.long)
    counts[[3, 9]] = torch.tensor([5, 8])
    words = Vocabulary.of_counts(counts)
    model = made(n_labels=3)
    model.use_vocabulary(words)
    label = model.tokenize(make_batch(t=16))
    raw = model.tokenizer.encode(make_batch(t=16)).ids_BSWQ[..., 0].transpose(1, 2)
    assert torch.equal(label, words.label_K[raw])
    with pytest.raises(ContractError, match="3 labels, the model guesses 25"):
        made().use_vocabulary(words)


LISTED = dict(channels="list order", n_channels=6, positions="absolute", n_positions=32)


def test_tables_that_are_too_small_are_refused_with_both_numbers():
    model = made(**LISTED)
    with pytest.raises(ContractError, match="40 samples, but these weights know 32"):
        model(make_batch(t=40))
    with pytest.raises(ContractError, match="5 channels, but these weights know a list of 6"):
        model(make_batch(c=5, t=20))
    with pytest.raises(ContractError, match="know 4 sessions"):
        made(n_sessions=4)(make_batch(t=20))


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"positions": "learned"}, "positions is 'learned'"),
        ({"activation": "tanh"}, "activation is 'tanh'"),
        ({"reach": "far"}, "reach is 'far'"),
        ({"n_heads": 5}, "does not split into 5 heads"),
        ({"positions": "absolute"}, "need n_positions"),
        ({"channels": "list order"}, "need n_channels"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        MEGGPTConfig(preset="test", **settings)


def test_layers_of_a_saved_configuration_are_layers_again():
    config = MEGGPTConfig(preset="test")
    again = replace(config, layers=[{"patch": 1, "patch_band": 8}])
    assert again.layers == (LayerConfig(patch=1, patch_band=8),)
