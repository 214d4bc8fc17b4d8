"""ScalarCodec: nested digits, a rate chosen at encoding, nothing lost between ids and signal."""

import math

import pytest
import torch
from model_batches import make_batch, with_bad_channels

from brainfm.codecs.losses import DistortionLoss
from brainfm.codecs.scalar import STRETCH, ScalarCodec, ScalarCodecConfig, ScalarQuantizer
from brainfm.errors import ContractError
from brainfm.tasks.codec import CodecTask


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return ScalarCodec(ScalarCodecConfig(preset="test")).eval()


def bare(**sizes):
    """A quantiser whose coordinates are its input, so that its digits can be read."""
    quantizer = ScalarQuantizer(ScalarCodecConfig(preset="test", dim=8, **sizes))
    for layer in (quantizer.project_in, quantizer.project_out):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return quantizer


def test_levels_go_diagonally_through_groups_and_digits():
    config = ScalarCodecConfig(preset="test", n_groups=3, n_quantizers=7)
    assert config.schedule == ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3))


def test_digits_are_those_of_the_coordinate():
    quantizer = bare(base=2, group=8, n_groups=1, n_quantizers=3)
    z = torch.linspace(-0.95, 0.95, 8)
    codes = quantizer(torch.atanh(z))
    cell = ((z + 1) * 4).long()  # eight cells of three bits
    wanted = [(cell >> shift & 1) for shift in (2, 1, 0)]
    for q, bits in enumerate(wanted):
        assert codes.ids[q] == (bits * 2 ** torch.arange(8)).sum()
    torch.testing.assert_close(codes.latent, (2 * cell + 1) / 8 - 1)


@pytest.mark.parametrize("base", [2, 3, 5])
def test_each_level_of_a_group_shrinks_its_cells(base):
    quantizer = bare(base=base, group=4, n_groups=2, n_quantizers=4)
    h = torch.randn(500, 8)
    ids = quantizer(h).ids
    # one digit of the first group; two; one of the second; a third of the first
    for n, first, second in ((1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1)):
        off = (quantizer.lookup(ids[:, :n]) - torch.tanh(h)).abs()
        assert off[:, :4].max() <= base**-first + 1e-6
        assert off[:, 4:].max() <= float(base) ** -second + 1e-6
    assert 0 <= ids.min() and ids.max() < base**4


def test_extremes_stay_inside_the_last_cell():
    quantizer = bare(base=2, group=8, n_groups=1, n_quantizers=3)
    codes = quantizer(torch.full((8,), 1e9))  # its tanh is exactly 1
    assert codes.ids.tolist() == [255] * 3
    torch.testing.assert_close(codes.latent, torch.full((8,), 7 / 8))
    assert quantizer(torch.full((8,), -1e9)).ids.tolist() == [0] * 3


def test_a_group_without_digits_says_nothing_and_learns_nothing():
    quantizer = bare(group=4, n_groups=2, n_quantizers=3)
    h = torch.randn(5, 8, requires_grad=True)
    out = quantizer(h, torch.full((5,), 1))
    assert (out.latent[:, 4:] == 0).all()
    out.latent.sum().backward()
    assert (h.grad[:, 4:] == 0).all()
    torch.testing.assert_close(h.grad[:, :4], 1 - torch.tanh(h[:, :4]).square().detach())


def test_ids_alone_give_what_training_saw(codec):
    h = torch.randn(20, 7, 32)
    stops = torch.arange(20)[:, None] % 5 + 1
    seen = codec.quantizer(h, stops)
    for i, n in enumerate(stops[:, 0].tolist()):
        assert torch.equal(codec.quantizer.lookup(seen.ids[i, :, :n]), seen.latent[i])


