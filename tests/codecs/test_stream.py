"""Streams: the codes of the whole signal, in any pieces, in memory that does not grow."""

from dataclasses import replace

import pytest
import torch
from model_batches import make_batch, with_bad_channels

from brainfm.codecs.biocodec import BioCodec, BioCodecConfig
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.duin import DuIN, DuINConfig
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.errors import ContractError

WINDOWED = {
    "BrainTokenizer": lambda: BrainTokenizer(BrainTokenizerConfig(preset="test")),
    "DuIN": lambda: DuIN(DuINConfig(preset="test")),
    "EphysTokenizer": lambda: EphysTokenizer(EphysTokenizerConfig(preset="test")),
}
GOING_ON = {
    "BioCodec": lambda: BioCodec(BioCodecConfig(preset="test")),
    "BioCodec, not causal": lambda: BioCodec(BioCodecConfig(preset="test", causal=False)),
    "BioCodec, shortcut": lambda: BioCodec(BioCodecConfig(preset="test", conv_shortcut=True)),
    "ScalarCodec": lambda: ScalarCodec(ScalarCodecConfig(preset="test")),
    "ScalarCodec, causal": lambda: ScalarCodec(ScalarCodecConfig(preset="test", causal=True)),
}


def made(make):
    torch.manual_seed(0)
    codec = make()
    if hasattr(codec, "initialise_codebooks"):
        codec.initialise_codebooks(make_batch(8, t=256, seed=5))
    return codec.eval()


def run(stream, x_CT, pieces):
    """All codes of a signal that comes in pieces of these lengths, over and over."""
    found, at, i = [], 0, 0
    while at < x_CT.shape[1]:
        found += stream.push(x_CT[:, at : at + pieces[i % len(pieces)]])
        at, i = at + pieces[i % len(pieces)], i + 1
    return found + stream.flush()


def joined(found):
    return torch.cat([c.ids_BSWQ for c in found], 2), torch.cat([c.time_W for c in found])


def offline(codec, batch):
    with torch.inference_mode():
        return codec.encode(batch)


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("pieces", [[1000], [64], [7, 100, 1]])
def test_windows_are_coded_as_they_are_alone(name, pieces):
    codec, batch = made(WINDOWED[name]), make_batch(1, t=64 * 5)
    found = run(codec.stream(batch, 64), batch.signal_BCT[0], pieces)
    assert len(found) == 5
    for i, codes in enumerate(found):
        x = batch.signal_BCT[:, :, None, 64 * i : 64 * (i + 1)]
        alone = offline(codec, replace(batch, x_BCWP=x))
        assert torch.equal(codes.ids_BSWQ, alone.ids_BSWQ)
        assert torch.equal(codes.latent_BSWD, alone.latent_BSWD)
        assert torch.allclose(codes.time_W, alone.time_W + 64 * i / 256)


def test_a_braintokenizer_streams_what_it_gives_for_the_whole_signal():
    codec, batch = made(WINDOWED["BrainTokenizer"]), with_bad_channels(make_batch(1, t=64 * 6))
    whole = offline(codec, batch)
    ids, time_W = joined(run(codec.stream(batch), batch.signal_BCT[0], [50]))
    assert torch.equal(ids, whole.ids_BSWQ) and torch.allclose(time_W, whole.time_W)


def test_what_is_left_at_the_end_is_coded_as_a_short_signal():
    codec, batch = made(WINDOWED["BrainTokenizer"]), make_batch(1, t=100)
    found = run(codec.stream(batch), batch.signal_BCT[0], [100])
    rest = offline(codec, replace(batch, x_BCWP=batch.x_BCWP[..., 64:]))
    assert len(found) == 2 and torch.equal(found[1].ids_BSWQ, rest.ids_BSWQ)


@pytest.mark.parametrize("name", GOING_ON)
@pytest.mark.parametrize("pieces", [[1000], [13], [1], [40, 3]])
@pytest.mark.parametrize("t", [300, 131])
def test_a_network_that_goes_on_gives_the_codes_of_the_whole_signal(name, pieces, t):
    codec, batch = made(GOING_ON[name]), with_bad_channels(make_batch(1, t=t))
    whole = offline(codec, batch)
    ids, time_W = joined(run(codec.stream(batch), batch.signal_BCT[0], pieces))
    assert ids.shape == whole.ids_BSWQ.shape and torch.allclose(time_W, whole.time_W)
    # Rounding alone may turn an id that lies between two codes (features: tests/nn).
    assert (ids == whole.ids_BSWQ).float().mean() > 0.98


