"""Released Du-IN state dicts to our modules, key by key (liulab, arXiv 2405.11459).

Models come in strict mode: a mixing matrix a subject, codes that count at evaluation too and are
never replaced. The 61-word classifier's layers above the encoder are two linear maps
(`cls_block`); its encoder is read by `encoder_from_released`.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from brainfm.codecs.duin import DuIN, DuINConfig, RegionEncoder
from brainfm.codecs.duin_layers import time_table
from brainfm.compat.state import read_state
from brainfm.errors import ContractError
from brainfm.hub import require_same_keys
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

PREPROCESS = Preprocess(
    Recipe(sfreq=1000.0, highpass_hz=0.5, lowpass_hz=200.0, notch=True),
    Normalise(reference="none", scale="channel_robust", clip=None),
)
"""Bipolar contacts, 0.5 to 200 Hz at 1000 Hz. Released weights saw a z-score of each channel over
its recording; the nearest that a window allows is its own robust scale."""

RELEASED: dict[str, Any] = {
    "seg_len": 100,
    "dropout": 0.2,
    "tokenizer": {"n_strides": [10, 1, 1]},
    "rgs": {"n_strides": [1, 1, 10, 1, 10]},
}
"""What the weights of the released sEEG models do not say (from the program's parameter file);
everything else is in their shapes."""

_RENAME = [
    (r"^tokenizer\.conv_blocks\.(\d+)\.0\.1\.", r"encoder.segments.convs.\1."),
    (r"^tokenizer\.conv_blocks\.(\d+)\.1\.1\.", r"encoder.segments.norms.\1."),
    (r"^encoder\.1\.xfmr_blocks\.", "encoder.blocks."),
    (r"^decoder\.1\.xfmr_blocks\.", "decoder."),
    (r"\.mha\.W_q\.W\.", ".query."),
    (r"\.mha\.W_k\.W\.", ".key."),
    (r"\.mha\.W_v\.W\.", ".value."),
    (r"\.mha\.norm_q\.", ".query_norm."),
    (r"\.mha\.norm_k\.", ".key_norm."),
    (r"\.mha\.proj\.0\.", ".out."),
    (r"\.norm_mha\.", ".attention_norm."),
    (r"\.ffn\.fc1\.0\.", ".widen."),
    (r"\.ffn\.fc2\.0\.", ".narrow."),
    (r"\.norm_ffn\.", ".feed_norm."),
    (r"^vq_block\.counts$", "codebook.count_K"),
    (r"^vq_block\.codex\.embeddings$", "codebook.codes_KE"),
    (r"^vq_block\.codex\.initted$", "codebook.ready"),
    (r"^vq_block\.pre_proj\.", "project_in."),
    (r"^vq_block\.layernorm\.", "code_norm."),
    (r"^vq_block\.post_proj\.0\.", "project_out."),
    (r"^rgs_block\.rgs_head\.(\d+)\.0\.1\.", r"upsample.convs.\1."),
    (r"^rgs_block\.rgs_head\.\d+\.0\.", "upsample.out."),
    (r"^mask_emb$", "mask_D"),
    (r"^cls_block\.cls_head\.0\.0\.", "head."),
]
_ENCODER = ("subj_block.", "tokenizer.", "emb_time.", "encoder.")
_MAE = (*_ENCODER, "mask_emb", "cls_block.")


def config_of(
    state: dict[str, Tensor], config: dict[str, Any] | None = None, where: str = "checkpoint"
) -> DuINConfig:
    """Our sizes, from the shapes of a codec's weights and the strides in `config`.

    Raises
    ------
    ContractError
        If the weights of a size are missing, or sizes contradict each other.
    """
    config = config or RELEASED
    try:
        bias, weight = (state[f"subj_block.subj_layer.{x}.weight"] for x in "BW")
        n_regions, n_subjects = bias.shape
        convs = _shapes(state, r"^tokenizer\.conv_blocks\.(\d+)\.0\.1\.weight$")
        ups = _shapes(state, r"^rgs_block\.rgs_head\.(\d+)\.0\.1\.weight$")
        attention = state["encoder.1.xfmr_blocks.0.mha.W_q.W.weight"].shape[0]
        head_dim = state["encoder.1.xfmr_blocks.0.mha.norm_q.weight"].shape[0]
        size, width = state["vq_block.codex.embeddings"].shape
        sizes = DuINConfig(
            window=int(config["seg_len"]),
            mixing="subject",
            n_channels=weight.shape[0] // n_regions,
            n_subjects=n_subjects,
            n_regions=n_regions,
            filters=tuple(s[0] for s in convs),
            kernels=tuple(s[2] for s in convs),
            strides=tuple(config["tokenizer"]["n_strides"]),
            depth=_count(state, r"^encoder\.1\.xfmr_blocks\.(\d+)\."),
            decoder_depth=_count(state, r"^decoder\.1\.xfmr_blocks\.(\d+)\."),
            n_heads=attention // head_dim,
            head_dim=head_dim,
            inner=state["encoder.1.xfmr_blocks.0.ffn.fc1.0.weight"].shape[0],
            codebook_size=size,
            codebook_dim=width,
            up_filters=tuple(s[1] for s in ups),
            up_kernels=tuple(s[2] for s in ups),
            up_strides=tuple(config["rgs"]["n_strides"]),
            commitment=float(config.get("vq", {}).get("beta", 1.0)),
            decay=float(config.get("vq", {}).get("decay", 0.99)),
            dropout=float(config.get("dropout", 0.0)),
            dead_share=None,
            init_at_eval=True,
            count_at_eval=True,
        )
    except KeyError as e:
        raise ContractError(
            f"{where}: {e} is missing; is it the state dict of a Du-IN VQ-VAE?"
        ) from e
    except ValueError as e:
        raise ContractError(f"{where}: {e}") from e
    dilated = [p for p in ("tokenizer", "rgs") if set(config[p].get("dilation_rates", [1])) != {1}]
    if dilated:
        raise ContractError(f"{where}: {dilated[0]} is dilated; only dilation 1 is computed")
    return sizes


def from_released(
    state: dict[str, Tensor], config: dict[str, Any] | None = None, where: str = "checkpoint"
) -> DuIN:
    """The codec in strict mode with the weights of a released VQ-VAE.

    Parameters
    ----------
    config : segment length and strides, in the program's names; default: those of its sEEG models

    Raises
    ------
    ContractError
        If a key is missing, unexpected or of another shape or value.
    """
    model = DuIN(config_of(state, config, where), PREPROCESS)
    return _load(model, _renamed(state, model.config, where), where).eval()


def encoder_from_released(
    state: dict[str, Tensor], sizes: DuINConfig, where: str = "checkpoint"
) -> RegionEncoder:
    """The region encoder alone, out of the state dict of a VQ-VAE, an MAE or a classifier."""
    part = {k: v for k, v in state.items() if k.startswith(_ENCODER)}
    renamed = _renamed(part, sizes, where)
    model = RegionEncoder(sizes)
    return _load(model, {k.removeprefix("encoder."): v for k, v in renamed.items()}, where).eval()


def mae_from_released(
    state: dict[str, Tensor], codec: DuIN, mask_ratio: float = 0.5, where: str = "checkpoint"
) -> DuINEncoder:
    """The encoder with the weights of a released MAE, around the codec whose codes it guesses.

    A released file also repeats that codec under `vqkd...`; it is not read again.
    """
    part = {k: v for k, v in state.items() if k.startswith(_MAE)}
    other = [k for k in state if k not in part and not k.startswith("vqkd")]
    if other:
        raise ContractError(f"{where}: unexpected {other[0]}; is it the state dict of a Du-IN MAE?")
    model = DuINEncoder(
        DuINEncoderConfig(tokenizer=codec.config, mask_ratio=mask_ratio), PREPROCESS
    )
    renamed = _renamed(part, codec.config, where)
    renamed |= {f"tokenizer.{k}": v for k, v in codec.state_dict().items()}
    return _load(model, renamed, where).eval()


def load_released(path: str | Path) -> DuIN:
    """The codec in a released VQ-VAE checkpoint (`checkpoint-399.pth`), in strict mode.

    Raises
    ------
    ContractError
        If the file is missing or damaged, or its weights are not those of a Du-IN VQ-VAE.
    """
    return from_released(read_state(path), where=str(path))


def our_name(key: str) -> str:
    """Our name of a weight of the released VQ-VAE, MAE or classifier."""
    if ".subj_layer." in key:
        side = "encoder.mix." if key.startswith("subj_block") else "unmix."
        return side + ("bias_SO" if ".B." in key else "weight_SCR")
    for pattern, replacement in _RENAME:
        key = re.sub(pattern, replacement, key)
    return key


def released_layout(key: str, value: Tensor) -> Tensor:
    """A tensor of ours, such as a gradient, as the released program lays out its `key`."""
    if ".subj_layer." not in key:
        return value
    if ".W." in key:
        value = (value if key.startswith("subj_block") else value.mT).flatten(1)
    return value.T


def _renamed(state: dict[str, Tensor], sizes: DuINConfig, where: str) -> dict[str, Tensor]:
    """Our names and layouts; tables that we compute are compared and left out."""
    out = {}
    for key, value in state.items():
        if key.endswith("emb_time.time_encodings"):
            _same(key, value, time_table(*value.shape), where)
        elif key.endswith(".attention.scale"):
            _same(key, value, torch.tensor(sizes.head_dim**-0.5), where)
        else:
            out[our_name(key)] = _our_layout(key, value, sizes, where)
    return out


def _our_layout(key: str, value: Tensor, sizes: DuINConfig, where: str) -> Tensor:
    if ".subj_layer." not in key:
        return value
    if ".B." in key:
        return value.T.contiguous()
    into = key.startswith("subj_block")
    n = (sizes.n_channels, sizes.n_regions) if into else (sizes.n_regions, sizes.n_channels)
    if value.shape[0] != n[0] * n[1]:
        raise ContractError(f"{where}: {key} has {value.shape[0]} rows, not {n[0] * n[1]}")
    table = value.T.reshape(-1, *n)
    return (table if into else table.mT).contiguous()


def _same(key: str, have: Tensor, want: Tensor, where: str) -> None:
    if not torch.allclose(have.float(), want, atol=1e-5, rtol=0.0):
        raise ContractError(f"{where}: {key} is not the published one; other values are unknown")


def _load(model: Any, state: dict[str, Tensor], where: str) -> Any:
    require_same_keys(model.state_dict(), state, type(model).__name__, where)
    model.load_state_dict(state)
    return model


def _shapes(state: dict[str, Tensor], pattern: str) -> list[torch.Size]:
    """Shapes of the weights that match, in the order of their number."""
    found = {int(m[1]): v.shape for k, v in state.items() if (m := re.match(pattern, k))}
    if not found:
        raise KeyError(pattern.strip("^$").replace("\\", ""))
    return [found[i] for i in sorted(found)]


def _count(state: dict[str, Tensor], pattern: str) -> int:
    return len({m[1] for k in state if (m := re.match(pattern, k))})