def test_the_rate_is_asked_for(codec):
    batch = make_batch(t=128)
    rates = [codec.bits_per_second(256.0, n) for n in (1, 3, 5)]
    assert rates == pytest.approx([4 * math.log2(3) * 32 * n for n in (1, 3, 5)])
    for n in (1, 3, 5):
        codes = codec.encode(batch, n_levels=n)
        assert codes.ids_BSWQ.shape == (2, 6, 16, n)
        assert torch.equal(codes.ids_BSWQ, codec.encode(batch).ids_BSWQ[..., :n])
        assert torch.equal(codes.latent_BSWD, codec.lookup(codes.ids_BSWQ))
    with pytest.raises(ContractError, match="6 levels, the codec 5"):
        codec.lookup(torch.zeros(1, 1, 1, 6, dtype=torch.long))


def test_the_linear_path_starts_as_a_cosine_transform_and_its_inverse():
    torch.manual_seed(0)
    sizes = dict(n_quantizers=16, n_groups=2, level_dropout=0.0)
    codec = ScalarCodec(ScalarCodecConfig(preset="test", **sizes)).eval()
    last, project = codec.decoder.layers[-1].conv, codec.quantizer.project_in
    for part in (last.parametrizations.weight.original0, last.bias, *project.parameters()):
        torch.nn.init.zeros_(part)  # the SEANets say nothing
    batch = make_batch(t=120)
    batch.x_BCWP *= 0.1
    signal = batch.signal_BCT
    torch.testing.assert_close(codec.reconstruct(batch), signal, atol=5e-3, rtol=0)
    slow = torch.ones_like(codec.patch_in.weight[0]) / 8**0.5
    torch.testing.assert_close(codec.patch_in.weight[0], STRETCH * slow)


@pytest.mark.parametrize("t", [128, 61, 3])
def test_a_signal_of_any_length_comes_back_as_long(codec, t):
    assert codec.reconstruct(make_batch(t=t)).shape == (2, 6, t)


def waves():
    g = torch.Generator().manual_seed(1)
    batch, time = make_batch(8, 6, 256), torch.arange(256) / 256
    hz = 3 + 5 * torch.rand(8, 6, 1, 1, generator=g)
    phase = 6.28 * torch.rand(8, 6, 1, 1, generator=g)
    batch.x_BCWP = torch.sin(6.2832 * hz * time + phase)
    return batch


def test_one_training_serves_every_rate_and_more_bits_are_better():
    torch.manual_seed(0)
    codec, batch = ScalarCodec(ScalarCodecConfig(preset="test")), waves()
    task = CodecTask(codec, loss=DistortionLoss()).train()
    optimizer = torch.optim.Adam(codec.parameters(), 1e-2)
    for step in range(80):
        torch.manual_seed(step)
        loss = task.losses(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    codec.eval()
    power = batch.signal_BCT.square().mean()
    with torch.no_grad():
        nmse = [
            (codec.decode(codec.encode(batch, n), batch) - batch.signal_BCT).square().mean() / power
            for n in range(1, 6)
        ]
    assert nmse[0] < 0.6 and nmse[4] < 0.15
    assert nmse[4] < nmse[2] < nmse[0]


def test_stops_are_drawn_in_training_alone(codec):
    x = torch.zeros(400, 8)
    codec.train()
    drawn = codec._stops(x, torch.Generator().manual_seed(0))
    codec.eval()
    assert sorted(set(drawn.flatten().tolist())) == [1, 2, 3, 4, 5]
    assert (codec._stops(x, None) == 5).all()
    fixed = ScalarCodec(ScalarCodecConfig(preset="test", level_dropout=0.0)).train()
    assert (fixed._stops(x, None) == 5).all()


def test_bad_channels_take_no_part_in_training():
    losses = []
    for batch in (waves(), with_bad_channels(waves())):
        torch.manual_seed(0)
        codec = ScalarCodec(ScalarCodecConfig(preset="test")).train()
        torch.manual_seed(1)
        losses.append(CodecTask(codec, loss=DistortionLoss()).train().losses(batch)["loss"])
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"base": 1}, "base 1"),
        ({"group": 11}, "gives 177147 codes"),
        ({"n_groups": 1, "n_quantizers": 30}, "finer than single precision"),
        ({"level_dropout": 2.0}, "level_dropout is 2.0"),
        ({"dim": 4}, "dim 4 is less than 4 x 2 coordinates"),
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        ScalarCodecConfig(preset="test", **wrong)
