"""The engine: the same for any cut, blind to the future, and honest about missing signal."""

import numpy as np
import pytest
import torch
from detect_helpers import CAUSAL, LOOKS_AHEAD, LineLength, channels, patient

from brainfm.data.collate import batch_from_arrays
from brainfm.detect.alarms import alarms
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.detect.engine import Engine
from brainfm.errors import ContractError, DataError
from brainfm.models.mvpformer import MVPFormerConfig
from brainfm.signals.filters import apply_recipe
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.types import Event, Kind

NOTHING = np.empty((0, 4))


def run(detector, x_TC, sfreq=256.0, sizes=(1000,), chans=None, **more):
    """All probabilities, pushing pieces of these sizes in turn."""
    engine = Engine(detector, chans or channels(x_TC.shape[1]), sfreq, **more)
    found, at, k = [], 0, 0
    while at < len(x_TC):
        found.append(engine.push(x_TC[at : at + sizes[k % len(sizes)]]))
        at, k = at + sizes[k % len(sizes)], k + 1
    return np.concatenate([*found, engine.finish()])


def prepared(recipe, x_TC, sfreq, **more):
    """The samples that a detector is given."""
    seen = []
    run(LineLength(recipe), x_TC, sfreq, watch=lambda at, y_TC: seen.append(y_TC), **more)
    return np.concatenate(seen)


def real_detector(recipe=CAUSAL, **encoder):
    torch.manual_seed(0)
    config = MVPFormerConfig(preset="test", band=4, **encoder)
    return SeizureDetector(SeizureDetectorConfig(config, context=6), Preprocess(recipe))


@pytest.mark.parametrize("streams", [True, False])
def test_a_seizure_is_found_where_it_is(streams):
    p_S = run(LineLength(streams=streams), patient())
    assert len(p_S) == 60
    (event,) = alarms(p_S, 1.0)
    assert event.onset_s == pytest.approx(30, abs=5) and event.label == "sz"


@pytest.mark.parametrize("recipe", [CAUSAL, LOOKS_AHEAD])
@pytest.mark.parametrize("streams", [True, False])
def test_the_cut_into_pieces_changes_nothing(recipe, streams):
    detector = LineLength(recipe, streams)
    x_TC = patient(seconds=100)
    whole = run(detector, x_TC, sizes=(len(x_TC),))
    cut = run(detector, x_TC, sizes=(1, 300, 77, 5000))
    np.testing.assert_allclose(cut, whole, atol=1e-6)
    assert len(whole) == 100


def test_the_cut_changes_nothing_for_an_encoder_that_streams():
    x_TC = patient(seconds=12)
    detector = real_detector()
    detector.encoder.encoder.amplitude.weight.data.normal_()
    # One channel falls out and comes back; the amplifier is turned up: scale and channels change.
    x_TC[4 * 256 : 6 * 256, 1] = 0.0
    x_TC[8 * 256 :] *= 20
    a, b = (
        run(detector, x_TC, sizes=s, intervals_s=[(0, 9), (9, 12)]) for s in ((9999,), (17, 64))
    )
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert len(a) == 48 and np.isfinite(a).all() and a.std() > 0.01


def test_steps_that_come_together_are_asked_about_together():
    asked = []
    detector = LineLength()
    detector.advance = lambda batch, past, scale_BCW: (
        asked.append(batch.x_BCWP.shape[2]),
        LineLength.advance(detector, batch, past, scale_BCW),
    )[1]
    run(detector, patient(seconds=40), sizes=(40 * 256,))
    assert asked == [32, 8]


def test_a_step_is_answered_with_its_last_sample():
    engine = Engine(LineLength(), channels(4), 128.0)
    x_TC = patient(128.0, seconds=2)
    assert [len(engine.push(x)) for x in np.split(x_TC, [127, 128, 255])] == [0, 1, 0, 1]


@pytest.mark.parametrize("encoder", [{}, {"time_rows": "from_end"}])
def test_the_future_changes_no_probability_that_was_given(encoder):
    detector, x_TC = real_detector(**encoder), patient(seconds=10)
    other_TC = x_TC.copy()
    other_TC[5 * 256 :] = np.roll(x_TC, 3, 1)[5 * 256 :] * -4
    a, b = run(detector, x_TC), run(detector, other_TC)
    np.testing.assert_array_equal(a[:20], b[:20])
    assert not np.allclose(a[20:], b[20:])


