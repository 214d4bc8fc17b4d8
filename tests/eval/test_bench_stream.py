"""Padding changes no answer and costs what it costs."""

import torch
from model_batches import make_batch

from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.types import Kind
from eval.bench import stream


def test_padded_batches_have_the_shape_of_the_largest_and_the_same_sources():
    torch.manual_seed(0)
    encoder = UnifiedEncoder(UnifiedEncoderConfig(preset="test")).eval()
    small, large = make_batch(c=3, t=512), make_batch(c=6, t=1024, kind=int(Kind.MAG), seed=1)
    with torch.no_grad():
        streams = [encoder.embedding(b) for b in (small, large)]
        padded = stream.padded_to_largest(streams)
        assert padded.h_BND.shape[:2] == (4, 6 * 4)
        assert int(padded.valid_BN[0].sum()) == 3 * 2 and bool(padded.valid_BN[2].all())
        whole, _ = encoder.sources(padded, padded.valid_BN)
        for k, s in enumerate(streams):
            alone, _ = encoder.sources(s, s.valid_BN)
            part = whole[2 * k : 2 * k + 2, : alone.shape[1]]
            torch.testing.assert_close(part, alone, atol=1e-5, rtol=1e-4)


def test_the_bench_counts_tokens_and_says_the_ratio():
    found = stream.main(["--windows", "1", "--rounds", "1", "--preset", "test"])
    assert [r["way"] for r in found["rows"]] == ["streams", "padded"]
    told, computed = (found["rows"][1][k] for k in ("tokens that say something", "tokens computed"))
    assert told == 64 * 10 + 306 * 10 + 120 * 10 + 100 * 4 and computed == 4 * 306 * 10
    assert found["ratio"] > 0
