"""A step normalised as the newest of its window is that step of the normalised window."""

import numpy as np
import pytest
from detect_helpers import CAUSAL, channels

from brainfm.data.collate import batch_from_arrays
from brainfm.detect.windows import Windows, joined
from brainfm.signals.preprocess import Normalise, Preprocess
from brainfm.types import Kind

STEP, CONTEXT = 32, 4
SPECS = [
    Normalise(),
    Normalise(clip=0.5),
    Normalise(clip=None),
    Normalise("average"),
    Normalise("none", "channel_robust"),
]


def made(spec, whole=False, chans=None):
    chans = chans or channels(5)
    return Windows(chans, Preprocess(CAUSAL, spec), STEP, CONTEXT, whole)


def steps(n=7, seed=0):
    """Steps (P, C) of growing size around an offset, and the channels that are usable in each."""
    rng = np.random.default_rng(seed)
    y_SPC = 3e-5 + 1e-5 * rng.normal(size=(n, STEP, 5)) * 1.7 ** np.arange(n)[:, None, None]
    usable_SC = np.ones((n, 5), bool)
    usable_SC[2:4, 1] = False
    usable_SC[:, 3] = False
    return y_SPC, usable_SC


@pytest.mark.parametrize("spec", SPECS)
def test_a_step_is_the_newest_of_its_normalised_window(spec):
    windows, (y_SPC, usable_SC) = made(spec), steps()
    for i, (y_PC, usable_C) in enumerate(zip(y_SPC, usable_SC, strict=True)):
        found = windows.add(y_PC, usable_C, i * 0.25)
        shown = np.where(usable_SC[:, None], y_SPC, 0.0)[max(0, i - CONTEXT + 1) : i + 1]
        x_CT = np.concatenate(shown).T
        want = batch_from_arrays(x_CT[None], channels(5), CAUSAL.sfreq, spec, STEP)
        np.testing.assert_allclose(found.x_BCWP, want.x_BCWP[:, :, -1:], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.scale_BC, want.scale_BC, rtol=1e-6)
        np.testing.assert_array_equal(found.valid_BC[0], want.valid_BC[0].numpy() & usable_C)
        assert found.time_BW.tolist() == [[i * 0.25]]


def test_kinds_of_channels_have_scales_of_their_own():
    both = channels(5)
    mixed = type(both)(
        both.name, np.array([Kind.EEG] * 3 + [Kind.SEEG] * 2), both.pos_m, both.ori, both.unit
    )
    y_SPC, usable_SC = steps(1)
    y_SPC[..., 3:] *= 10
    scale_C = made(Normalise(), chans=mixed).add(y_SPC[0], usable_SC[0], 0.0).scale_BC[0]
    assert scale_C[0] == scale_C[1] and scale_C[4] > 5 * scale_C[0]


def test_a_whole_window_ends_with_its_newest_step_and_is_no_longer_than_the_context():
    windows, (y_SPC, usable_SC) = made(Normalise(), whole=True), steps()
    for i in range(6):
        batch = windows.add(y_SPC[i], usable_SC[i], float(i))
    assert batch.x_BCWP.shape == (1, 5, CONTEXT, STEP)
    np.testing.assert_allclose(batch.time_BW[0], 5 - 0.25 * np.arange(3, -1, -1))
    windows.forget()
    assert windows.add(y_SPC[0], usable_SC[0], 0.0).x_BCWP.shape[2] == 1


def test_what_is_held_is_two_numbers_a_channel_and_step_of_the_window():
    windows, (y_SPC, usable_SC) = made(Normalise()), steps(40)
    for y_PC, usable_C in zip(y_SPC, usable_SC, strict=True):
        windows.add(y_PC, usable_C, 0.0)
    assert windows.n_held == CONTEXT * 2 * 5


def test_steps_are_joined_in_order_and_each_keeps_its_scale():
    windows, (y_SPC, _) = made(Normalise()), steps(3)
    parts = [windows.add(y, np.ones(5, bool), float(i)) for i, y in enumerate(y_SPC)]
    batch, scale_BCW = joined(parts)
    assert batch.x_BCWP.shape == (1, 5, 3, STEP) and batch.time_BW.tolist() == [[0.0, 1.0, 2.0]]
    si = batch.x_BCWP * scale_BCW[..., None]
    np.testing.assert_allclose(si[0], y_SPC.transpose(2, 0, 1), rtol=1e-5, atol=1e-10)
