"""`python -m eval.bench codec`: every codec is measured, and the target is named."""

import pytest
import torch

from eval.bench import codec as bench

ALL = ["--preset", "test", "--channels", "3", "--seconds", "0.5", "--rounds", "1", "--threads", "1"]
NAMES = [n for n in bench.CODECS if n != "ScalarCodec demo"]


@pytest.fixture(scope="module")
def measured():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    found = bench.main([*ALL, "--codecs", *NAMES])
    given_back = torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    return found, given_back


def test_every_codec_is_measured_in_every_direction(measured):
    found, given_back = measured
    assert [r["codec"] for r in found["rows"]] == NAMES and given_back
    for row in found["rows"]:
        for key in ("encode", "stream", "decode", "encode, CPU", "stream, CPU", "decode, CPU"):
            assert row[key] > 0, (row["codec"], key)
        assert row["bit/s"] > 0 and row["latency s"] > 0


def test_the_target_is_that_of_braintokenizer_both_ways(measured):
    found, _ = measured
    row = found["rows"][0]
    assert found["times_real_time"] == row["encode"]
    assert found["times_real_time_streaming"] == row["stream"]
    assert found["reached"] == (min(row["encode"], row["stream"]) >= found["target"] == 100.0)
    assert found["speedup"] == pytest.approx(row["encode"] / found["library_times_real_time"])
    half = found["rows"][1]
    assert found["times_real_time_bfloat16"] == half["encode"]
    assert found["reached_bfloat16"] == (min(half["encode"], half["stream"]) >= 100.0)
    said = next(n for n in found["notes"] if n.startswith("BrainTokenizer must"))
    assert ("not reached" in said) != found["reached"]


def test_rates_are_those_of_all_channels(measured):
    rows = {r["codec"]: r for r in measured[0]["rows"]}
    assert rows["BioCodec eeg"]["bit/s"] == pytest.approx(
        3 * bench.CODECS["BioCodec eeg"].make("test").bits_per_second(250.0)
    )
    tokens = bench.CODECS["BrainTokenizer"].make("test")
    assert rows["BrainTokenizer"]["bit/s"] == tokens.bits_per_second(256.0)


def test_latencies_are_a_window_or_a_step(measured):
    rows = {r["codec"]: r for r in measured[0]["rows"]}
    assert rows["BrainTokenizer"]["latency s"] == 64 / 256
    assert rows["BioCodec eeg"]["latency s"] == 12 / 250


def test_published_sizes_are_the_default():
    for name, entry in bench.CODECS.items():
        assert entry.preset in ("published", "eeg", "emg", "demo"), name
    assert bench._arguments([]).channels == 64 and bench._arguments([]).threads == 2
