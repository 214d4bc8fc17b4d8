"""Model routes on a tiny model: what they learn, what they must not, and the whole command."""

import json
import pickle

import numpy as np
import pytest
import torch

from brainfm.data.synthetic import synthetic_store
from brainfm.errors import ContractError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from eval.probe import __main__ as command
from eval.probe.features import (
    POOLS,
    Candidate,
    candidates_of,
    log_covariance,
    read_taps,
)
from eval.probe.finetune import AlignedEncoder, FineTune, take
from eval.probe.finetune import Recipe as TuneRecipe
from eval.probe.frozen import AlignedMeans, FrozenProbe, fresh_like
from eval.probe.linear import WideLogistic
from eval.probe.routes import make_routes
from eval.probe.trials import folds_of, spec_of

RECIPE = Recipe(sfreq=64.0, lowpass_hz=24.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return synthetic_store(
        tmp_path_factory.mktemp("routes"), classes=("a", "b"), kinds=("EEG",), recipe=RECIPE
    )


@pytest.fixture(scope="module")
def train(store):
    return next(folds_of(store, spec_of("simulated_eeg"))).train


@pytest.fixture(scope="module")
def model(train):
    config = BrainOmniConfig(preset="test")
    blank = BrainOmni(config, Preprocess(RECIPE))
    return fresh_like(blank, 0, train.x_NCT, train.channels, train.sfreq, Normalise())


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    return folder


def stepped(train, n=40, seed=0):
    """Trials of noise in which class 1 has a slow wave on one sensor."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = 1e-5 * rng.normal(size=(n, len(train.channels), 128))
    x[:, 4] += 3e-5 * y[:, None] * np.sin(np.linspace(0, np.pi, 128))
    return x.astype(np.float32), y


def test_every_tap_has_its_sources_steps_and_width(model, train):
    taps = ("sensors", "sources", "codes", "encoder")
    found, scale = read_taps(model, train.x_NCT[:3], train.channels, 64.0, Normalise(), taps)
    assert np.allclose(scale, train.x_NCT[:3].std((1, 2)) + 1e-5, rtol=1e-3)
    sizes = {tap: h.shape for tap, h in found.items()}
    assert sizes["sensors"] == (3, 19, 16, 32)
    assert sizes["sources"] == sizes["codes"] == (3, 5, 16, 32)
    assert sizes["encoder"][:2] == (3, 5) and sizes["encoder"][3] == 48
    for h in found.values():
        assert np.isfinite(h).all()


def test_features_do_not_depend_on_the_batch_they_are_read_in(model, train):
    args = (train.channels, 64.0, Normalise(), ("encoder",))
    whole = read_taps(model, train.x_NCT[:5], *args)[0]["encoder"]
    parts = read_taps(model, train.x_NCT[:5], *args, batch_size=2)[0]["encoder"]
    assert np.allclose(whole, parts, atol=1e-5)


def test_log_covariance_is_the_logarithm_of_known_variances():
    rng = np.random.default_rng(0)
    h = rng.normal(size=(2, 3, 500, 4)) * np.array([1.0, 2.0, 4.0])[:, None, None]
    found = log_covariance(h, shrink=0.0)
    assert np.allclose(found[0, [0, 3, 5]], np.log([1, 4, 16]), atol=0.1)
    assert np.allclose(found[0, [1, 2, 4]], 0, atol=0.1)


@pytest.mark.parametrize("spread", ["shared", "own"])
def test_wide_logistic_gives_what_scikit_learn_gives_on_all_features(spread):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(30, 200)), np.arange(30) % 3
    f[:, 0] += y
    f[:, 1] *= 30
    wide = WideLogistic([0.1], (spread,)).fit(f, y)
    scaled = (f - wide.centre_F) * wide.scale
    direct = LogisticRegression(C=0.1, max_iter=2000, tol=1e-8).fit(scaled, y)
    assert np.allclose(wide.predict_proba(f), direct.predict_proba(scaled), atol=1e-3)


def test_amplitude_tells_large_trials_from_small_ones(model, train):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    wave = np.sin(np.linspace(0, 9, 128))
    x = (1 + 2 * y)[:, None, None] * 3e-2 * (wave + 0.3 * rng.normal(size=(40, 19, 128)))
    fitted = {}
    for amplitude in (False, True):
        few = (Candidate("sensors", "flat", False, amplitude),)
        probe = FrozenProbe(model, train.channels, 64.0, Normalise(), few).fit(x, y)
        fitted[amplitude] = probe.scores[str(few[0])]
    assert fitted[True] > 0.9 > fitted[False]


@pytest.mark.parametrize("k", [2, 3])
def test_weights_of_the_probe_repeat_its_predictions(k):
    rng = np.random.default_rng(0)
    f, y = 5 + 3 * rng.normal(size=(40, 60)), np.arange(40) % k
    wide = WideLogistic().fit(f, y)
    weight, bias = wide.weights()
    logits = f @ weight.T + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    assert np.allclose(p / p.sum(1, keepdims=True), wide.predict_proba(f), atol=1e-6)


def test_a_frozen_probe_finds_a_wave_on_one_sensor(model, train):
    x, y = stepped(train)
    before = [p.clone() for p in model.parameters()]
    few = (Candidate("sensors", "flat", True), Candidate("encoder", "time mean", False))
    probe = FrozenProbe(model, train.channels, 64.0, Normalise(), few).fit(x, y)
    x_test, y_test = stepped(train, seed=1)
    assert (probe.predict_proba(x_test).argmax(1) == y_test).mean() > 0.9
    assert probe.members[0].candidate.tap == "sensors" and set(probe.scores) == {
        str(c) for c in few
    }
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_frozen_probe_of_permuted_labels_stays_at_chance(model, train):
    x, y = stepped(train, 60)
    few = (Candidate("sensors", "flat", False),)
    x_test, y_test = stepped(train, 60, seed=1)
    hits = []
    for seed in range(8):
        # One permutation may by chance name both clusters right, or both wrong.
        labels = np.random.default_rng(seed).permutation(y)
        probe = FrozenProbe(model, train.channels, 64.0, Normalise(), few).fit(x, labels)
        hits.append((probe.predict_proba(x_test).argmax(1) == y_test).mean())
    assert 0.2 < np.mean(hits) < 0.8


def test_a_fine_tune_starts_from_the_probe_and_lowers_the_loss(model, train):
    x, y = stepped(train)
    recipe = TuneRecipe(epochs=4, lr=1e-3, head_lr=1e-3, mix=0.0, dropout=0.1)
    before = [p.clone() for p in model.parameters()]
    tuned = FineTune(model, train.channels, 64.0, Normalise(), 0, recipe).fit(x, y)
    x_test, y_test = stepped(train, seed=1)
    assert (tuned.predict_proba(x_test).argmax(1) == y_test).mean() > 0.9
    assert tuned.history[-1] < tuned.history[0]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_fine_tune_repeats_itself_with_the_same_seed(model, train):
    x, y = stepped(train, 16)
    recipe = TuneRecipe(epochs=1)
    a, b = (
        FineTune(model, train.channels, 64.0, Normalise(), 3, recipe).fit(x, y).predict_proba(x)
        for _ in range(2)
    )
    assert np.array_equal(a, b)


def test_fitted_decoders_travel_between_processes(model, train):
    x, y = stepped(train, 16)
    few = (Candidate("encoder", "flat", True, True),)
    for decoder in (
        FrozenProbe(model, train.channels, 64.0, Normalise(), few),
        FineTune(model, train.channels, 64.0, Normalise(), 0, TuneRecipe(epochs=1)),
    ):
        decoder.fit(x, y)
        other = pickle.loads(pickle.dumps(decoder))
        assert np.allclose(other.predict_proba(x), decoder.predict_proba(x), atol=1e-6)


def test_every_weight_of_the_model_that_has_a_say_is_trained(model, train):
    x, _ = stepped(train, 4)
    net = AlignedEncoder(model, np.eye(len(train.channels)), 2, 128, TuneRecipe())
    batch = FineTune(model, train.channels, 64.0, Normalise())._batch(x)
    net(take(batch, torch.arange(4)), torch.tensor([0, 1, 0, 1])).losses["cross_entropy"].backward()
    still = {n for n, p in net.model.named_parameters() if p.grad is None or not p.grad.any()}
    silent = ("head", "mask_token", "decoder", "source_kv", "to_sensors", "quantizer", "patch_out")
    last = f"blocks.{model.config.depth - 1}."
    assert all(any(s in n for s in (*silent, last)) for n in still), still


def test_random_init_is_another_model_of_the_same_sizes(model, train):
    args = (train.x_NCT, train.channels, 64.0, Normalise())
    a, b = fresh_like(model, 1, *args), fresh_like(model, 2, *args)
    assert a.config == model.config
    shapes = [[p.shape for p in m.parameters()] for m in (a, model)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(a.tokenizer.source_SD, b.tokenizer.source_SD)


def test_making_a_control_leaves_the_random_state_alone(model, train):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    fresh_like(model, 1, train.x_NCT, train.channels, 64.0, Normalise())
    assert torch.equal(torch.rand(3), want)


def test_the_alignment_control_is_a_decoder_without_a_model(train):
    x, y = stepped(train)
    x_test, y_test = stepped(train, seed=1)
    p = AlignedMeans(train.channels, train.sfreq).fit(x, y).predict_proba(x_test)
    assert (p.argmax(1) == y_test).mean() > 0.9


def test_codecs_have_no_encoder_tap(model):
    assert {c.tap for c in candidates_of(model)} == {"sensors", "sources", "codes", "encoder"}
    assert {c.tap for c in candidates_of(model.tokenizer)} == {"sensors", "sources", "codes"}
    assert {c.pool for c in candidates_of(model)} == set(POOLS)


def test_unknown_routes_and_routes_without_a_model_are_refused(checkpoint):
    with pytest.raises(ContractError, match="magic"):
        make_routes(str(checkpoint), 64.0, sorts=("magic",))
    with pytest.raises(ContractError, match="--checkpoint"):
        make_routes(None, 64.0)


def test_the_command_writes_a_page_a_table_and_one_json_line(checkpoint, store, tmp_path, capsys):
    out = tmp_path / "run"
    command.main(
        ["--checkpoint", str(checkpoint), "--store", str(store.root), "--dataset", "simulated_eeg"]
        + ["--routes", "frozen", "random", "--seeds", "2", "--workers", "1"]
        + ["--out", str(out), "--json"]
    )
    line = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    result = line["datasets"][0]
    routes = {r["route"]: r for r in result["rows"]}
    assert routes["frozen probe, random init"]["n_seeds"] == 2
    assert "random init" in " ".join(result["verdict"])
    page = (out / "report.html").read_text()
    assert "Simulated data" in page and "data:image/png;base64" in page
    assert "| frozen probe |" in (out / "table.md").read_text()
    assert json.loads((out / "report.json").read_text())["name"] == "probe"
