"""Du-IN and MEG-GPT references: reproduced array by array, and wrong ones found by name."""

import json

import numpy as np
import pytest

from eval.parity.__main__ import main, run

COUNTS = {"duin": 64, "meggpt": 94}
EXACT = {
    "duin": ("out/codes", "train/codes", "out/kmeans_bins"),
    "meggpt": ("out/tok_ids", "vocab/label_map", "out/session_tokens_m", "out/session_labels_m0"),
}


@pytest.fixture(scope="module")
def arrays(golden):
    def read(name):
        with np.load(golden / f"{name}.npz") as f:
            return {k: f[k] for k in f.files}

    return {name: read(name) for name in COUNTS}


@pytest.mark.parametrize("name", COUNTS)
def test_the_published_programs_are_reproduced_array_by_array(golden, tmp_path, capsys, name):
    argv = [str(golden / f"{name}.npz"), "--strict", "--json", "--out", str(tmp_path)]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["system"] == name
    assert found["n_arrays"] == COUNTS[name] and found["n_failed"] == 0
    row = {r["name"]: r for r in found["rows"]}
    assert all(row[key]["tolerance"] == 0 for key in EXACT[name])
    assert all(r["tolerance"] <= 1e-4 for r in found["rows"])
    assert not [r["name"] for r in found["rows"] if r["status"] != "computed"]


WRONG = {
    "duin": [
        "mid/enc_block0_attn_weights", "mid/rgs3", "mid/mae_enc_complement", "out/codes",
        "out/counts_after", "out/cls_loss", "out/cls_contra_loss", "train/after_embeddings",
        "train/after_bn1_var", "train/grad/desubj_block.subj_layer.B.weight",
    ],
    "meggpt": [
        "mid/tok_rnn", "mid/off_layer3", "mid/chan_layer1_chan_attn", "mid/ext_emb",
        "mid/rope_layer1_time_attn", "mid/cross_layer1_cross_attn", "out/tok_rec_same",
        "out/session_rec_m", "out/ext_loss", "out/off_top_5_acc", "vocab/token_order",
        "train/tok_weights", "grad/off/prediction_head.bias",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_fail_by_name_and_no_others(arrays, tmp_path, name):
    changed = dict(arrays[name])
    for key in WRONG[name]:
        value = np.array(changed[key])
        value.reshape(-1)[-1] += 1 if value.dtype.kind == "i" else 1e-3
        changed[key] = value
    np.savez(tmp_path / "wrong.npz", **changed)
    _, rows = run(tmp_path / "wrong.npz", strict=True)
    assert sorted(r.name for r in rows if not r.passed) == sorted(WRONG[name])


@pytest.mark.parametrize(
    "name, key", [("duin", "in/x"), ("duin", "rand/mae_noise"), ("meggpt", "in/session")]
)
def test_a_changed_input_fails(arrays, tmp_path, name, key):
    np.savez(tmp_path / "wrong.npz", **(arrays[name] | {key: arrays[name][key][::-1]}))
    _, rows = run(tmp_path / "wrong.npz", strict=True)
    assert any(not r.passed for r in rows)
