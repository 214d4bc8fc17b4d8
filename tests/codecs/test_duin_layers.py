"""Pieces of Du-IN with known answers: mixing, segments, upsampling, blocks."""

import pytest
import torch
import torch.nn.functional as F

from brainfm.codecs.duin_layers import Block, GeometryMix, SegmentConv, SubjectMix, Upsample


def test_a_subject_s_matrix_and_bias_are_those_of_its_row():
    mix = SubjectMix(2, 3, 2)
    mix.weight_SCR.data = torch.arange(12.0).view(2, 3, 2)
    mix.bias_SO.data = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    x = torch.ones(2, 3, 4)
    out = mix(x, torch.tensor([0, 1]))
    assert out[0, :, 0].tolist() == [0 + 2 + 4 + 10, 1 + 3 + 5 + 20]
    assert out[1, :, 0].tolist() == [6 + 8 + 10 + 30, 7 + 9 + 11 + 40]


def test_the_way_back_has_a_bias_a_contact():
    mix = SubjectMix(1, 3, 2, to_regions=False)
    mix.weight_SCR.data = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    mix.bias_SO.data = torch.tensor([[0.0, 0.5, 1.0]])
    out = mix(torch.tensor([[[2.0], [3.0]]]), torch.tensor([0]))
    assert out[0, :, 0].tolist() == [2.0, 3.5, 6.0]


def test_more_contacts_of_the_same_kind_do_not_make_regions_louder():
    torch.manual_seed(0)
    mix = GeometryMix(8, 4)
    power = []
    for c in (8, 512):
        sensor, x = torch.randn(64, c, 8), torch.randn(64, c, 20)
        power.append(mix(x, sensor, torch.ones(64, c, dtype=torch.bool)).square().mean().item())
    assert power[1] == pytest.approx(power[0], rel=0.3)


def test_a_region_does_not_hear_invalid_contacts():
    mix = GeometryMix(8, 4)
    sensor, x = torch.randn(1, 5, 8), torch.randn(1, 5, 10)
    valid = torch.tensor([[True, True, True, False, False]])
    sensor[:, 4] = torch.nan
    out = mix(x * valid[..., None], sensor, valid)
    torch.testing.assert_close(out, mix(x[:, :3], sensor[:, :3], valid[:, :3]))


def test_a_token_is_its_positions_one_after_the_other():
    conv = SegmentConv(8, 1, (2,), (1,), (4,)).eval()
    conv.convs[0].weight.data = torch.tensor([[[1.0]], [[10.0]]])
    conv.convs[0].bias.data.zero_()
    conv.norms[0].eps = 0.0
    x = torch.arange(16.0)[None, None]
    want = [[0.0, 0.0, 4.0, 40.0], [8.0, 80.0, 12.0, 120.0]]
    assert conv(x)[0].tolist() == want, "position 0 with both filters, then position 4"


@pytest.mark.parametrize("stride, kernel", [(1, 3), (1, 5), (4, 4), (10, 19), (8, 8), (1, 9)])
def test_every_token_becomes_stride_samples(stride, kernel):
    up = Upsample(4, 2, (3,), (kernel,), (stride,))
    assert up.layers(torch.randn(1, 5, 4))[0].shape[-1] == 5 * stride


def test_a_block_is_normalised_after_its_sums():
    torch.manual_seed(0)
    block = Block(8, 2, 4, 16, dropout=0.0)
    h = torch.randn(2, 5, 8)
    mid = block.attention_norm(h + block.attend(h))
    want = block.feed_norm(mid + block.narrow(F.relu(block.widen(mid))))
    torch.testing.assert_close(block(h), want)
    torch.testing.assert_close(block(h).mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)


def test_longer_queries_do_not_sharpen_the_attention():
    block = Block(8, 2, 4, 16, dropout=0.0)
    h = torch.randn(1, 5, 8)
    before = block.attend(h)
    block.query.weight.data *= 50
    block.query.bias.data *= 50
    torch.testing.assert_close(block.attend(h), before, atol=1e-3, rtol=1e-2)


def test_dropout_is_for_training():
    block = Block(8, 2, 4, 16, dropout=0.5)
    h = torch.randn(1, 5, 8)
    assert not torch.equal(block.train()(h), block(h))
    assert torch.equal(block.eval()(h), block(h))
