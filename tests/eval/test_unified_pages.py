"""One encoder judged kind by kind: trials inside recordings, alignment, twins, a whole run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_store
from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Event, Kind
from eval.unified.__main__ import main, probe
from eval.unified.across import alike_at_trs, lag_of, matched, retrieve, sources
from eval.unified.features import classical, of_encoder, random_twin
from eval.unified.trials import by_recording, read_trials

RECIPE = Recipe(sfreq=64.0, lowpass_hz=30.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("unified")
    return synthetic_store(
        root, n_subjects=5, seconds=60.0, recipe=RECIPE, kinds=("EEG",), classes=("a", "b")
    )


def encoder(**settings):
    torch.manual_seed(0)
    made = UnifiedEncoder(UnifiedEncoderConfig(preset="test", **settings), Preprocess(RECIPE))
    return made.eval()


def test_trials_keep_their_recording_split_and_class(store):
    trials = read_trials(store, "EEG", Preprocess(RECIPE))
    assert trials.classes == ("a", "b") and len(trials.y_N) == 5 * 30
    assert sum(len(b) for b in trials.batches) == len(trials.y_N)
    table = store.recordings["split"]
    assert all(table[r] == s for r, s in zip(trials.recording_N, trials.split_N, strict=True))
    for batch in trials.batches:  # a batch is of one recording
        assert len({r.recording for r in batch.refs}) == 1


def test_labels_that_are_no_classes_are_left_out(store, tmp_path):
    from brainfm.data.synthetic import synthetic_recording

    r = synthetic_recording("EEG", 20, 4, sfreq=64.0, split="test")
    r.events = [Event(1, 2, "a"), Event(4, 2, "motion"), Event(7, 2, "word:a"), Event(9, 0, "b")]
    write_recording(r, tmp_path / "d" / "a.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    with pytest.raises(DataError, match="EEG has trials of 1 class"):
        read_trials(Store(tmp_path), "EEG", Preprocess(RECIPE))
    with pytest.raises(DataError, match="MEG has trials of 0 class"):
        read_trials(store, "MEG", Preprocess(RECIPE))


def test_trials_are_read_with_what_lies_around_them(tmp_path):
    from brainfm.data.synthetic import synthetic_recording

    for i, split in enumerate(("train", "test")):
        r = synthetic_recording("EEG", 60, 4, sfreq=64.0, split=split, seed=i)
        # The first and the last have little before and after them.
        r.events = [Event(at, 2.5, "ab"[k % 2]) for k, at in enumerate((0.5, 20, 30, 57.0))]
        r.name, r.split_group = f"r{i}", split
        write_recording(r, tmp_path / "d" / f"{r.name}.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    store = Store(tmp_path)
    trials = read_trials(store, "EEG", Preprocess(RECIPE), step_s=0.5)
    assert trials.length_s == 2.5 and len(trials.y_N) == 8
    assert all(b.seconds == 10.0 for b in trials.batches)
    for batch, since_N in trials.parts():
        onset = [r.start / 64 + s for r, s in zip(batch.refs, since_N, strict=True)]
        assert onset == pytest.approx([0.5, 20, 30, 57.0])
    seen = encoder(stream={"step_s": 0.5})
    h = of_encoder(seen, trials)
    whole = seen(trials.batches[0]).h_BSWD
    first = round(trials.since_N[2] / 0.5)
    expected = whole[2, :, first : first + 5].detach().numpy().ravel()
    np.testing.assert_allclose(h[2], expected, atol=1e-6)


def test_alignment_is_within_recordings():
    x = np.concatenate([np.random.default_rng(0).normal(size=(20, 3)) * 5 + 100, np.ones((4, 3))])
    z = by_recording(x, np.repeat([0, 1], [20, 4]))
    assert abs(z[:20].mean()) < 1e-5 and abs(z[:20].std() - 1) < 1e-3
    assert (z[20:] == 0).all()


def test_classes_are_decoded_from_classical_features_of_other_heads(store):
    trials = read_trials(store, "EEG", Preprocess(RECIPE))
    rows = {
        "classical": [classical(trials)],
        "noise": [np.random.default_rng(0).normal(size=(150, 8))],
    }
    found = probe(trials, rows, 50)
    assert found["rows"]["classical"]["balanced_accuracy"]["mean"] > 0.8
    assert found["n_heads"] == [4, 1]
    assert found["differences"]["noise"]["difference"] > 0.2


def test_intervals_resample_heads_and_not_trials(store):
    trials = read_trials(store, "EEG", Preprocess(RECIPE))
    # Two test heads: features tell every trial of one, of the other the opposite.
    split = np.where(
        np.isin(trials.recording_N, np.unique(trials.recording_N)[-2:]), "test", "train"
    )
    told = np.where(trials.recording_N == trials.recording_N.max(), 1, -1)
    told = np.where(split == "train", 1, told) * (2.0 * trials.y_N - 1)
    found = probe(replace(trials, split_N=split), {"told": [told[:, None]]}, 200)
    low, high = (found["rows"]["told"]["accuracy"][k] for k in ("low", "high"))
    assert (low, high) == (0.0, 1.0)


def test_features_have_one_width_for_all_montages(store):
    trials = read_trials(store, "EEG", Preprocess(RECIPE))
    assert len({b.n_channels for b in trials.batches}) == 2
    x = of_encoder(encoder(), trials)
    assert x.shape == (150, 4 * 2 * 32) and np.isfinite(x).all()


def test_a_random_twin_has_other_weights_and_the_same_units():
    model = encoder()
    model.meet([make_batch(b=4, t=512)])
    twin = random_twin(model, 1)
    assert not torch.equal(twin.guesser.fast.weight, model.guesser.fast.weight)
    unit, other = model.embedding.fast_unit, twin.embedding.fast_unit
    assert torch.equal(unit.mean_JK, other.mean_JK)


def test_retrieval_counts_ties_as_half_and_finds_twins():
    pairs = [(make_batch(b=5, seed=s), make_batch(b=5, seed=s)) for s in (1, 2)]
    same = retrieve(pairs, lambda b: b.x_BCWP.flatten(1).numpy())
    assert same["pool"] == 10 and same["EEG to MEG, top-1"] == same["MEG to EEG, top-1"] == 1.0
    dumb = retrieve(pairs, lambda b: np.ones((len(b), 3)))
    assert dumb["EEG to MEG, top-1"] == 0.0
    # Which head a window is of helps nobody.
    heads = retrieve(
        pairs, lambda b: b.x_BCWP.mean((1, 2, 3)).numpy().mean() * np.ones((len(b), 2))
    )
    assert heads["EEG to MEG, top-1"] == 0.0
    assert matched(encoder())(pairs[0][0]).shape[0] == 5


def test_sources_are_made_by_the_encoder_of_the_kind():
    torch.manual_seed(1)
    one = UnifiedEncoder(UnifiedEncoderConfig(preset="test"), Preprocess(RECIPE)).eval()
    eeg, meg = make_batch(b=3, t=512), make_batch(b=3, t=512, kind=int(Kind.GRAD))
    embed = sources(encoder(), one)
    np.testing.assert_array_equal(embed(eeg), sources(encoder(), encoder())(eeg))
    np.testing.assert_array_equal(embed(meg), sources(one, one)(meg))
    assert not one.matcher.is_trained


def test_the_lag_is_where_the_response_is_largest():
    model = encoder()
    with torch.no_grad():
        model.lag.response_K.zero_()
        model.lag.response_K[4] = -2.0
    found = lag_of(model, 1.0)
    assert found["peak_s"] == 4.5 and found["response"][4] == 2.0


def test_the_same_blood_is_alike_at_every_tr():
    pytest.importorskip("nilearn")
    torch.manual_seed(0)
    config = UnifiedEncoderConfig(preset="test", stream={"bold_step_s": 10, "bold_points": 10})
    found = alike_at_trs(UnifiedEncoder(config, Preprocess(Recipe())).eval(), (0.72, 2.0))
    assert min(found["0.72 s"], found["2 s"]) > 0.99 > found["other windows"]


def test_a_run_writes_its_page(store, tmp_path):
    model = encoder()
    model.meet([make_batch(b=4, t=512, sfreq=64.0)])
    folder = model.save_pretrained(tmp_path / "export")
    args = [f"--joint={folder}", "--own", f"EEG={folder}", "--kinds", "EEG"]
    args += [f"--store={store.root}", "--recordings=", f"--runs={tmp_path}", "--resamples=20"]
    assert main(args) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Simulated data" in page and "own-kind pretraining" in page
    found = json.loads((tmp_path / "report.json").read_text())
    assert set(found["kinds"]["EEG"]["rows"]) == {
        "joint pretraining",
        "own-kind pretraining",
        "random init",
        "classical features",
    }


def test_bad_folders_and_kinds_are_refused(store, tmp_path, capsys):
    common = [f"--store={store.root}", f"--runs={tmp_path}"]
    assert main([*common, "--joint=nowhere"]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert main([*common, "--own", "FNIRS=x"]) == 1
    assert "--own names 'FNIRS'" in capsys.readouterr().err