def test_streaming_says_what_a_training_window_that_ends_now_says():
    """As long as the window holds everything there was, whatever the amplitude did meanwhile."""
    detector, x_TC = real_detector(), patient(128.0, seconds=1.5, seizure=(0.5, 1))
    detector.encoder.encoder.amplitude.weight.data.normal_()
    streamed = Engine(detector, channels(4)).push(x_TC)
    window = batch_from_arrays(x_TC.T[None], channels(4), 128.0, Normalise(), 32)
    # Not to rounding: the norm of a token has a floor, and so feels the scale a little.
    np.testing.assert_allclose(streamed, detector.probabilities(window)[0], atol=1e-3)
    assert streamed.std() > 0.05


def test_filters_that_look_ahead_give_in_blocks_what_they_give_at_once():
    import mne

    x_TC = patient(seconds=300)
    raw = mne.io.RawArray(x_TC.T, mne.create_info(4, 256.0, "eeg"), verbose="ERROR")
    for recipe in (LOOKS_AHEAD, Recipe(sfreq=256.0, highpass_hz=0.1, lowpass_hz=96.0)):
        found = prepared(recipe, x_TC, 256.0, sizes=(333, 4000), line_freq=50.0)
        whole = apply_recipe(raw, recipe, 50.0)[0].get_data().T
        inside = slice(5000, -5000)
        assert len(found) == len(whole)
        np.testing.assert_allclose(found[inside], whole[inside], atol=1e-6 * whole.std())
        # At the ends of the file both pad, and know another line to pad along.
        np.testing.assert_allclose(found, whole, atol=1e-4 * whole.std())


def test_at_a_ratio_that_is_no_whole_number_blocks_differ_by_less_than_a_thousandth():
    import mne

    x_TC = patient(200.0, seconds=150) + 1e-3
    raw = mne.io.RawArray(x_TC.T, mne.create_info(4, 200.0, "eeg"), verbose="ERROR")
    found = prepared(LOOKS_AHEAD, x_TC, 200.0, line_freq=50.0)
    whole = apply_recipe(raw, LOOKS_AHEAD, 50.0)[0].get_data().T
    np.testing.assert_allclose(found, whole, atol=1e-3 * whole.std())


def test_memory_does_not_grow_with_the_recording():
    engine = Engine(LineLength(LOOKS_AHEAD), channels(4), 256.0)

    def held():
        arrays = [engine._raw_TC, engine._prepared_TC, engine._filter.kept_TC]
        return sum(a.size for a in arrays) + engine._windows.n_held + len(engine._usable)

    sizes = []
    for k in range(60):
        engine.push(patient(seconds=20, seed=k))
        sizes.append(held())
    assert max(sizes[10:]) <= max(sizes[:10])


KINDS = ("flat", "nan", "clipped", "too small")


def broken(kind):
    """A minute in which every channel is broken from 20 s to 40 s."""
    x_TC = patient(seizure=(0, 0))
    bad = slice(20 * 256, 40 * 256)
    if kind == "flat":
        x_TC[bad] = 1e-4
    elif kind == "nan":
        x_TC[bad] = np.nan
    elif kind == "clipped":
        x_TC[bad] = np.clip(50 * x_TC[bad], -2e-4, 2e-4)
    elif kind == "too small":
        x_TC[bad] *= 1e-5
    return x_TC


@pytest.mark.parametrize(
    ("kind", "detector"),
    [(k, LineLength(streams=s)) for k in KINDS for s in (True, False)] + [("nan", real_detector())],
)
def test_a_broken_signal_is_no_signal_and_never_no_seizure(kind, detector):
    p_S = run(detector, broken(kind))
    # A channel that comes back is believed when the 0.5 Hz high-pass has settled.
    bad = slice(int(20 / detector.step_s), int(42 / detector.step_s))
    assert np.isnan(p_S[bad]).all()
    assert np.isfinite(np.delete(p_S, np.r_[bad])).all()


def test_coming_back_at_another_offset_is_no_alarm():
    x_TC = broken("flat")
    x_TC[40 * 256 :] += 5e-3
    p_S = run(LineLength(), x_TC)
    assert np.nanmax(p_S) < 0.2 and np.isfinite(p_S[42:]).all()


