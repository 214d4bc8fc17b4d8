"""A UnifiedEncoder under the frozen probe: its taps, its random twin, what it cannot do."""

import numpy as np
import pytest
import torch

from brainfm.data.collate import batch_from_arrays
from brainfm.data.synthetic import synthetic_channels
from brainfm.errors import ContractError
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.signals.preprocess import Normalise
from eval.probe.features import candidates_of, read_taps, taps_of, tokenizer_of
from eval.probe.frozen import FrozenProbe, fresh_like

SFREQ = 128.0


def encoder():
    torch.manual_seed(0)
    return UnifiedEncoder(UnifiedEncoderConfig(preset="test", stream={"step_s": 0.5})).eval()


def trials(n=24, seed=0):
    """Two classes that differ in a rhythm of half the channels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8, 256)).astype(np.float32)
    y = np.arange(n) % 2
    x[y == 1, :4] += 3 * np.sin(2 * np.pi * 12 * np.arange(256) / SFREQ).astype(np.float32)
    return x * 1e-5, y, synthetic_channels("EEG", 8)


def test_it_is_read_before_and_after_attention():
    model, (x, _, channels) = encoder(), trials()
    assert taps_of(model) == ("sources", "encoder")
    assert {c.tap for c in candidates_of(model)} == {"sources", "encoder"}
    seen, scale_N = read_taps(model, x, channels, SFREQ, Normalise(), ("sources", "encoder"))
    assert {h.shape for h in seen.values()} == {(24, 4, 4, 32)} and scale_N.shape == (24,)
    with torch.no_grad():
        direct = model(batch_from_arrays(x, channels, SFREQ, Normalise())).h_BSWD.numpy()
    np.testing.assert_allclose(seen["encoder"], direct, atol=1e-5)
    assert not np.allclose(seen["sources"], seen["encoder"], atol=0.1)


def test_a_probe_of_it_tells_rhythms_apart():
    x, y, channels = trials(48)
    probe = FrozenProbe(encoder(), channels, SFREQ, Normalise()).fit(x[:32], y[:32])
    assert (probe.predict_proba(x[32:]).argmax(1) == y[32:]).mean() > 0.9


def test_its_random_twin_has_units_of_the_training_trials():
    model, (x, _, channels) = encoder(), trials()
    twin = fresh_like(model, 3, x, channels, SFREQ, Normalise())
    assert not torch.equal(twin.guesser.fast.weight, model.guesser.fast.weight)
    assert not torch.equal(twin.embedding.fast_unit.mean_JK, model.embedding.fast_unit.mean_JK)


def test_it_has_no_tokenizer_to_be_fine_tuned():
    with pytest.raises(ContractError, match="UnifiedEncoder has no tokenizer; --routes"):
        tokenizer_of(encoder())
