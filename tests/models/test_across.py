"""Recordings made at once: matching finds twins, the lag of blood is found where it was put."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.models.across import BloodLag, Matcher, across_losses, bold_at, pieces
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.types import Features, Kind, SignalBatch, Simultaneous


def encoder():
    torch.manual_seed(0)
    return UnifiedEncoder(UnifiedEncoderConfig(preset="test")).eval()


def bold_of(x_BPF, tr_s=1.0, start_s=0.0):
    b, p, _ = x_BPF.shape
    return SignalBatch(
        x_BCWP=x_BPF[:, :, None].float(),
        pos_BC3=torch.zeros(b, p, 3),
        ori_BC3=torch.zeros(b, p, 3),
        kind_BC=torch.full((b, p), int(Kind.BOLD)),
        valid_BC=torch.ones(b, p, dtype=torch.bool),
        time_BW=torch.full((b, 1), start_s, dtype=torch.float64),
        scale_BC=torch.ones(b, p),
        offset_BC=torch.zeros(b, p),
        sfreq=1 / tr_s,
        frame="mni",
    )


def steps_of(h_BSWD, step_s=1.0):
    w = h_BSWD.shape[2]
    time = torch.arange(w, dtype=torch.float64) * step_s
    return Features(h_BSWD, torch.ones(h_BSWD.shape[:2], dtype=torch.bool), time, step_s)


def test_pieces_hold_the_samples_and_times_of_the_window():
    batch = make_batch(b=2, t=1024)
    batch.time_BW += torch.tensor([[10.0], [20.0]])
    cut = pieces(batch, 1.0)
    assert cut.x_BCWP.shape == (8, 6, 1, 256)
    assert cut.time_BW[:, 0].tolist() == [10, 11, 12, 13, 20, 21, 22, 23]
    torch.testing.assert_close(cut.signal_BCT[5], batch.signal_BCT[1, :, 256:512])
    torch.testing.assert_close(cut.pos_BC3[5], batch.pos_BC3[1])


def test_bold_is_read_at_the_ends_of_steps_by_its_own_clock():
    fast = make_batch(b=1, t=256 * 10)
    fast.time_BW += 100.0
    # Frames show the time at which they were taken, every 1.5 s from 101 s on.
    frames = 101 + 1.5 * torch.arange(5, dtype=torch.float64)
    bold = bold_of(frames[None, None], 1.5, 101.0)
    features = steps_of(torch.zeros(1, 1, 10, 4))
    x, there = bold_at(fast, bold, features)
    assert there[0].tolist() == [True] * 7 + [False] * 3
    torch.testing.assert_close(x[0, 0, :7], torch.arange(101.0, 108.0))


@pytest.mark.parametrize("lag", [3, 6])
def test_the_lag_is_found_where_it_was_put(lag):
    """Power goes up and down by chance; blood follows so many steps later."""
    torch.manual_seed(lag)
    blood = BloodLag(8, 2, n_lags=12)
    optimiser = torch.optim.Adam(blood.parameters(), 0.02)
    code = torch.randn(1, 3, 8)
    for _ in range(120):
        drive = torch.randn(4, 60)
        h = torch.zeros(4, 1, 60, 8)
        h[:, 0, :, 0], h[:, 0, :, 1] = drive, 1.0
        # A frame at t shows what drove blood in the step that ended `lag` s before.
        later = torch.roll(drive, lag, 1)
        features = steps_of(h)
        bold = bold_of(later[:, None].expand(-1, 3, -1), 1.0, start_s=1.0)
        fast = replace(make_batch(b=4, t=60), time_BW=torch.zeros(4, 1, dtype=torch.float64))
        parts = blood.losses(features, code.expand(4, -1, -1), fast, bold)
        optimiser.zero_grad()
        parts["lag"].backward()
        optimiser.step()
    assert float(parts["lag_s"]) == lag + 0.5
    assert float(parts["lag_explained"]) > 0.5


def test_twins_are_nearest_when_they_are_alike():
    torch.manual_seed(0)
    matcher = Matcher(8, 2)
    h = torch.randn(6, 2, 5, 8)
    mine, theirs = matcher(steps_of(h)), matcher(steps_of(h + 0.05 * torch.randn_like(h)))
    assert torch.allclose(mine.norm(dim=-1), torch.ones(6, 5))
    found = matcher.losses([mine, theirs])
    assert float(found["match_top1"]) == 1.0
    other = matcher.losses([mine, theirs.flip(0)])
    assert float(other["match"]) > float(found["match"]) and float(other["match_top1"]) == 0.0


def test_one_recording_or_one_window_matches_nothing():
    matcher = Matcher(8, 2)
    one = matcher(steps_of(torch.randn(1, 2, 5, 8)))
    assert matcher.losses([one, one]) == {} and matcher.losses([]) == {}


def test_recordings_are_used_as_far_as_they_allow():
    model = encoder()
    eeg = make_batch(b=2, t=256 * 24)
    meg = make_batch(b=2, t=256 * 24, kind=int(Kind.MAG), seed=3)
    t = torch.arange(24.0)
    bold = bold_of(torch.sin(2 * math.pi * 0.05 * t).expand(2, 4, -1))
    both = across_losses(model, Simultaneous((eeg, meg, bold)))
    assert {"match", "match_top1", "lag", "lag_explained", "lag_s"} == set(both)
    assert {"match", "match_top1"} == set(across_losses(model, Simultaneous((eeg, meg))))
    assert {"lag", "lag_explained", "lag_s"} == set(across_losses(model, Simultaneous((eeg, bold))))
    asked = set(across_losses(model, Simultaneous((eeg, meg, bold)), ["match"]))
    assert asked == {"match", "match_top1"}
    short = [pieces(b, 10.0) for b in (eeg, meg)]
    assert "lag" not in across_losses(model, Simultaneous((*short, pieces(bold, 10.0))))
    total = sum(v for k, v in both.items() if k in ("match", "lag"))
    total.backward()
    assert np.isfinite(float(total.detach()))
