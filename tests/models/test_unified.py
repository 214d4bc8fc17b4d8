"""The schema's promises: order, TR, time, frame and padding change nothing; causes come first."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.models.hiding import HidingConfig, draw_hidden
from brainfm.models.stream import StreamConfig
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.nn.frames import HEAD_TO_MNI
from brainfm.types import Kind, SignalBatch, TokenStream


def encoder(**settings):
    torch.manual_seed(0)
    return UnifiedEncoder(UnifiedEncoderConfig(preset="test", **settings)).eval()


def bold_batch(tr_s, seconds=80.0, n=6, seed=0, start_s=0.0):
    """Slow sources that do not know the TR, sampled at it."""
    g = np.random.default_rng(seed)
    hz, phase = g.uniform(0.01, 0.08, (n, 4)), g.uniform(0, 6, (n, 4))
    t = (np.arange(round(seconds / tr_s)) + 0.5) * tr_s
    x = np.sin(2 * math.pi * hz[..., None] * t + phase[..., None]).sum(1)
    return SignalBatch(
        x_BCWP=torch.tensor(x, dtype=torch.float32)[None, :, None],
        pos_BC3=torch.tensor(g.uniform(-0.06, 0.06, (1, n, 3)), dtype=torch.float32),
        ori_BC3=torch.zeros(1, n, 3),
        kind_BC=torch.full((1, n), int(Kind.BOLD)),
        valid_BC=torch.ones(1, n, dtype=torch.bool),
        time_BW=torch.full((1, 1), start_s, dtype=torch.float64),
        scale_BC=torch.ones(1, n),
        offset_BC=torch.zeros(1, n),
        sfreq=1 / tr_s,
        frame="mni",
    )


def test_one_encoder_reads_every_kind():
    model = encoder()
    for kind in Kind:
        batch = bold_batch(2.0) if kind == Kind.BOLD else make_batch(kind=int(kind), t=512)
        found = model(batch)
        assert torch.isfinite(found.h_BSWD).all()
        assert found.h_BSWD.shape[2] == (4 if kind == Kind.BOLD else 2)


def test_the_order_of_tokens_changes_nothing():
    model, batch = encoder(), make_batch(t=1024)
    stream = model.embedding(batch)
    order = torch.randperm(len(stream), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        model.encode(stream.take(order)), model.encode(stream), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("resize", "most"), [("data", 0.25), ("kernel", 0.5)])
def test_the_same_source_at_another_tr_has_the_same_features(resize, most):
    model = encoder(stream=StreamConfig(bold_resize=resize))
    with torch.no_grad():
        h = {tr: model(bold_batch(tr)).h_BSWD.flatten() for tr in (0.72, 1.0, 2.0)}
        other = model(bold_batch(1.0, seed=5)).h_BSWD.flatten()
    for tr in (0.72, 2.0):
        assert float(torch.cosine_similarity(h[tr], h[1.0], dim=0)) > 0.95
        # Codes of place and kind alone would give that; another source is much farther away.
        assert float((h[tr] - h[1.0]).norm()) < most * float((other - h[1.0]).norm())


def test_a_shift_of_the_clock_changes_nothing():
    model = encoder()
    with torch.no_grad():
        for shift in (0.5, 86_400.0):
            torch.testing.assert_close(
                model(bold_batch(2.0, start_s=shift)).h_BSWD,
                model(bold_batch(2.0)).h_BSWD,
                atol=1e-5,
                rtol=1e-4,
            )


def test_head_and_mni_coordinates_of_one_sensor_are_one_place():
    model, head = encoder(), replace(make_batch(t=512, kind=int(Kind.MAG)), frame="head")
    head.ori_BC3[..., 2] = 1.0
    turn, shift = torch.tensor(HEAD_TO_MNI[:3, :3]).float(), torch.tensor(HEAD_TO_MNI[:3, 3])
    ori = head.ori_BC3 @ turn.T
    mni = replace(
        head,
        frame="mni",
        pos_BC3=head.pos_BC3 @ turn.T + shift.float(),
        ori_BC3=ori / ori.norm(dim=-1, keepdim=True),
    )
    with torch.no_grad():
        torch.testing.assert_close(model(mni).h_BSWD, model(head).h_BSWD, atol=1e-5, rtol=1e-4)
        elsewhere = replace(mni, frame="head")
        assert (model(elsewhere).h_BSWD - model(head).h_BSWD).abs().max() > 1e-3


def test_an_unknown_place_is_not_the_origin():
    model, batch = encoder(), make_batch(t=256)
    unknown, origin = (
        replace(batch, pos_BC3=torch.full_like(batch.pos_BC3, v)) for v in (math.nan, 0.0)
    )
    with torch.no_grad():
        h = model(unknown).h_BSWD
        assert torch.isfinite(h).all()
        assert (h - model(origin).h_BSWD).abs().max() > 1e-3
    blind = encoder(stream=StreamConfig(known_positions=False))
    with torch.no_grad():
        torch.testing.assert_close(blind(batch).h_BSWD, blind(unknown).h_BSWD)


def test_recordings_made_at_once_are_read_as_one_stream():
    model = encoder()
    eeg, bold = make_batch(b=1, t=20 * 256), bold_batch(2.0, seconds=40)
    streams = [model.embedding(b) for b in (eeg, bold)]
    both = TokenStream.cat(streams)
    assert len(both) == 6 * 20 + 6 * 2 and both.n_slots == 22
    with torch.no_grad():
        together = model.encode(both)
        apart = model.encode(streams[0])
        swapped = model.encode(TokenStream.cat(streams[::-1]))
    assert (together[:, :20] - apart).abs().max() > 1e-3
    torch.testing.assert_close(swapped[:, :2], together[:, 20:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("attention", ["packed", "factorised"])
def test_causal_attention_compares_ends_of_steps(attention):
    """A step of fMRI from 0 to 20 s is not seen by one of EEG from 10 to 11 s, though it begins."""
    model = encoder(causal=True, attention=attention)
    eeg, bold = make_batch(b=1, t=30 * 256), bold_batch(2.0, seconds=20)
    other = replace(bold, x_BCWP=bold.x_BCWP + 1.0 * torch.randn_like(bold.x_BCWP))
    with torch.no_grad():
        a, b = (
            model.encode(TokenStream.cat([model.embedding(eeg), model.embedding(x)]))
            for x in (bold, other)
        )
    changed = (a - b)[0, :30].abs().amax((1, 2)) > 1e-6
    # Packed attention sees it from its end on; factorised too, source by source.
    assert changed.tolist() == [False] * 19 + [True] * 11


@pytest.mark.parametrize("attention", ["packed", "factorised"])
def test_hidden_tokens_are_not_seen(attention):
    model, batch = encoder(attention=attention), make_batch(t=1024)
    hidden = draw_hidden(
        HidingConfig(), batch.pos_BC3, batch.valid_BC, 4, torch.Generator().manual_seed(0)
    )
    loud = batch.x_BCWP.unflatten(-1, (4, 256)).squeeze(2) + 9.0 * hidden[..., None]
    other = replace(batch, x_BCWP=loud.flatten(2)[:, :, None])
    with torch.no_grad():
        a, b = (model.encode(model.embedding(x), hidden.flatten(1)) for x in (batch, other))
    torch.testing.assert_close(a, b)


def test_blocks_are_hidden_by_region_and_time():
    pos = torch.zeros(40, 10, 3)
    pos[..., 0] = torch.arange(10) / 100
    valid = torch.ones(40, 10, dtype=torch.bool)
    valid[:, 9] = False
    g = torch.Generator().manual_seed(0)
    region = draw_hidden(HidingConfig(0.4, 0.5, modes=("region",)), pos, valid, 8, g)
    assert (region.any(2).sum(1) == 4).all() and (region.all(2) == region.any(2)).all()
    assert not region[:, 9].any()
    for row in region.any(2):  # neighbours on the line
        at = torch.nonzero(row).flatten()
        assert int(at.max() - at.min()) == 3
    time = draw_hidden(HidingConfig(0.4, 0.5, modes=("time",)), pos, valid, 8, g)
    assert (time[:, 0].sum(1) == 4).all() and (time[:, :9] == time[:, :1]).all()


@pytest.mark.parametrize("scale", ["parcel", "lobe"])
def test_parcels_and_lobes_hide_as_one(scale):
    from brainfm.nn.regions import centres, lobe_of

    g = torch.Generator().manual_seed(0)
    parcel = torch.randint(82, (1, 60), generator=g).expand(30, -1)
    pos = centres()[parcel] + 0.001 * torch.randn(30, 60, 3, generator=g)
    region = parcel if scale == "parcel" else lobe_of(parcel)
    config = HidingConfig(0.5, 0.5, scale, ("region",))
    hidden = draw_hidden(config, pos, torch.ones(30, 60).bool(), 4, g)[:, :, 0]
    assert (hidden.sum(1) == 30).all()
    for row, mine in zip(hidden, region, strict=True):
        torn = sum(0 < int(row[mine == r].sum()) < int((mine == r).sum()) for r in mine.unique())
        assert torn <= 1  # the last one, where the share is full


@pytest.mark.parametrize("spatial", ["parcel", "lobe"])
def test_places_are_known_to_the_scale_that_is_told(spatial):
    from brainfm.nn.regions import centres

    torch.manual_seed(0)
    batch = replace(make_batch(t=256), frame="mni")
    batch.pos_BC3[:] = centres()[torch.tensor([0, 5, 20, 43, 60, 81])]
    moved = replace(batch, pos_BC3=batch.pos_BC3 + 0.002)
    swapped = replace(batch, pos_BC3=batch.pos_BC3[:, [3, 1, 2, 0, 4, 5]])
    model = encoder(stream=StreamConfig(spatial=spatial))
    with torch.no_grad():
        h = model(batch).h_BSWD
        torch.testing.assert_close(model(moved).h_BSWD, h)
        assert (model(swapped).h_BSWD - h).abs().max() > 1e-3
        exact = encoder()
        assert (exact(moved).h_BSWD - exact(batch).h_BSWD).abs().max() > 1e-4


def test_names_of_parcels_are_withheld_while_training():
    model, batch = encoder(stream=StreamConfig(parcel_dropout=1.0)), make_batch(t=256)
    with torch.no_grad():
        model.embedding.region.weight[:-1] += 5.0
        told = model.embedding.sensors(batch)[2]
        withheld = model.train().embedding.sensors(batch)[2]
    assert (told - withheld).abs().mean() > 1.0


def test_a_window_of_one_step_hides_regions_and_one_sensor_hides_time():
    g = torch.Generator().manual_seed(0)
    one = draw_hidden(HidingConfig(), torch.zeros(8, 6, 3), torch.ones(8, 6).bool(), 1, g)
    assert (one.sum((1, 2)) == 3).all()
    lone = draw_hidden(HidingConfig(), torch.zeros(8, 1, 3), torch.ones(8, 1).bool(), 10, g)
    assert (lone.sum((1, 2)) == 4).all()


def test_units_are_met_before_learning():
    model = encoder()
    batches = [make_batch(b=4, t=1024, seed=s) for s in range(4)]
    for b in batches:
        b.x_BCWP *= 7.0
    model.meet(batches)
    z = torch.cat([model.embedding.features(b) for b in batches]).flatten(0, 2)
    assert z.mean(0).abs().max() < 0.05
    assert (z.std(0) - 1).abs()[:-1].max() < 0.1


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="attention is 'sparse'"):
        UnifiedEncoderConfig(attention="sparse")
    with pytest.raises(ValueError, match="do not rise"):
        StreamConfig(edges_hz=(1, 5, 5))
    with pytest.raises(ValueError, match="modes are"):
        HidingConfig(modes=("space",))
    with pytest.raises(ValueError, match="spatial is 'voxel'"):
        StreamConfig(spatial="voxel")
    with pytest.raises(ValueError, match="scale is 'gyrus'"):
        HidingConfig(scale="gyrus")
    with pytest.raises(ValueError, match="share_time is 0"):
        HidingConfig(share_time=0)
