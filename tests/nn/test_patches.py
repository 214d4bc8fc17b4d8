"""Steps as numbers: the same for every rate and TR, and a closed form where there is one."""

import math

import pytest
import torch

from brainfm.nn.patches import BoldPatch, FastPatch, from_frames, to_points, whole_steps

EDGES = (1.0, 4.0, 8.0, 13.0, 30.0)


def sine(hz, seconds, sfreq, phase=0.3):
    t = (torch.arange(round(seconds * sfreq), dtype=torch.float64) + 0.5) / sfreq
    return torch.sin(2 * math.pi * hz * t + phase).float()[None, None]


def test_power_of_a_sine_is_in_its_band():
    patch = FastPatch(8, 1.0, 10.0, EDGES)
    level = patch.features(sine(10.0, 3.0, 128.0), 128.0)[0, 0, :, patch.n_slow :] - 2
    assert level.argmax(-1).tolist() == [2, 2, 2]
    # Half of the square of the amplitude, less what leaks out of the band.
    assert torch.allclose(10 ** level[:, 2], torch.tensor(0.5), rtol=0.1)


def test_a_constant_has_one_coefficient():
    patch = FastPatch(8, 1.0, 10.0, EDGES)
    slow = patch.features(torch.full((1, 1, 256), 3.0), 128.0)[0, 0, 0, : patch.n_slow]
    assert slow[0] == pytest.approx(3.0)
    assert slow[1:].abs().max() < 1e-5


@pytest.mark.parametrize("sfreq", [200.0, 256.0, 512.0])
def test_another_sampling_rate_gives_the_same_numbers(sfreq):
    patch = FastPatch(8, 1.0, 10.0, EDGES)
    made = [patch.features(sine(3.3, 4.0, r) + 0.2 * sine(17.0, 4.0, r), r) for r in (128.0, sfreq)]
    torch.testing.assert_close(made[0], made[1], atol=0.02, rtol=0.02)


def test_a_kind_adds_what_only_it_needs():
    patch = FastPatch(8, 1.0, 10.0, EDGES)
    features, kind = torch.randn(1, 3, 2, patch.n_features), torch.tensor([[0, 4, 4]])
    alike = patch(features, torch.zeros_like(kind))
    torch.testing.assert_close(patch(features, kind), alike)
    with torch.no_grad():
        patch.own_JKD[4] += 1.0
    changed = (patch(features, kind) - alike).abs().amax((0, 2, 3)) > 1e-3
    assert changed.tolist() == [False, True, True]


def test_windows_are_shared_by_as_many_steps_as_fit_best():
    assert [whole_steps(n, 100.0, 1.0) for n in (30, 149, 151, 1000)] == [1, 1, 2, 10]
    patch = FastPatch(8, 1.0, 10.0, EDGES)
    assert patch.features(torch.randn(1, 2, 151), 100.0).shape == (1, 2, 2, patch.n_features)


@pytest.mark.parametrize("frames", [7, 20, 28, 55])
def test_points_keep_constants_and_the_mean(frames):
    at = to_points(frames, 20)
    torch.testing.assert_close(torch.ones(frames) @ at, torch.ones(20))
    slow = torch.sin(torch.linspace(0, 3, frames))
    assert float((slow @ at).mean()) == pytest.approx(float(slow.mean()), abs=0.01)


@pytest.mark.parametrize("tr_s", [0.72, 1.0, 1.4, 2.0, 2.5])
def test_every_tr_gives_the_same_points(tr_s):
    patch = BoldPatch(8, 20.0, 20)
    truth = sine(0.03, 160.0, 1.0, 1.1) + 0.5 * sine(0.06, 160.0, 1.0)
    seen = patch.features(
        sine(0.03, 160.0, 1 / tr_s, 1.1) + 0.5 * sine(0.06, 160.0, 1 / tr_s), 1 / tr_s
    )
    assert seen.shape == (1, 1, 8, 20)
    likeness = torch.cosine_similarity(seen.flatten(), truth.flatten(), dim=0)
    assert float(likeness) > 0.99


def test_resized_kernels_answer_to_frames_as_to_points():
    # Slow enough that the frames of a step hold all of it.
    weights = torch.randn(5, 20)
    points = torch.cos(torch.linspace(0, 2, 20))
    frames = points @ to_points(20, 28)
    torch.testing.assert_close(
        frames @ from_frames(28, 20) @ weights.T, points @ weights.T, atol=0.05, rtol=0.02
    )


def test_an_unknown_way_to_resize_is_refused():
    with pytest.raises(ValueError, match="resize is 'crop'"):
        BoldPatch(8, 20.0, 20, "crop")


@pytest.mark.parametrize("tr_s", [0.5, 0.72, 1.4, 2.0, 3.0])
def test_a_causal_step_sees_no_frame_that_ends_after_it(tr_s):
    patch = BoldPatch(8, step_s=10.0, n_points=10, causal=True)
    n = round(40 / tr_s)
    x = torch.randn(1, 2, n, generator=torch.Generator().manual_seed(0))
    for step in range(4):
        ends = (torch.arange(n) + 1) * 40.0 / n
        later = torch.where(ends > 10.0 * (step + 1) + 1e-3, 7.0, 0.0)
        a, b = (patch.features(v, n / 40.0)[:, :, : step + 1] for v in (x, x + later))
        assert torch.equal(a, b)
    # What has ended is seen: the last frame of a step that fits, and constants stay.
    assert (patch.features(torch.ones_like(x), n / 40.0) - 1).abs().max() < 1e-6
    free = BoldPatch(8, step_s=10.0, n_points=10)
    inner = slice(0, 8)  # away from the ends of steps both are the same
    a, b = (p.features(x, n / 40.0)[:, :, 1, inner] for p in (free, patch))
    assert tr_s > 1 or torch.allclose(a, b, atol=1e-5)