@pytest.mark.parametrize("t", [1, 5, 13])
def test_a_signal_of_a_few_samples_is_the_offline_one(t):
    codec, batch = made(GOING_ON["ScalarCodec"]), make_batch(1, t=t)
    ids, _ = joined(run(codec.stream(batch), batch.signal_BCT[0], [2]))
    assert torch.equal(ids, offline(codec, batch).ids_BSWQ)


@pytest.mark.parametrize("name", GOING_ON)
def test_the_latency_is_kept_and_is_no_longer_than_said(name):
    codec, batch = made(GOING_ON[name]), make_batch(1, t=400)
    stream, hop = codec.stream(batch), codec.config.hop
    reach = round(stream.latency_s * 256)
    assert stream.look_ahead_s == pytest.approx((reach - hop) / 256)
    steps = 0
    for i in range(400):
        steps += sum(c.ids_BSWQ.shape[2] for c in stream.push(batch.signal_BCT[0, :, i : i + 1]))
        if i > 200:  # the very first steps wait for what is reflected before them
            assert steps == (i + 1 - reach) // hop + 1


def test_a_causal_codec_waits_for_nothing_but_its_step():
    causal = made(GOING_ON["BioCodec"]).stream(make_batch(1))
    ahead = made(GOING_ON["BioCodec, not causal"]).stream(make_batch(1))
    assert causal.look_ahead_s == 0.0 and causal.latency_s == 12 / 256
    assert ahead.look_ahead_s > 0


@pytest.mark.parametrize("name", [*WINDOWED, *GOING_ON])
def test_memory_does_not_grow(name):
    make = (WINDOWED | GOING_ON)[name]
    batch = make_batch(1, t=64)
    stream = made(make).stream(batch)

    def held():
        seen, todo, total = set(), [stream], 0
        while todo:
            thing = todo.pop()
            if id(thing) in seen or isinstance(thing, torch.nn.Module):
                continue
            seen.add(id(thing))
            if isinstance(thing, torch.Tensor):
                total += thing.untyped_storage().nbytes()
            elif isinstance(thing, list | tuple):
                todo += thing
            elif type(thing).__module__.startswith("brainfm"):
                todo += list(getattr(thing, "__dict__", {}).values())
        return total

    sizes = []
    for _ in range(60):
        stream.push(batch.signal_BCT[0])
        sizes.append(held())
    assert max(sizes[30:]) <= max(sizes[:30])


def test_fewer_levels_stream_as_they_encode():
    codec, batch = made(GOING_ON["BioCodec"]), make_batch(1, t=240)
    ids, _ = joined(run(codec.stream(batch, n_levels=2), batch.signal_BCT[0], [60]))
    assert torch.equal(ids, codec.encode(batch, n_levels=2).ids_BSWQ)


def test_training_the_codec_further_does_not_reach_a_stream():
    codec, batch = made(GOING_ON["BioCodec"]), make_batch(1, t=240)
    stream, before = codec.stream(batch), offline(codec, batch)
    with torch.no_grad():
        for p in codec.parameters():
            p.mul_(1.5)
    ids, _ = joined(run(stream, batch.signal_BCT[0], [240]))
    assert torch.equal(ids, before.ids_BSWQ)
    assert not torch.equal(ids, offline(codec, batch).ids_BSWQ)


def test_what_cannot_be_streamed_is_refused_in_one_sentence():
    codec = made(GOING_ON["BioCodec"])
    with pytest.raises(ContractError, match="2 windows"):
        codec.stream(make_batch(2))
    stream = codec.stream(make_batch(1))
    with pytest.raises(ContractError, match="6 channels.*\\(5, 10\\)"):
        stream.push(torch.zeros(5, 10))
    assert stream.flush() == [] and stream.flush() == []
    with pytest.raises(ContractError, match="ended"):
        stream.push(torch.zeros(6, 10))
    with pytest.raises(ContractError, match="multiple of the codec's own 64"):
        made(WINDOWED["BrainTokenizer"]).stream(make_batch(1), 100)
    exact = BioCodec(BioCodecConfig(preset="test", exact=True))
    with pytest.raises(ContractError, match="exact: false"):
        exact.stream(make_batch(1))


@pytest.mark.parametrize("name", ["BrainTokenizer", "BioCodec", "ScalarCodec"])
def test_a_stream_made_in_half_precision_stays_there(name):
    codec, batch = made((WINDOWED | GOING_ON)[name]), make_batch(1, t=256)
    with torch.autocast("cpu", torch.bfloat16):
        stream, whole = codec.stream(batch), offline(codec, batch)
    ids, _ = joined(run(stream, batch.signal_BCT[0], [64]))
    single, _ = joined(run(codec.stream(batch), batch.signal_BCT[0], [64]))
    assert (ids == whole.ids_BSWQ).float().mean() > (ids == single).float().mean()
    assert (ids[..., 0] == single[..., 0]).float().mean() > 0.5
