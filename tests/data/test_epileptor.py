"""Epileptor networks seize where they are excitable, spread with delay, and play by the clock."""

import numpy as np
import pytest

from brainfm.data.epileptor import (
    DISCHARGE,
    EPILEPTOGENIC,
    KEEP,
    STEP,
    WAVE,
    Clock,
    Network,
    integrate,
    integrate_lasting,
    play,
)
from brainfm.errors import DataError


def chain(n=6, coupling=4.0, x0=-2.15):
    """Nodes in a row, each coupled to its neighbours; the first is the focus."""
    weight = np.eye(n, k=1) + np.eye(n, k=-1)
    return Network(
        np.array([-1.6] + [x0] * (n - 1)), weight / weight.sum(1, keepdims=True), coupling
    )


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def course():
    return integrate(chain(), np.array([600.0]), rng())[0]


def test_a_seizure_spreads_along_the_chain_in_order_and_ends(course):
    assert np.all(np.diff(course.onset_N) > 0)
    assert np.all(course.offset_N > course.onset_N)
    assert course.offset_N.max() < len(course.fast_TN) - 1
    assert np.all(course.fast_TN[-1] < -1.3)


def test_every_node_rests_before_it_seizes(course):
    for node, onset in zip(course.fast_TN.T, course.onset_N.astype(int), strict=True):
        assert node[:onset].max() < -0.5


@pytest.mark.parametrize("network", [chain(coupling=0.0), chain(x0=-3.0, coupling=1.0)])
def test_a_seizure_stays_focal_where_nothing_carries_it(network):
    course = integrate(network, np.array([400.0]), rng())[0]
    assert np.isfinite(course.onset_N).tolist() == [True] + [False] * 5


def test_stronger_coupling_spreads_faster():
    def delay(coupling):
        course = integrate(chain(3, coupling), np.array([600.0]), rng())[0]
        return (course.onset_N[1] - course.onset_N[0]) * STEP * KEEP

    assert delay(6.0) < 0.8 * delay(3.0)


def test_a_network_without_a_focus_is_refused():
    with pytest.raises(DataError, match=r"x0 = -2\.10; a seizure needs one above -2\.06"):
        integrate(Network(np.full(3, -2.1), np.zeros((3, 3)), 0.0), np.array([300.0]), rng())
    assert pytest.approx(-2.062, abs=1e-3) == EPILEPTOGENIC


def test_seizures_last_as_many_units_as_asked_for():
    network = chain(4, 2.0)
    for course, units in zip(
        integrate_lasting(network, np.array([500.0, 1000.0]), rng()), (500, 1000), strict=True
    ):
        assert course.units == pytest.approx(units, rel=0.4)


def test_the_same_seed_gives_the_same_seizure():
    a, b, c = (integrate(chain(2), np.array([300.0]), rng(s))[0].slow_TN for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a[:500], c[:500])


def test_a_seizure_lasts_what_the_clock_says_and_is_silent_around(course):
    seizure = play(course, Clock(30.0, (8, 6, 3)), 128.0)
    assert seizure.offset_s - seizure.onset_s == pytest.approx(30.0, abs=0.05)
    assert seizure.onset_N.argmin() == 0 and len(seizure.field_TN) == pytest.approx(40 * 128, abs=2)
    assert np.abs(seizure.field_TN[-128:]).max() < 0.05
    assert np.abs(seizure.field_TN[:64]).max() < 0.05
    during = seizure.field_TN[5 * 128 : 35 * 128]
    assert during.std(0).max() == pytest.approx(1, abs=0.05)


def test_nodes_that_never_join_are_silent():
    course = integrate(chain(coupling=0.0), np.array([400.0]), rng())[0]
    seizure = play(course, Clock(20.0, (8, 6, 3)), 128.0)
    assert not seizure.field_TN[:, 1:].any() and np.isnan(seizure.onset_N[1:]).all()


@pytest.mark.parametrize(("hz", "period", "wave"), [(7.0, DISCHARGE, 0.5), (3.0, WAVE, 5.0)])
def test_discharges_come_at_the_rate_of_the_clock(hz, period, wave):
    from scipy.signal import welch

    clock = Clock(12.0, (hz, hz, hz), period=period, wave=wave)
    lone = Network(np.array([-1.6]), np.zeros((1, 1)), 0.0)
    course = integrate_lasting(lone, np.array([clock.units()]), rng())[0]
    field_T = play(course, clock, 128.0).field_TN[5 * 128 : 13 * 128, 0]
    f, power = welch(field_T, 128.0, nperseg=512)
    assert f[power.argmax()] == pytest.approx(hz, rel=0.3)


def test_the_rhythm_slows_as_told(course):
    from scipy.signal import welch

    field_T = play(course, Clock(40.0, (9, 7, 2.5), wave=0.3), 128.0).field_TN.sum(1)

    def centre(start):
        f, power = welch(field_T[int(start * 128) : int((start + 10) * 128)], 128.0, nperseg=256)
        return (f * power).sum() / power.sum()

    assert centre(10) > 1.4 * centre(34)
