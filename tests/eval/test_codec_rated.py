"""Codecs that choose their rate: lengths, scales and steps as a fake one states them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.codecs.spectral import SpectralCodec
from brainfm.data.sensors import synthetic_channels
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from eval.codec.coders import ENOUGH, RateCoder, Rated
from eval.codec.windows import Piece, codec_batch
from eval.metrics import signal

SFREQ = 64.0
BITS = 5.0


@dataclass
class Fake:
    """Rounds to multiples of the step; a sample costs `BITS` and one more for each halving."""

    rates: tuple[float, ...] = tuple(2.0**-k for k in range(-1, 300))
    preprocess: Preprocess = field(
        default_factory=lambda: Preprocess(
            Recipe(sfreq=SFREQ, lowpass_hz=30.0), Normalise("none", "kind_std", 3.0)
        )
    )

    def code(self, batch, step):
        x = batch.signal_BCT
        per_window = batch.valid_BC.sum(1).numpy() * x.shape[2] * (BITS - np.log2(step))
        return (x / step).round() * step, per_window


class Writing(Fake):
    def encode(self, batch, step):
        return len(batch), step

    def pack(self, codes, batch):
        return bytes(10 * codes[0])


def piece(n_windows=6):
    rng = np.random.default_rng(0)
    x = 2e-5 * rng.normal(size=(n_windows, 3, 128))
    valid = np.ones(x.shape[:2], bool)
    valid[0, 1] = False
    x[0, 1] = 0
    channels = synthetic_channels("EEG", 3)
    return Piece("p", "g", "EEG", "a", True, channels, SFREQ, 30.0, x, valid)


def test_what_can_choose_its_rate_is_told_from_what_has_levels():
    assert isinstance(Fake(), Rated) and isinstance(SpectralCodec(), Rated)
    assert not isinstance(ScalarCodec(ScalarCodecConfig(preset="test")), Rated)


def test_lengths_are_the_codecs_own_and_scales_are_added():
    coder, p = RateCoder("fake", Fake()), piece()
    coder.fit([p])
    side = codec_batch(p, coder.codec.preprocess.normalise)[1].bits
    assert side == 16 * 6  # one scale a window, no offset
    for coded, step in zip(coder.code(p), coder.steps, strict=True):
        assert coded.bits == 17 * 128 * (BITS - np.log2(step)) + side
        assert coded.setting == f"step {step:.3g}" and coded.nominal is None


def test_the_signal_comes_back_in_its_units_whatever_the_codec_clips():
    coder, p = RateCoder("fake", Fake()), piece()
    coder.fit([p])
    *_, last = coder.code(p)
    assert coder.steps[-1] < 1e-3
    error = signal.nmse(p.x_BCT[p.valid_BC], last.rec_BCT[p.valid_BC])
    assert 0 < np.median(error) < 1e-3  # but for the few samples beyond three deviations
    assert (last.rec_BCT[~p.valid_BC] == 0).all()


def test_steps_that_cost_too_much_are_not_tried():
    coder, p = RateCoder("fake", Fake()), piece()
    coder.fit([p])
    rates = [c.bits / p.channel_seconds for c in coder.code(p)]
    assert rates[-1] > ENOUGH > rates[-2] and len(rates) < len(Fake().rates)


@pytest.mark.parametrize(
    ("codec", "says"), [(Fake(), "writes no bytes"), (Writing(), "and 320 bits as written")]
)
def test_stated_lengths_are_held_against_written_bytes(codec, says):
    coder = RateCoder("fake", codec)
    coder.fit([piece()])
    assert says in coder.stated()
