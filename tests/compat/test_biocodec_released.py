"""Released BioCodec layouts: every key accounted for, or a sentence that names it."""

import json

import numpy as np
import pytest
import torch
from model_batches import make_batch
from safetensors.torch import save_file

from brainfm.codecs.biocodec import PUBLISHED, BioCodec, BioCodecConfig
from brainfm.compat.biocodec import from_released, load_released, sizes_of, to_released
from brainfm.errors import ContractError


@pytest.fixture
def reference(golden):
    with np.load(golden / "biocodec.npz") as f:
        state = {k[3:]: torch.from_numpy(f[k]) for k in f.files if k.startswith("sd/")}
        return state, json.loads(str(f["config_json"]))


def strict(**sizes):
    torch.manual_seed(0)
    codec = BioCodec(BioCodecConfig(preset="test", **sizes, **PUBLISHED))
    codec.initialise_codebooks(make_batch(8))
    return codec.eval()


def test_a_published_state_dict_goes_through_us_unchanged(reference):
    state, config = reference
    again = to_released(from_released(state, config))
    assert set(again) == set(state)
    assert all(torch.equal(again[k], v) for k, v in state.items())


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"ratios": (3, 3, 2), "n_quantizers": 6},
        {"ratios": (5, 4), "n_residual": 1, "compress": 2, "n_lstm": 1},
        {"kernel": 7, "last_kernel": 5, "residual_kernel": 5, "conv_shortcut": True},
        {"codebook_dim": 8, "codebook_size": 16, "dim": 16, "n_filters": 8},
    ],
    ids=["test", "emg strides", "two stages", "kernels", "books"],
)
def test_weights_alone_tell_the_sizes(sizes):
    codec = strict(**sizes)
    again = from_released(to_released(codec))
    for name in (*sizes_of(to_released(codec)), *PUBLISHED):
        assert getattr(again.config, name) == getattr(codec.config, name), name
    batch = make_batch()
    batch_in_iqr = make_batch()
    batch_in_iqr.x_BCWP /= 1.349
    assert torch.equal(again.encode(batch).ids_BSWQ, codec.encode(batch_in_iqr).ids_BSWQ)


def test_a_released_codec_states_its_contract(reference):
    state, config = reference
    codec = from_released(state, config)
    assert codec.preprocess.recipe.sfreq == 250.0
    assert codec.preprocess.normalise.scale == "channel_robust"
    # ten interquartile ranges, in standard deviations of a normal
    assert codec.preprocess.normalise.clip * codec.config.gain == pytest.approx(10.0)
    assert from_released(to_released(strict(ratios=(3, 3, 2)))).preprocess.recipe.sfreq == 1000.0
    assert from_released(state, config, sfreq=256.0).preprocess.recipe.sfreq == 256.0


@pytest.mark.parametrize("kind", ["table", "compiled", "bare", "safetensors"])
def test_a_checkpoint_file_is_read_without_running_anything(tmp_path, kind):
    codec = strict()
    state = to_released(codec)
    path = tmp_path / ("biocodec.safetensors" if kind == "safetensors" else "biocodec_ckpt.pt")
    if kind == "safetensors":
        save_file(state, str(path))
    elif kind == "bare":
        torch.save(state, path)
    else:
        if kind == "compiled":
            state = {f"_orig_mod.{k}": v for k, v in state.items()}
        optimizer = torch.optim.Adam(codec.parameters()).state_dict()
        torch.save({"epoch": 3, "model_state_dict": state, "optimizer": optimizer}, path)
    again = load_released(path)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in codec.state_dict().items())


class Dangerous:
    def __reduce__(self):
        return (print, ("was run",))


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "pickle", "list", "tensors"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, capsys, damage):
    path = tmp_path / ("bad.safetensors" if damage == "tensors" else "bad.pt")
    if damage == "truncated":
        torch.save({"model_state_dict": to_released(strict())}, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif damage in ("text", "tensors"):
        path.write_text("no checkpoint at all")
    elif damage == "pickle":
        torch.save({"model_state_dict": Dangerous()}, path)
    elif damage == "list":
        torch.save([1, 2], path)
    with pytest.raises(ContractError, match=r"bad\.") as e:
        load_released(path)
    assert str(e.value).count("\n") == 0
    assert "was run" not in capsys.readouterr().out


BOOK = "quantizer.vq.layers.1._codebook.embed"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("decoder.model.0.conv.conv.bias"), "missing decoder.model.0"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda s: s.update({BOOK: torch.zeros(7, 4)}), r"1._codebook.embed has shape \(7, 4\)"),
        (lambda s: [s.pop(k) for k in list(s) if "quantizer" in k], "no BioCodec checkpoint"),
        (lambda s: s.clear(), "no BioCodec checkpoint"),
    ],
    ids=["missing", "unexpected", "shape", "no books", "empty"],
)
def test_what_does_not_fit_is_named(reference, change, named):
    state, config = reference
    change(state)
    with pytest.raises(ContractError, match=named):
        from_released(state, config, "biocodec_ckpt.pt")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n_q": 6}, "n_q is 6, but the weights say 3"),
        ({"ratios": [2, 2, 3]}, r"ratios is \(2, 2, 3\)"),
        ({"normalize": True}, "normalize is True; only False"),
        ({"norm": "time_group_norm"}, "norm is 'time_group_norm'"),
        ({"channels": 2}, "channels is 2"),
    ],
)
def test_settings_that_are_not_computed_are_refused(reference, change, named):
    state, config = reference
    with pytest.raises(ContractError, match=f"ckpt.pt: {named}"):
        from_released(state, config | change, "ckpt.pt")
