"""BioCodec references: reproduced array by array, and wrong ones found by name."""

import json

import numpy as np
import pytest
import torch

from brainfm.codecs.biocodec import PUBLISHED, BioCodec, BioCodecConfig
from brainfm.compat.biocodec import to_released
from eval.parity import biocodec
from eval.parity.__main__ import main, run
from eval.parity.reference import Reference


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "biocodec.npz") as f:
        return {k: f[k] for k in f.files}


def written(path, arrays):
    np.savez(path, **arrays)
    return path


def test_the_published_codec_is_reproduced_array_by_array(golden, tmp_path, capsys):
    argv = [str(golden / "biocodec.npz"), "--strict", "--json", "--out", str(tmp_path)]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["system"] == "biocodec" and found["n_arrays"] == 34 and found["n_failed"] == 0
    row = {r["name"]: r for r in found["rows"]}
    exact = ("out/codes", "out/codes_nq2", "out/norm_codes")
    assert all(row[name]["tolerance"] == 0 for name in exact)
    assert all(r["tolerance"] <= 1e-4 for r in found["rows"])


@pytest.mark.parametrize(
    "name",
    [
        "mid/enc_emb", "mid/dequantized", "mid/spec32_in", "out/codes", "out/codes_nq2",
        "out/rec_nq2", "out/norm_scale", "out/seg_rec", "out/loss_l_f", "out/loss_sdr",
        "train/total", "train/loss_w", "train/grad_enc0_bias", "train/after_embed_1",
        "train/after_cluster_size_2", "train/after_embed_avg_0",
    ],
)  # fmt: skip
def test_a_wrong_array_fails_by_name(arrays, tmp_path, name):
    value = np.array(arrays[name])
    value.reshape(-1)[-1] += 1 if value.dtype.kind == "i" else 1e-3
    _, rows = run(written(tmp_path / "wrong.npz", arrays | {name: value}), strict=True)
    assert [r.name for r in rows if not r.passed] == [name]


@pytest.mark.parametrize(
    "name",
    ["in/x", "sd/encoder.model.13.lstm.bias_hh_l1", "sd/quantizer.vq.layers.2._codebook.embed"],
)
def test_a_wrong_input_fails(arrays, tmp_path, name):
    value = np.array(arrays[name])
    value.reshape(-1)[:20] += 0.5
    _, rows = run(written(tmp_path / "wrong.npz", arrays | {name: value}), strict=True)
    assert any(not r.passed for r in rows)


def reference_arrays(sfreq=250, samples=300, n_channels=2, causal=True, **sizes):
    """A file computed by our own codec, for sizes nobody published: it shows such a file runs."""
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = BioCodec(BioCodecConfig(preset="test", causal=causal, **sizes, **PUBLISHED))
    for level in model.quantizer.levels:
        book = level.codebook
        codes = torch.randn(book.codes_KE.shape, generator=g)
        book.codes_KE.copy_(codes / codes.norm(dim=-1, keepdim=True))
        book.count_K.fill_(50.0)
        book.sum_KE.copy_(book.codes_KE * 50)
        book.ready.fill_(1)
    a = {f"sd/{k}": v.numpy() for k, v in to_released(model).items()}
    a["config_json"] = np.array(json.dumps({"sample_rate": sfreq, "causal": causal}))
    a["in/x"] = torch.randn(n_channels, 1, samples, generator=g).numpy()
    recipes = biocodec.compute(Reference("ours", {k: np.asarray(v) for k, v in a.items()}))
    with torch.no_grad():
        for name, recipe in recipes.how.items():
            spectrum = int(name[8:-3]) if name.startswith("mid/spec") else 0
            if not spectrum or (spectrum >= 128) == (sfreq >= 1000):
                a[name] = recipe.compute().detach().numpy()
    return a


@pytest.mark.parametrize(
    "inputs",
    [
        {"ratios": (3, 3, 2), "n_quantizers": 6, "sfreq": 1000, "samples": 1300},
        {"ratios": (5, 2), "compress": 2, "conv_shortcut": True, "n_residual": 1},
        {"causal": False, "n_lstm": 1, "kernel": 7},
        {"samples": 250, "n_channels": 1},
    ],
    ids=["emg", "other convolutions", "not causal", "one segment"],
)
def test_files_of_other_sizes_run_through(tmp_path, inputs):
    _, rows = run(written(tmp_path / "any.npz", reference_arrays(**inputs)), strict=True)
    assert {r.name: (r.note, r.max_abs_error) for r in rows if not r.passed} == {}
    assert sum(r.status == "computed" for r in rows) > 30


def test_weights_that_disagree_with_their_sizes_are_one_sentence(arrays, tmp_path, capsys):
    config = json.loads(str(arrays["config_json"])) | {"bins": 256}
    path = written(tmp_path / "off.npz", arrays | {"config_json": np.array(json.dumps(config))})
    assert main([str(path), "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "off.npz: bins is 256, but the weights say 24" in err and err.count("\n") == 1
