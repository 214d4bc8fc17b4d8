"""Released MVPFormer state dicts to our model, key by key (IBM, arXiv 2506.20354).

The released program keeps backbone, wavelet encoder and head in one namespace or in two files;
`from_released` takes the union. Models come in strict mode: channels are told apart by their place
in the list.
"""

import re
from typing import Any

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.hub import require_same_keys
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

PREPROCESS = Preprocess(
    Recipe(sfreq=512.0, highpass_hz=None, lowpass_hz=None, notch=False),
    Normalise(reference="none", scale="kind_std", clip=None),
)
"""Stored values at 512 Hz without filters; a token does not depend on the signal's scale."""

PUBLISHED = dict(
    relation="list order", time_rows="from_end", last_sees_all=True, band=None, amplitude=False
)
"""Settings of the published geometry; a model with them does not stream."""

_RENAME = [
    (r"^mvpformer\.h\.(\d+)\.", r"blocks.\1."),
    (r"^mvpformer\.ln_f\.", "norm."),
    (r"^mvpformer\.positional_embedding\.", "time_table."),
    (r"^mvpformer\.channel_embedding\.", "channel_table."),
    (r"^encoder\.ln\.", "encoder.norm."),
    (r"^encoder\.proj\.", "encoder.project."),
    (r"^head\.head\.", "head."),
    (r"\.ln_1\.", ".norm."),
    (r"\.attn\.attn_bias$", ".attention.bias_3GE"),
    (r"\.attn\.q_attn\.", ".attention.query."),
    (r"\.attn\.c_attn\.", ".attention.key_value."),
    (r"\.attn\.position_net\.", ".attention.time."),
    (r"\.attn\.channel_net\.", ".attention.channel."),
    (r"\.attn\.c_proj\.", ".attention.out."),
    (r"\.mlp\.(gate|up|down)_proj\.", r".feedforward.\1."),
]
_UNUSED = re.compile(r"\.attn\.(time_bias|masked_bias)$|\.ln_2\.weight$|^seizure_embeddings$")
"""In every released file, and read by nothing."""


def config_of(config: dict[str, Any], where: str = "config") -> MVPFormerConfig:
    """Our sizes from the released names.

    Raises
    ------
    ContractError
        If a size is missing, or the program was told to do what our model does not.
    """
    names = {
        "window": "size_input",
        "dim": "n_embd",
        "depth": "n_layer",
        "n_heads": "n_head",
        "n_kv_heads": "n_head_kv",
        "inner": "n_inner",
        "n_positions": "n_positions",
        "n_channels": "n_channels",
    }
    missing = sorted(n for n in names.values() if n not in config)
    if missing:
        raise ContractError(f"{where}: sizes {missing} are missing; give the model's own settings")
    for key, wanted in (
        ("global_att", True),
        ("wavelet", "db4"),
        ("activation_function", "silu"),
        ("layer_norm_epsilon", 1e-5),
        ("scale_attn_weights", True),
    ):
        if config.get(key, wanted) != wanted:
            raise ContractError(f"{where}: {key} is {config[key]!r}; only {wanted!r} is computed")
    sizes = {ours: config[theirs] for ours, theirs in names.items()}
    try:
        return MVPFormerConfig(**sizes, **PUBLISHED, lookback=config.get("window", 10))
    except ValueError as e:
        raise ContractError(f"{where}: {e}") from e


def from_released(
    state: dict[str, Tensor], config: dict[str, Any], where: str = "checkpoint"
) -> MVPFormer:
    """A model in strict mode with the weights of a released state dict.

    Raises
    ------
    ContractError
        If a key is missing, unexpected or of another shape.
    """
    model = MVPFormer(config_of(config, where), PREPROCESS)
    renamed = {}
    for key, value in state.items():
        if _UNUSED.search(key):
            continue
        new = key
        for pattern, replacement in _RENAME:
            new = re.sub(pattern, replacement, new)
        if new.endswith("bias_3GE"):
            shape = model.blocks[0].attention.bias_3GE.shape
            if value.numel() != shape.numel():
                raise ContractError(f"{where}: {key} has {value.numel()} numbers, not {shape}")
            value = value.view(shape)
        if ".key_value." in new:  # one matrix: keys above, values below
            keys, value = value.tensor_split(2)
            renamed[new.replace(".key_value.", ".key.")] = keys
            new = new.replace(".key_value.", ".value.")
        renamed[new] = value
    require_same_keys(model.state_dict(), renamed, "MVPFormer", where)
    model.load_state_dict(renamed)
    return model.eval()


def merge_lora(
    state: dict[str, Tensor], lora: dict[str, Tensor], alpha: float, where: str = "adapter"
) -> dict[str, Tensor]:
    """A released state dict with its low-rank adapters added to the weights.

    Of `c_attn` only the value half is adapted: its lora_B has half as many rows.

    Raises
    ------
    ContractError
        If an adapter has no partner, no weight to go to, or another shape.
    """
    merged = dict(state)
    stems = {re.sub(r"\.lora_[AB]$", "", k) for k in lora if ".lora_" in k}
    for stem in sorted(stems):
        a, b, key = lora.get(f"{stem}.lora_A"), lora.get(f"{stem}.lora_B"), f"{stem}.weight"
        if a is None or b is None or key not in state:
            raise ContractError(f"{where}: {stem} lacks lora_A, lora_B or the weight they adapt")
        weight, change = state[key], (alpha / a.shape[0]) * (b @ a)
        if change.shape[1] != weight.shape[1] or weight.shape[0] % change.shape[0]:
            raise ContractError(
                f"{where}: {stem} adapts {tuple(change.shape)}, the weight is {tuple(weight.shape)}"
            )
        still = torch.zeros_like(weight[: weight.shape[0] - change.shape[0]])
        merged[key] = weight + torch.cat([still, change])
    return merged
