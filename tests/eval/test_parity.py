"""The parity command: passes on published references, fails on anything else."""

import json

import numpy as np
import pytest
import torch

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.compat.brainomni import to_released, to_released_config
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from eval.parity import brainomni
from eval.parity.__main__ import main, run
from eval.parity.reference import Reference


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "brainomni.npz") as f:
        return {k: f[k] for k in f.files}


def _write(path, arrays):
    np.savez(path, **arrays)
    return path


def _names(recipes, depth):
    """Arrays a reference file of this kind holds, for a model of `depth` blocks."""
    seen = ("time_attn_out", "spatial_attn_out", "attn_op", "out")
    blocks = {f"mid/block{i}_{p}" for i in range(depth) for p in seen}
    return [n for n in recipes.how if "block" not in n or n in blocks]


def reference_arrays(tok, lm=None, *, channels=4, samples=150, kinds=(0,), batch=2, seed=0):
    """A reference file computed by our own model, for sizes nobody published.

    It proves that such a file runs through; that the numbers are the published ones is proven
    by the files that the published program wrote.
    """
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tokenizer = BrainTokenizerConfig(preset="test", n_kinds=3, **tok)
    if lm is None:
        model = codec = BrainTokenizer(tokenizer)
    else:
        model = BrainOmni(BrainOmniConfig(preset="test", tokenizer=tokenizer, **lm))
        codec = model.tokenizer
    for level in codec.quantizer.levels:
        book = level.codebook
        book.codes_KE.copy_(torch.randn(book.codes_KE.shape, generator=g) * 0.3)
        book.count_K.fill_(50.0)
        book.sum_KE.copy_(book.codes_KE * 50)
        book.ready.fill_(1)
    a = {f"sd/{k}": v.numpy() for k, v in to_released(model).items()}
    a["config_json"] = np.array(json.dumps(to_released_config(model.config)))
    c, s, w = tokenizer, tokenizer.n_sources, tokenizer.window
    a["in/x"] = torch.randn(batch, channels, samples, generator=g).numpy()
    a["in/pos"] = torch.randn(batch, channels, 6, generator=g).numpy()
    kind = [kinds[i % len(kinds)] for i in range(channels)]
    a["in/sensor_type"] = np.tile(np.array(kind, np.int64), (batch, 1))
    n = max(1, samples // w)
    a["rand/tok_perm"] = torch.randperm(channels, generator=g).numpy()
    left = channels - max(1, channels // 4)
    a["rand/tok_noise"] = torch.randn(batch, left, n, w, generator=g).numpy()
    x = torch.randn(batch, s, n, w // c.hop, c.dim, generator=g)
    a["ema/in"] = torch.nn.functional.normalize(x, dim=-1).numpy()
    a["ema/w"] = torch.randn(x.shape, generator=g).numpy()
    a["prep/raw"] = torch.randn(channels, 100, generator=g).double().numpy() * 1e-5
    a["prep/sensor_type"] = np.array(kind)
    a["prep/pos_in"] = torch.randn(channels, 6, generator=g).numpy()
    recipes = _recipes(a)
    if lm is not None:
        shape = recipes.how["out/tokenize_indices"].compute().shape[:3]
        a["rand/omni_rand_mask"] = torch.rand(shape, generator=g).numpy()
        a["rand/omni_rand_replace"] = torch.rand(shape, generator=g).numpy()
        a["rand/omni_perm"] = torch.randperm(int(np.prod(shape)), generator=g).numpy()
        recipes = _recipes(a)
    with torch.no_grad():
        for name in _names(recipes, model.config.depth if lm is not None else 0):
            value = recipes.how[name].compute()
            a[name] = value.detach().numpy() if hasattr(value, "detach") else value
    return a


def _recipes(arrays):
    with torch.no_grad():
        return brainomni.compute(Reference("made here", arrays))


@pytest.mark.parametrize("strict", [True, False])
def test_the_published_reference_is_reproduced(golden, strict):
    _, rows = run(golden / "brainomni.npz", strict)
    assert {r.name: r.note for r in rows if not r.passed} == {}
    assert len(rows) == 53
    ids = [r for r in rows if r.name.endswith("indices")]
    assert ids and all(r.max_abs_error == 0 and r.tolerance == 0 for r in ids)


SIZES = {
    "no projections, no overlap": (
        {"codebook_dim": 32},
        {"dim": 32, "n_heads": 2, "depth": 1, "overlap": 0.0},
    ),
    "odd ratios, many heads, one level": (
        {"window": 60, "ratios": (5, 3), "kernel": 7, "last_kernel": 3, "n_filters": 3, "dim": 24,
         "n_heads": 4, "n_sources": 3, "codebook_dim": 9, "n_quantizers": 1, "codebook_size": 11},
        {"dim": 40, "n_heads": 10, "depth": 2, "overlap": 0.5},
    ),
    "fewer levels used, straight-through": (
        {"n_quantizers": 4, "rotation_trick": False},
        {"n_levels_used": 2, "mask_ratio": 0.3, "overlap": 0.3},
    ),
    "cosine table": ({}, {"rope": "cosine"}),
    "tokenizer alone": ({"n_sources": 7}, None),
}  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES)
def test_any_sizes_run_through(tmp_path, sizes):
    arrays = reference_arrays(*SIZES[sizes], kinds=(0, 1, 2))
    _, rows = run(_write(tmp_path / "any.npz", arrays), strict=True)
    assert {r.name: (r.note, r.max_abs_error) for r in rows if not r.passed} == {}
    assert sum(r.status == "computed" for r in rows) > 25


@pytest.mark.parametrize(
    "inputs",
    [
        {"samples": 30},
        {"samples": 64, "channels": 2, "kinds": (1,)},
        {"samples": 64 * 45, "kinds": (2,), "batch": 1},
        {"channels": 9, "kinds": (1, 2)},
    ],
    ids=["shorter than a window", "one MAG window", "beyond 240 steps", "MEG only"],
)
def test_any_signal_runs_through(tmp_path, inputs):
    arrays = reference_arrays({}, {}, **inputs)
    _, rows = run(_write(tmp_path / "any.npz", arrays), strict=True)
    assert {r.name: (r.note, r.max_abs_error) for r in rows if not r.passed} == {}


def test_missing_optional_arrays_are_no_failure(tmp_path, arrays):
    few = {
        k: v for k, v in arrays.items() if not k.startswith(("rand/", "prep/", "cosonly/", "ema/"))
    }
    few = {k: v for k, v in few.items() if "_forward_" not in k}
    _, rows = run(_write(tmp_path / "few.npz", few))
    assert rows and all(r.passed for r in rows)


PERTURBED = [
    "mid/unfold", "mid/enc_feature", "out/x_rec", "out/indices", "out/tok_forward_loss",
    "out/phase_loss", "out/omni_encode", "cosonly/omni_encode", "out/omni_forward_acc_1",
    "ema/embed_after", "ema/idx", "prep/norm_out", "prep/pos_out",
]  # fmt: skip


@pytest.mark.parametrize("name", PERTURBED)
def test_a_changed_array_fails(tmp_path, arrays, name):
    value = np.array(arrays[name])
    value.reshape(-1)[-1] += 1 if value.dtype.kind == "i" else 0.05
    _, rows = run(_write(tmp_path / "changed.npz", arrays | {name: value}))
    assert [r.name for r in rows if not r.passed] == [name]


@pytest.mark.parametrize("name", ["in/x", "sd/projection.bias", "ema/w", "prep/raw", "prep/pos_in"])
def test_a_changed_input_fails(tmp_path, arrays, name):
    value = np.array(arrays[name])
    value.reshape(-1)[0] += 1.0
    _, rows = run(_write(tmp_path / "changed.npz", arrays | {name: value}))
    assert any(not r.passed for r in rows)


def test_a_nan_fails(tmp_path, arrays):
    value = arrays["out/x_rec"].copy()
    value[0, 0, 0, 0] = np.nan
    _, rows = run(_write(tmp_path / "nan.npz", arrays | {"out/x_rec": value}))
    assert [r.name for r in rows if not r.passed] == ["out/x_rec"]


def test_an_array_without_a_recipe_fails_as_not_computed(tmp_path, arrays):
    _, rows = run(_write(tmp_path / "more.npz", arrays | {"out/something_new": np.zeros(3)}))
    assert [(r.name, r.status) for r in rows if not r.passed] == [
        ("out/something_new", "not computed")
    ]


def test_an_array_of_another_shape_fails(tmp_path, arrays):
    cut = arrays["out/x_rec"][:, :5]
    _, rows = run(_write(tmp_path / "cut.npz", arrays | {"out/x_rec": cut}))
    (bad,) = [r for r in rows if not r.passed]
    assert "(2, 6, 3, 64), not (2, 5, 3, 64)" in bad.note


def test_large_values_are_held_to_relative_error_unless_strict(tmp_path, arrays):
    value = arrays["mid/block2_out"] + np.float32(1e-4)
    assert np.abs(value).max() > 11
    path = _write(tmp_path / "off.npz", arrays | {"mid/block2_out": value})
    assert all(r.passed for r in run(path, strict=False)[1])
    assert not all(r.passed for r in run(path, strict=True)[1])


def test_a_total_may_be_off_by_what_its_phase_wrapped(tmp_path, arrays):
    wrapped = {
        "out/phase_loss": arrays["out/phase_loss"] + np.float32(5e-3),
        "out/tok_loss_nomask": arrays["out/tok_loss_nomask"] + np.float32(2.5e-3),
    }
    assert all(r.passed for r in run(_write(tmp_path / "w.npz", arrays | wrapped))[1])
    del wrapped["out/phase_loss"]
    assert not all(r.passed for r in run(_write(tmp_path / "t.npz", arrays | wrapped))[1])


def test_the_command_prints_a_row_an_array_and_one_json_line(golden, tmp_path, capsys):
    out = tmp_path / "runs"
    assert main([str(golden / "brainomni.npz"), "--json", "--strict", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    last = json.loads(printed.strip().splitlines()[-1])
    assert last["passed"] and last["n_arrays"] == 53
    assert all(row["name"] in printed for row in last["rows"])
    assert json.loads((out / "report.json").read_text()) == last
    assert "out/x_rec" in (out / "report.html").read_text()


def test_the_command_exits_with_one_when_an_array_is_off(tmp_path, arrays, capsys):
    path = _write(tmp_path / "off.npz", arrays | {"out/pcc": np.float32(0.5)})
    assert main([str(path), "--out", str(tmp_path)]) == 1
    assert "1 of 53 arrays NOT reproduced" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "missing", "pickle"])
def test_a_damaged_file_is_one_sentence_and_two(golden, tmp_path, capsys, damage):
    path = tmp_path / "bad.npz"
    whole = (golden / "brainomni.npz").read_bytes()
    content = {"truncated": whole[:200_000], "empty": b"", "text": b"no zip at all"}
    if damage in content:
        path.write_bytes(content[damage])
    elif damage == "flipped":
        path.write_bytes(whole[:600_000] + bytes(64) + whole[600_064:])
    elif damage == "pickle":
        np.savez(path, config_json=np.array({"a": 1}, dtype=object))
    assert main([str(path), "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("brainfm: ") and "bad.npz" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("drop", "says"),
    [
        ("sd/mask_token", "missing mask_token"),
        ("config_json", "config_json"),
        ("sd/", "known system"),
    ],
)
def test_a_file_without_what_it_needs_is_refused(tmp_path, arrays, capsys, drop, says):
    kept = {k: v for k, v in arrays.items() if not k.startswith(drop)}
    assert main([str(_write(tmp_path / "part.npz", kept)), "--out", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


def test_the_published_mvpformer_is_reproduced_array_by_array(golden, tmp_path, capsys):
    argv = [str(golden / "mvpformer.npz"), "--strict", "--json", "--out", str(tmp_path)]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["system"] == "mvpformer" and found["n_arrays"] == 20 and found["n_failed"] == 0


@pytest.mark.parametrize(
    "name", ["mid/dwt", "mid/block1_attn_out", "out/contrastive_logits", "out/cls_logits"]
)
def test_a_wrong_mvpformer_array_fails_by_name(golden, tmp_path, name):
    with np.load(golden / "mvpformer.npz") as f:
        arrays = {k: f[k] for k in f.files}
    arrays[name] = arrays[name] + np.float32(1e-3)
    _, rows = run(_write(tmp_path / "wrong.npz", arrays), strict=True)
    assert [r.name for r in rows if not r.passed] == [name]


def test_several_files_make_one_report(golden, tmp_path, capsys):
    files = [str(golden / f"{name}.npz") for name in ("brainomni", "mvpformer")]
    assert main([*files, "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [f["system"] for f in found["files"]] == ["brainomni", "mvpformer"]
    assert found["n_arrays"] == 73 and found["passed"]
    page = (tmp_path / "report.html").read_text()
    assert "Parity: brainomni" in page and "Parity: mvpformer" in page
