"""Runs of simulated heads: one activity in four kinds of recording, with the truth beside it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from brainfm.data.activity import CLASSES, Experiment, pattern
from brainfm.data.anatomy import Head, HeadConfig
from brainfm.data.haemodynamics import BASE_AU, Scanner
from brainfm.data.simulated_heads import DATASET, Devices, run, simulate
from brainfm.errors import DataError
from brainfm.types import Kind

pytest.importorskip("nilearn")
KINDS = ("EEG", "MEG", "SEEG", "BOLD")
QUIET = Devices(noise=0.0)
FAST = Devices(scanner=Scanner(tr_s=1.0))


@lru_cache
def head(seed=0):
    return Head(seed, HeadConfig(cap="biosemi64", helmet="ctf"))


@lru_cache
def long_run():
    return run(head(), 300.0, KINDS, devices=FAST)


def power(recording, events, low, high, seconds=3.0):
    """Logarithm of band power of each channel in each event, (E, C)."""
    n = int(seconds * recording.sfreq)
    hz = np.fft.rfftfreq(n, 1 / recording.sfreq)
    out = []
    for e in events:
        at = round(e.onset_s * recording.sfreq)
        spectrum = np.abs(np.fft.rfft(recording.signal[at : at + n], axis=0)) ** 2
        out.append(np.log(spectrum[(hz >= low) & (hz < high)].mean(0)))
    return np.array(out)


def score(features, labels):
    """Share that a ridge classifier gets right of the fifth it was not fitted on."""
    names = sorted(set(labels))
    target = np.array([[label == name for name in names] for label in labels], float)
    fold = np.random.default_rng(0).permutation(len(labels)) % 5
    right = []
    for k in range(5):
        train = fold != k
        x = (features - features[train].mean(0)) / features[train].std(0)
        inner = x[train] @ x[train].T
        weight = np.linalg.solve(
            inner + 0.5 * np.trace(inner) / len(inner) * np.eye(len(inner)), target[train] - 0.25
        )
        right += list((x[~train] @ x[train].T @ weight).argmax(1) == target[~train].argmax(1))
    return np.mean(right)


def decoded(recording):
    events = [e for e in recording.events if e.label in CLASSES]
    if recording.is_bold:
        time = np.linspace(-1, 1, len(recording.signal))
        slow = np.polynomial.legendre.legvander(time, 5)
        x = recording.signal - slow @ np.linalg.lstsq(slow, recording.signal, rcond=None)[0]
        events = [e for e in events if (e.onset_s + 8) * recording.sfreq < len(x)]
        first = [int(np.ceil((e.onset_s + 4) * recording.sfreq)) for e in events]
        features = np.array([x[a : a + int(4 * recording.sfreq)].mean(0) for a in first])
    else:
        bands = ((3, 8), (13, 30), (30, 60))
        features = np.concatenate([power(recording, events, *b) for b in bands], 1)
    return score(features, [e.label for e in events])


def test_simultaneous_recordings_share_a_clock_and_say_simulated():
    made = simulate([head(0), head(1)], 12.0, KINDS, seed=5, session="a")
    assert [r.subject for r in made] == ["sim000"] * 4 + ["sim001"] * 4
    assert len({r.clock for r in made[:4]}) == 1 and made[0].clock != made[4].clock
    for r in made:
        assert r.dataset == DATASET and r.notes[0].startswith("SIMULATED: ")
        assert np.isfinite(r.signal).all() and r.signal.dtype == np.float32
        assert r.duration_s == pytest.approx(12, abs=2) and r.session == "a"
    assert len({r.name for r in made}) == 8
    (other,) = simulate([head(0)], 12.0, ["BOLD"], seed=6, session="a")
    assert other.clock != made[0].clock


def test_every_recording_states_the_transform_between_its_frames():
    for recording in simulate([head(1)], 9.0, (*KINDS, "ECOG")):
        (note,) = [n for n in recording.notes if "MNI152 to this head" in n]
        rows = [[float(v) for v in row.split()] for row in note.split("metres: ")[1].split(",")]
        assert np.allclose(rows, head(1).head_from_mni[:3], atol=1e-5)


def test_one_seed_gives_the_same_bytes_and_another_does_not():
    again, other = (simulate([Head(7)], 9.0, KINDS, seed=s) for s in (1, 2))
    for a, b, c in zip(simulate([Head(7)], 9.0, KINDS, seed=1), again, other, strict=True):
        assert a.signal.tobytes() == b.signal.tobytes() and a.events == b.events
        assert a.signal.tobytes() != c.signal.tobytes()


def test_a_kind_does_not_depend_on_what_else_was_recorded():
    alone = simulate([head()], 9.0, ["SEEG"])[0]
    among = simulate([head()], 9.0, KINDS)[2]
    assert np.array_equal(alone.signal, among.signal)


def test_without_noise_sensors_see_the_activity_through_the_gain_and_nothing_else():
    made = run(head(), 6.0, KINDS, devices=QUIET)
    moment = made.truth.activity.moment_PT
    eeg, meg, seeg, bold = made.recordings
    for recording, kind in ((meg, "MEG"), (seeg, "SEEG")):
        want = (head().gain(kind) @ moment).T
        assert np.allclose(recording.signal, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
    volts = head().gain("EEG") @ moment
    assert np.allclose(eeg.signal, (volts - volts.mean(0)).T, atol=1e-9)
    percent = 100 * (bold.signal / BASE_AU - 1)
    assert np.abs(percent).max() > 0.1 and not [e for e in bold.events if e.label == "motion"]


def test_amplitudes_are_those_of_real_sensors():
    every = Head(0, HeadConfig(helmet="vectorview"))
    for recording in run(every, 20.0, (*KINDS, "ECOG"), devices=FAST).recordings:
        size = {k: recording.signal[:, recording.channels.kind == k].std(0) for k in Kind}
        for kind, low, high in (
            (Kind.EEG, 5e-6, 40e-6),
            (Kind.MAG, 1e-13, 1e-12),
            (Kind.GRAD, 2e-12, 3e-11),
            (Kind.SEEG, 1e-5, 2e-4),
            (Kind.ECOG, 1e-5, 2e-4),
            (Kind.BOLD, 2.0, 30.0),
        ):
            if size[kind].size:
                assert low < np.median(size[kind]) < high, kind


def test_eeg_has_the_average_reference():
    eeg = long_run().recordings[0]
    assert np.abs(eeg.signal.mean(1)).max() < 1e-3 * eeg.signal.std()


def test_events_are_at_one_time_on_the_shared_clock():
    eeg, _, _, bold = long_run().recordings
    assert bold.start_s == 0.5 and eeg.start_s == 0
    seen = {
        round(r.start_s + e.onset_s, 6) for r in (bold,) for e in r.events if e.label in CLASSES
    }
    assert seen == {round(e.onset_s, 6) for e in eeg.events}
    assert long_run().truth.activity.events == eeg.events


def test_dummies_move_the_start_of_fmri_and_not_its_events():
    late = replace(FAST, scanner=Scanner(tr_s=2.0, dummies=4))
    made = run(head(), 40.0, ("EEG", "BOLD"), devices=late)
    eeg, bold = made.recordings
    assert bold.start_s == 9.0 and len(bold.signal) == 16 and bold.sfreq == 0.5
    heard = [e.onset_s + 9.0 for e in bold.events if e.label in CLASSES]
    assert heard == pytest.approx([e.onset_s for e in eeg.events if e.onset_s >= 9.0])


def test_classes_come_equally_often_and_do_not_overlap():
    events = long_run().truth.activity.events
    many = [sum(e.label == c for e in events) for c in Experiment().classes]
    assert max(many) - min(many) <= 1 and sum(many) > 30
    assert all(b.onset_s - a.onset_s >= 6 for a, b in zip(events, events[1:], strict=False))


@pytest.mark.parametrize("kind", range(4), ids=KINDS)
def test_classes_can_be_told_apart_but_not_by_everything_and_always(kind):
    right = decoded(long_run().recordings[kind])
    assert right > 0.4, "chance is a quarter"
    if kind == 0:
        assert right < 0.98


def test_a_grid_tells_apart_what_happens_beneath_it():
    (grid,) = run(Head(301), 240.0, ("ECOG",)).recordings
    assert decoded(grid) > 0.5


def test_without_an_effect_nothing_can_be_told_apart():
    made = run(head(), 300.0, ("EEG", "BOLD"), experiment=Experiment(effect=0.0), devices=FAST)
    assert max(decoded(r) for r in made.recordings) < 0.45


def test_classes_act_where_they_are_said_to_act():
    truth = long_run().truth
    for name in Experiment().classes:
        peak = head().cortex.parcel_m[pattern(head(), name, CLASSES[name]).argmax()]
        assert np.linalg.norm(peak - np.array(CLASSES[name]), axis=1).min() < 0.03
        on = [e.onset_s for e in truth.activity.events if e.label == name]
        off = [e.onset_s for e in truth.activity.events if e.label != name]
        level = [
            np.mean([truth.drive_PT[:, int(10 * t) : int(10 * t) + 30] for t in which], (0, 2))
            for which in (on, off)
        ]
        best = (level[0] - level[1]).argmax()
        assert pattern(head(), name, CLASSES[name])[best] > 0.5


def test_bold_lags_the_power_of_the_currents_by_the_true_lag():
    made = long_run()
    bold, truth = made.recordings[3], made.truth
    assert 4 <= truth.lag_s <= 6
    at = bold.start_s + np.arange(len(bold.signal))
    steps = np.arange(truth.drive_PT.shape[1]) / 10
    lags = np.arange(0, 12, 0.5)
    alike = []
    for lag in lags:
        earlier = np.stack([np.interp(at - lag, steps, row) for row in truth.drive_PT], 1)[15:]
        alike.append(
            np.mean(
                [
                    np.corrcoef(a, b)[0, 1]
                    for a, b in zip(earlier.T, bold.signal[15:].T, strict=True)
                ]
            )
        )
    assert lags[int(np.argmax(alike))] == pytest.approx(truth.lag_s, abs=1.0)


@pytest.mark.parametrize("kind", [0, 1], ids=["EEG", "MEG"])
def test_the_lag_can_be_found_from_sensors_alone(kind):
    made = run(
        head(), 400.0, (KINDS[kind], "BOLD"), devices=FAST, experiment=Experiment(effect=2.0)
    )
    fast, bold = made.recordings
    # Power above 30 Hz every half second, and the principal course of the frames.
    n = int(fast.sfreq / 2)
    x = fast.signal[: len(fast.signal) // n * n].reshape(-1, n, len(fast.channels))
    hz = np.fft.rfftfreq(n, 1 / fast.sfreq)
    course = np.log(
        (np.abs(np.fft.rfft(x, axis=1)) ** 2)[:, (hz > 28) & (hz < 62) & (hz != 50)].mean(1)
    ).mean(1)
    blood = bold.signal.mean(1)
    at, lags = bold.start_s + np.arange(len(blood)), np.arange(0, 12, 0.5)
    alike = []
    for lag in lags:
        earlier = np.interp(at - lag, 0.25 + np.arange(len(course)) / 2, course)
        alike.append(np.corrcoef(earlier[15:], blood[15:])[0, 1])
    assert 4 <= lags[int(np.argmax(alike))] <= 6.5


def test_frames_of_two_trs_tell_of_the_same_blood():
    seen = []
    for tr_s in (0.72, 1.0, 2.0):
        quiet = Devices(noise=0.0, scanner=Scanner(tr_s=tr_s))
        made = run(head(), 60.0, ("BOLD",), devices=quiet)
        (bold,) = made.recordings
        at = bold.start_s + np.arange(len(bold.signal)) / bold.sfreq
        time = np.arange(5, 55, 0.5)
        seen.append(np.stack([np.interp(time, at, c) - BASE_AU for c in bold.signal.T]).ravel())
    for other in seen[1:]:
        assert other @ seen[0] / np.linalg.norm(other) / np.linalg.norm(seen[0]) > 0.98


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda: simulate([head()], 9.0, ["EEG", "PET"]), "no simulated 'PET'"),
        (lambda: Experiment(classes=("face", "smell")), "no class 'smell'"),
        (lambda: run(head(), 20.0, experiment=Experiment(seizure=True)), "at least 30 s"),
        (lambda: simulate([head()], 1.0, ["BOLD"]), "hold no frame"),
        (lambda: Experiment(trial_s=0.1), "events take 0.6 s or more"),
        (lambda: Experiment(pause_s=(5.0, 3.0)), "with pauses of 5 to 3 s"),
        (lambda: simulate([head()], 9.0, devices=Devices(sfreq=100.0)), "120 Hz or more"),
        (lambda: Scanner(tr_s=2000.0), "divide milliseconds"),
        (lambda: Scanner(dummies=-1), "-1 dummies"),
    ],
)
def test_what_cannot_be_simulated_is_refused(ask, why):
    with pytest.raises(DataError, match=why):
        ask()
