"""A recording followed piece by piece: the same features as all at once, or a refusal."""

from dataclasses import replace

import pytest
import torch
from model_batches import make_batch

from brainfm.errors import ContractError
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig

SEGMENT = 32


def model(**settings):
    torch.manual_seed(0)
    settings = {"band": 5, "lookback": 2, "n_positions": 8, **settings}
    one = MVPFormer(MVPFormerConfig(preset="test", **settings)).eval()
    with torch.no_grad():  # tables start small; here they must matter
        one.channel_table.weight.mul_(50)
        one.time_table.weight.mul_(50)
        for block in one.blocks:
            block.attention.bias_3GE.normal_()
    return one


def pieces(batch, *lengths):
    """The batch cut along time, in segments."""
    signal, at = batch.signal_BCT, 0
    for n in lengths:
        yield replace(batch, x_BCWP=signal[..., at : at + n * SEGMENT].unflatten(2, (n, SEGMENT)))
        at += n * SEGMENT


def followed(one, batch, *lengths):
    past, found = None, []
    for piece in pieces(batch, *lengths):
        features, past = one.advance(piece, past)
        found.append(features.h_BSWD)
    return torch.cat(found, 2), past


def recording(segments=20, **settings):
    batch = make_batch(t=SEGMENT * segments, **settings)
    loud = torch.linspace(0, 2, SEGMENT * segments) ** 3 + 0.1
    return replace(batch, x_BCWP=batch.x_BCWP * loud)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"band": 1},
        {"band": 2, "amplitude": False},
        {"relation": "list order"},
        {"lookback": 9},
        {"amplitude_past": 12},
        {"amplitude_past": 2},
    ],
)
@pytest.mark.parametrize("lengths", [(1,) * 20, (3, 1, 7, 2, 7), (20,)])
def test_pieces_give_what_the_whole_gives(settings, lengths):
    one, batch = model(**settings), recording()
    found, _ = followed(one, batch, *lengths)
    with torch.no_grad():
        whole = one(batch).h_BSWD
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


def test_the_whole_may_be_longer_than_the_table_of_lags():
    assert model()(recording(30)).h_BSWD.shape[2] == 30
    with pytest.raises(ContractError, match="takes 1 to 8"):
        model(band=None)(recording(9))


def test_what_is_kept_does_not_grow_and_takes_no_gradient():
    one, batch = model(), recording()
    _, few = followed(one, batch, 6)
    _, many = followed(one, batch, 3, 17)
    for past in (few, many):
        kept = [past.level_BSCL, past.valid_BSC, *(t for kv in past.keys_values for t in kv)]
        assert {t.shape[1] for t in kept} == {4} and not any(t.requires_grad for t in kept)
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in kept), "no view of more"


def test_amplitudes_may_be_told_beside_a_longer_past_than_the_band():
    batch = recording()
    other = replace(batch, x_BCWP=batch.x_BCWP.clone())
    other.x_BCWP[..., :SEGMENT] *= -3.0
    one = model(depth=1, amplitude_past=12)
    (a, past), (b, _) = (followed(one, x, *[1] * 20) for x in (batch, other))
    assert past.level_BSCL.shape[1] == 11 and past.valid_BSC.shape[1] == 4
    assert not torch.allclose(a[:, :, 10], b[:, :, 10])
    assert torch.equal(a[:, :, 16:], b[:, :, 16:])


def test_a_band_ago_is_forgotten():
    one, batch = model(depth=1), recording()
    other = replace(batch, x_BCWP=batch.x_BCWP.clone())
    other.x_BCWP[..., :SEGMENT] *= -3.0
    a, b = (followed(one, x, *[1] * 20)[0] for x in (batch, other))
    assert not torch.allclose(a[:, :, 4], b[:, :, 4])
    assert torch.equal(a[:, :, 9:], b[:, :, 9:])


def test_a_channel_that_falls_out_is_not_seen_while_it_is_out():
    one, batch = model(), recording(6)
    other = replace(batch, x_BCWP=batch.x_BCWP.clone())
    other.x_BCWP[:, 2, :, 2 * SEGMENT : 4 * SEGMENT] = 1e3
    results = []
    for x in (batch, other):
        found, past = [], None
        for i, piece in enumerate(pieces(x, 2, 2, 2)):
            if i == 1:
                piece.valid_BC = batch.valid_BC.clone()
                piece.valid_BC[:, 2] = False
            features, past = one.advance(piece, past)
            found.append(features.h_BSWD[:, piece.valid_BC[0]])
        results.append(found)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def loudly(one):
    one.encoder.amplitude.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    return one


def test_segments_with_scales_of_their_own_are_as_if_they_came_alone():
    one, batch = loudly(model()), recording(8)
    scale_BCW = 1e-5 * (1 + torch.rand(*batch.valid_BC.shape, 8))
    past, found = None, []
    for i, piece in enumerate(pieces(batch, *[1] * 8)):
        features, past = one.advance(replace(piece, scale_BC=scale_BCW[..., i]), past)
        found.append(features.h_BSWD)
    together, _ = one.advance(batch, None, scale_BCW)
    torch.testing.assert_close(together.h_BSWD, torch.cat(found, 2), rtol=1e-4, atol=1e-5)
    unscaled, _ = one.advance(batch)
    assert not torch.allclose(together.h_BSWD, unscaled.h_BSWD, atol=1e-3)


def test_a_channel_that_fell_out_needs_no_scale():
    one, batch = loudly(model()), recording(4)
    before, now = pieces(replace(batch, scale_BC=torch.full(batch.valid_BC.shape, 1e-5)), 3, 1)
    _, past = one.advance(before)
    now.valid_BC = now.valid_BC.clone()
    now.valid_BC[:, 1] = False
    results = []
    for scale in (1e-5, 1.0):
        now.scale_BC = now.scale_BC.clone()
        now.scale_BC[:, 1] = scale
        results.append(one.advance(now, past)[0].h_BSWD[:, now.valid_BC[0]])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    "settings, why",
    [
        ({"time_rows": "from_end"}, "time_rows is 'from_end'"),
        ({"last_sees_all": True}, "last_sees_all is true"),
        ({"band": None}, "band is null"),
    ],
)
def test_a_geometry_that_cannot_is_refused_with_the_reason(settings, why):
    one = model(**settings)
    assert not one.config.streams and model().config.streams
    with pytest.raises(ContractError, match=f"cannot follow a recording, because its {why}"):
        one.advance(recording(1))


def test_a_published_segment_does_depend_on_the_length_of_the_window():
    for settings in ({"time_rows": "from_end"}, {"last_sees_all": True}):
        one, batch = model(band=None, **settings), recording(8)
        short = replace(batch, x_BCWP=batch.x_BCWP[..., : 5 * SEGMENT])
        assert not torch.allclose(one(short).h_BSWD[:, :, 4], one(batch).h_BSWD[:, :, 4])


def test_a_piece_of_part_segments_or_other_channels_is_refused():
    one, batch = model(), recording(2)
    with pytest.raises(ContractError, match="40 samples; it must be whole segments of 32"):
        one.advance(make_batch(t=40))
    _, past = one.advance(batch)
    with pytest.raises(ContractError, match=r"\(2, 4\), the past \(2, 6\)"):
        one.advance(make_batch(c=4, t=SEGMENT), past)
