"""What simulated cortex does: rhythms in their places, rest that tells heads apart, sounds,
seizures."""

from functools import lru_cache

import numpy as np
import pytest

from brainfm.data.activity import CLASSES, RHYTHMS, Experiment, act, pattern
from brainfm.data.anatomy import Head, HeadConfig
from brainfm.data.haemodynamics import Scanner
from brainfm.data.simulated_heads import Devices, run

pytest.importorskip("nilearn")
FAST = Devices(scanner=Scanner(tr_s=1.0))


@lru_cache
def head(seed=0):
    return Head(seed, HeadConfig(cap="biosemi64", helmet="ctf"))


def test_alpha_is_strongest_at_the_back_and_each_head_has_its_own():
    found = []
    for seed in (0, 1, 2):
        rest = run(head(seed), 60.0, ("EEG",), experiment=Experiment(classes=())).recordings[0]
        spectrum = np.abs(np.fft.rfft(rest.signal, axis=0)) ** 2
        hz = np.fft.rfftfreq(len(rest.signal), 1 / rest.sfreq)
        share = spectrum[(hz > 8) & (hz < 12)].sum(0) / spectrum[(hz > 1) & (hz < 40)].sum(0)
        front = rest.channels.pos_m[:, 1]
        assert (
            share[front < np.quantile(front, 0.2)].mean()
            > 1.3 * share[front > np.quantile(front, 0.8)].mean()
        )
        back = spectrum[:, front < np.quantile(front, 0.2)].mean(1)
        smooth = np.convolve(back, np.full(60, 1 / 60), "same")
        inside = (hz > 7.5) & (hz < 12.5)
        found.append(hz[inside][smooth[inside].argmax()])
    low, high = RHYTHMS["alpha"][1]
    assert low - 1 <= min(found) and max(found) <= high + 1 and np.ptp(found) > 0.2


def test_rest_is_one_over_f_and_neighbours_resemble_each_other():
    moment = act(head(), 60.0, 0, Experiment(classes=(), rhythms=0.0), 256.0).moment_PT
    spectrum = (np.abs(np.fft.rfft(moment, axis=1)) ** 2).mean(0)
    hz = np.fft.rfftfreq(moment.shape[1], 1 / 256)
    usual = [spectrum[(hz > a) & (hz < 2 * a)].mean() for a in (2, 4, 8, 16, 32)]
    slope = np.polyfit(np.log2([2, 4, 8, 16, 32]), np.log2(usual), 1)[0]
    assert -1.8 < slope < -0.8
    alike = np.corrcoef(moment)
    apart = np.linalg.norm(head().cortex.parcel_m[:, None] - head().cortex.parcel_m[None], axis=-1)
    assert alike[(apart > 0) & (apart < 0.025)].mean() > 0.4 > alike[apart > 0.06].mean() + 0.2


def test_mirror_images_resemble_each_other_more_than_what_is_as_far_away():
    moment = act(head(), 60.0, 0, Experiment(classes=(), rhythms=0.0), 256.0).moment_PT
    alike, place = np.corrcoef(moment), head().cortex.parcel_m
    apart = np.linalg.norm(place[:, None] - place[None], axis=-1)
    across = np.linalg.norm(place[:, None] - place[None] * (-1, 1, 1), axis=-1)
    far = (apart > 0.06) & (np.abs(place[:, :1]) > 0.03)
    assert alike[far & (across < 0.012)].mean() > alike[far & (across > 0.05)].mean() + 0.15


def test_two_runs_of_a_head_are_more_alike_than_runs_of_two_heads():
    """Functional connectivity of frames tells heads apart, as in people."""
    rest, scanner = Experiment(classes=()), Devices(noise=0.3, scanner=FAST.scanner)
    upper = np.triu_indices(82, 1)
    fc = {}
    for seed in (0, 1, 2):
        for k in (0, 1):
            (bold,) = run(
                head(seed), 400.0, ("BOLD",), k, experiment=rest, devices=scanner
            ).recordings
            fc[seed, k] = np.corrcoef(bold.signal.T)[upper]
    for seed in (0, 1, 2):
        alike = [np.corrcoef(fc[seed, 0], fc[other, 1])[0, 1] for other in (0, 1, 2)]
        assert np.argmax(alike) == seed


def test_sound_is_a_stimulus_that_auditory_cortex_follows_a_tenth_of_a_second_later():
    made = run(head(), 60.0, ("EEG", "BOLD"), experiment=Experiment((), sound=True), devices=FAST)
    eeg, bold = made.recordings
    envelope = eeg.stimulus["envelope"]
    assert envelope.rate_hz == 64 and envelope.values_NF.shape == (60 * 64, 1)
    ear = made.truth.activity.moment_PT[pattern(head(), "sound", CLASSES["tone"]).argmax()]
    loud = np.interp(np.arange(len(ear)) / 256, np.arange(60 * 64) / 64, envelope.values_NF[:, 0])
    alike = [np.corrcoef(ear[k:], loud[: len(loud) - k])[0, 1] for k in range(0, 77)]
    assert np.argmax(alike) / 256 == pytest.approx(0.1, abs=0.02) and max(alike) > 0.3
    assert np.array_equal(bold.stimulus["envelope"].values_NF, envelope.values_NF[32:])


def test_a_seizure_starts_at_a_temporal_focus_and_is_annotated():
    made = run(head(2), 60.0, ("SEEG",), experiment=Experiment((), seizure=True))
    (event,) = made.recordings[0].events
    assert event.label == "sz" and 10 < event.duration_s < 30 and 20 < event.onset_s < 30
    moment = made.truth.activity.moment_PT
    start, stop = (int(256 * t) for t in (event.onset_s, event.onset_s + event.duration_s))
    ratio = moment[:, start:stop].std(1) / moment[:, :start].std(1)
    assert ratio.max() > 3
    early = moment[:, start : start + 768].std(1) / moment[:, :start].std(1)
    focus = head(2).cortex.parcel_m[early.argmax()]
    assert abs(focus[0]) > 0.03 and focus[2] < 0.02
