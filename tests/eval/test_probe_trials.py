"""Sealed test trials: nothing reads them before everything is fitted, and then once."""

import numpy as np
import pytest

from brainfm.data.synthetic import synthetic_store
from brainfm.errors import ContractError, DataError
from brainfm.signals.preprocess import Recipe
from eval.probe.align import EuclideanAlignment, unitless
from eval.probe.trials import ProbeSpec, folds_of, spec_of


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return synthetic_store(
        tmp_path_factory.mktemp("probe"),
        classes=("a", "b"),
        kinds=("EEG",),
        n_subjects=5,
        recipe=Recipe(sfreq=64.0, lowpass_hz=24.0),
    )


@pytest.fixture
def spied(store, monkeypatch):
    """The store, and the recordings that were read from it."""
    seen: list[int] = []
    read = store.read

    def spy(ref):
        seen.append(ref.recording)
        return read(ref)

    monkeypatch.setattr(store, "read", spy)
    return store, seen


def rows_of_test(store) -> set[int]:
    return set(np.flatnonzero(store.recordings["split"] == "test").tolist())


def test_making_folds_reads_no_test_trial(spied):
    store, seen = spied
    fold = next(folds_of(store, spec_of("simulated_eeg")))
    assert seen and not set(seen) & rows_of_test(store)
    fold.test.open({"route": {0: object()}})
    assert set(seen) & rows_of_test(store)


def test_the_seal_breaks_once(store):
    fold = next(folds_of(store, spec_of("simulated_eeg")))
    fold.test.open({"route": {0: object()}})
    with pytest.raises(ContractError, match="read before"):
        fold.test.open({"route": {0: object()}})


@pytest.mark.parametrize("fitted", [{}, {"route": {}}])
def test_the_seal_stays_until_every_route_is_fitted(store, fitted):
    fold = next(folds_of(store, spec_of("simulated_eeg")))
    with pytest.raises(ContractError, match="sealed"):
        fold.test.open(fitted)


def test_train_and_val_are_for_training(store):
    fold = next(folds_of(store, spec_of("simulated_eeg")))
    assert set(fold.train.group_N) == {
        f"simulated_eeg/sub-{i}.safetensors" for i in ("02", "03", "04")
    }
    assert fold.left_out == 10, "the first subject has fewer sensors"
    assert fold.train.x_NCT.shape == (30, 19, 128)
    assert fold.train.classes == ("a", "b")


def test_leave_one_run_out_tests_every_run_once(store):
    spec = ProbeSpec("simulated_eeg", split="leave-one-run-out")
    folds = list(folds_of(store, spec))
    assert len(folds) == 4
    for fold in folds:
        test = fold.test.open({"route": {0: object()}})
        assert set(test.group_N) == {fold.name}
        assert fold.name not in set(fold.train.group_N)


def test_a_shorter_window_takes_the_first_seconds(store):
    whole = next(folds_of(store, ProbeSpec("simulated_eeg")))
    short = next(folds_of(store, ProbeSpec("simulated_eeg", seconds=1.0)))
    assert np.array_equal(short.train.x_NCT, whole.train.x_NCT[:, :, :64])


def test_an_absent_data_set_is_refused_with_what_there_is(store):
    with pytest.raises(DataError, match=r"aeon_hmd.*simulated_eeg"):
        next(folds_of(store, spec_of("HandMovementDirection")))


def test_one_class_is_no_probe(store):
    with pytest.raises(DataError, match="at least two"):
        next(folds_of(store, ProbeSpec("simulated_eeg", labels=("a",))))


def test_alignment_makes_sensors_uncorrelated_on_average(store):
    train = next(folds_of(store, spec_of("simulated_eeg"))).train
    align = EuclideanAlignment(shrink=0.0).fit(train.x_NCT, train.channels)
    x = train.x_NCT / train.x_NCT.std((1, 2), keepdims=True)
    y = np.einsum("dc,nct->ndt", align.matrix_CC, x)
    c = np.einsum("nct,ndt->cd", y, y) / (len(y) * y.shape[2])
    assert np.allclose(c, np.eye(len(c)), atol=1e-3)
    assert np.allclose(align.matrix_CC, align.matrix_CC.T)


def test_alignment_ignores_the_unit_and_survives_a_dead_channel(store):
    train = next(folds_of(store, spec_of("simulated_eeg"))).train
    a, b = (EuclideanAlignment().fit(s * train.x_NCT, train.channels) for s in (1.0, 1e6))
    assert np.allclose(a.matrix_CC, b.matrix_CC, rtol=1e-3, atol=1e-4)
    dead = train.x_NCT.copy()
    dead[:, 3] = 0
    assert np.isfinite(EuclideanAlignment().fit(dead, train.channels).transform(dead)).all()
    assert set(unitless(train.channels).unit) == {"au"}
