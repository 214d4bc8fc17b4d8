"""Attention over patches and channels, with known answers."""

import torch

from brainfm.models.meggpt_layers import Layer, LayerConfig, PatchAttention, key_times


def attention(patch=1, recent=False):
    torch.manual_seed(0)
    return PatchAttention(8, 2, patch, recent)


def test_a_patch_key_mixes_heads_and_samples_one_feature_at_a_time():
    block = attention(patch=3)
    x = torch.randn(1, 7, 8)
    out = block.patches(x, block.patch_key)
    assert out.shape == (1, 2, 8), "the seventh sample belongs to no patch"
    second = x[0, 3:6].view(3, 2, 4)  # sample, head, feature
    row = torch.cat([second[:, head, 1] for head in (0, 1)])
    want = block.patch_key.weight @ row + block.patch_key.bias
    torch.testing.assert_close(out[0, 1].view(2, 4)[:, 1], want)


def test_recent_samples_are_keys_of_their_own_after_the_patches():
    block = attention(patch=3, recent=True)
    x = torch.randn(1, 6, 8)
    key, value = block.keys_values(x, recent=2)
    assert key.shape == value.shape == (1, 4, 8)
    torch.testing.assert_close(key[:, 2:], block.recent_key(x[:, 4:]))
    layer = LayerConfig(patch=3, recent=2)
    assert key_times(layer, 6).tolist() == [2, 5, 4, 5]


def test_a_query_that_sees_nothing_gets_nothing():
    block = attention()
    x = torch.randn(2, 4, 8)
    hide = torch.eye(4, dtype=torch.bool).logical_not()
    hide[2] = True
    out = block(x, x, hide)
    torch.testing.assert_close(out[:, 2], block.out.bias.expand(2, -1))
    torch.testing.assert_close(out[:, 0], block.out(block.value(x[:, 0])), atol=1e-6, rtol=1e-5)


def test_gradients_of_a_query_that_sees_nothing_are_finite():
    block = attention()
    x = torch.randn(1, 3, 8, requires_grad=True)
    block(x, x, torch.ones(3, 3, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(x.grad).all()


def layer(**settings):
    torch.manual_seed(0)
    n = {"n_channels": 4} if settings.keys() & {"channel_keys", "channel_mask"} else {}
    return Layer(LayerConfig(**settings), 8, 2, 16, **n)


def test_channels_are_asked_sample_by_sample():
    made, x = layer(), torch.randn(1, 5, 4, 8)
    other = x.clone()
    other[:, 3] = torch.randn(1, 4, 8)
    a, b = made.attend_channels(x), made.attend_channels(other)
    same = [torch.allclose(a[:, t], b[:, t]) for t in range(5)]
    assert same == [True, True, True, False, True]


def test_a_table_of_the_weights_hides_channels_from_each_other():
    made, x = layer(channel_mask=True), torch.randn(1, 3, 4, 8)
    made.hide_CC[0, 1:] = True
    other = x.clone()
    other[:, :, 1:] = x[:, :, 1:].flip(-1)
    a, b = made.attend_channels(x), made.attend_channels(other)
    assert torch.allclose(a[:, :, 0], b[:, :, 0])
    assert not torch.allclose(a[:, :, 1], b[:, :, 1])


def test_a_mix_of_the_list_makes_fewer_keys():
    made, x = layer(channel_keys=2), torch.randn(1, 3, 4, 8)
    assert made.channel_mix.weight.shape == (2, 4)
    assert made.attend_channels(x).shape == x.shape


def test_beside_a_cross_attention_time_does_not_see_the_channels():
    x = torch.randn(1, 6, 4, 8)
    other = x.clone()
    other[:, :, 1:] = x[:, :, 1:].flip(-1)
    for cross in (True, False):
        made = layer(cross=cross)
        a, b = made.parts(x), made.parts(other)
        assert torch.allclose(a["time"][:, :, 0], b["time"][:, :, 0]) is cross
        assert not torch.allclose(a["out"][:, :, 0], b["out"][:, :, 0])


def test_a_layer_without_channels_keeps_them_apart_and_one_that_shortens_keeps_the_last():
    made, x = layer(over_channels=False, steps_out=2), torch.randn(1, 6, 4, 8)
    out = made(x)
    assert out.shape == (1, 2, 4, 8)
    alone = made(x[:, :, :1])
    torch.testing.assert_close(out[:, :, :1], alone)
    whole = layer(over_channels=False)
    torch.testing.assert_close(out, whole(x)[:, -2:])


def test_the_activation_is_the_one_named():
    x = torch.randn(1, 2, 1, 8)
    outs = []
    for name in ("gelu", "silu", "relu", "leaky_relu"):
        torch.manual_seed(0)
        made = Layer(LayerConfig(over_channels=False), 8, 2, 16, activation=name)
        outs.append(made(x))
    assert all(not torch.allclose(a, b) for i, a in enumerate(outs) for b in outs[:i])