def test_one_broken_channel_neither_silences_nor_moves_the_others():
    x_TC = patient()
    alone = run(LineLength(), x_TC[:, 1:])
    x_TC[:, 0] = np.clip(1e3 * x_TC[:, 0], -2e-3, 2e-3)
    np.testing.assert_allclose(run(LineLength(), x_TC), alone, atol=1e-6)
    x_TC[:, :3] = 0
    assert np.isnan(run(LineLength(), x_TC)).all()


def test_a_slow_wave_in_coarse_steps_is_not_called_clipped():
    t = np.arange(60 * 256) / 256
    x_TC = 1e-6 * np.round(50 * np.sin(2 * np.pi * 0.7 * t))[:, None].repeat(4, 1)
    assert np.isfinite(run(LineLength(), x_TC)).all()


def beginnings(x_TC, **more):
    """Probabilities, and the steps at which the detector remembered nothing, in pushed blocks."""
    detector, begun = LineLength(), []

    def advance(batch, past, scale_BCW):
        if past is None:
            begun.append(float(batch.time_BW[0, 0]))
        return LineLength.advance(detector, batch, past, scale_BCW)

    detector.advance = advance
    return run(detector, x_TC, **more), begun


@pytest.mark.parametrize("sizes", [(100,), (99_999,)])
def test_nothing_is_remembered_across_the_ends_of_stretches(sizes):
    p_S, begun = beginnings(patient(), intervals_s=[(0, 10.5), (20, 60)], sizes=sizes)
    assert np.isnan(p_S[10:20]).all() and np.isfinite(np.delete(p_S, np.r_[10:20])).all()
    assert begun == [0.0, 20.0]


def test_two_stretches_that_touch_are_two():
    assert beginnings(patient(seconds=6), intervals_s=[(0, 3), (3, 6)])[1] == [0.0, 3.0]


def test_a_gap_in_time_is_no_signal_and_the_grid_goes_on():
    engine = Engine(LineLength(), channels(4), 256.0, causal=True)
    x_TC = patient(seizure=(50, 56))
    a = engine.push(x_TC[: 256 * 10 + 100])
    b = engine.gap(20.0)
    c = engine.push(x_TC[256 * 30 + 100 :])
    p_S = np.concatenate([a, b, c])
    assert len(p_S) == 60
    assert np.isnan(p_S[10:31]).all() and np.isfinite(p_S[31:]).all()
    (event,) = alarms(p_S, 1.0)
    assert event == Event(pytest.approx(52, abs=4), pytest.approx(6, abs=4), "sz")
    with pytest.raises(DataError, match="jumps back by 5 s"):
        engine.gap(-5.0)


def test_filters_that_look_ahead_are_refused_in_causal_mode_in_one_sentence():
    with pytest.raises(ContractError, match="look ahead are refused in causal mode") as refusal:
        Engine(LineLength(LOOKS_AHEAD), channels(4), 256.0, causal=True, where="runs/x")
    assert "runs/x" in str(refusal.value) and "--causal" in str(refusal.value)


def test_hearts_are_left_out_with_a_note_and_nothing_else_is_refused():
    a, b = channels(4), channels(2, Kind.ECG, ["ECG1", "ECG2"])
    both = a.__class__(
        (*a.name, *b.name), np.r_[a.kind, b.kind], np.r_[a.pos_m, b.pos_m], np.r_[a.ori, b.ori],
        (*a.unit, *b.unit),
    )  # fmt: skip
    engine = Engine(LineLength(), both, 256.0)
    assert engine.channels.name == a.name and "ECG1" in engine.notes[0]
    assert np.isfinite(engine.push(np.c_[patient(), np.zeros((60 * 256, 2))])).all()
    with pytest.raises(DataError, match="none of its 2 channels"):
        Engine(LineLength(), b, 256.0)


def test_a_detector_that_says_nan_of_a_good_signal_is_damaged():
    detector = LineLength(half=float("nan"))
    with pytest.raises(ContractError, match="weights are damaged"):
        run(detector, patient())


def test_nothing_pushed_is_nothing_found():
    engine = Engine(LineLength(), channels(4), 256.0)
    assert engine.push(NOTHING).shape == engine.finish().shape == (0,)
