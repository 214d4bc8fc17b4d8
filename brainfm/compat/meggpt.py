"""Released EphysTokenizer and MEG-GPT state dicts to our modules, key by key (arXiv 2510.18080).

Models come in strict mode: channels by their place in a list, bands counted as published, layers
that shorten. The vocabulary (`vocab.pkl`) is a pickle and is not read; give its counts to
`Vocabulary.of_counts` and the result to `MEGGPT.use_vocabulary`.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.compat.state import read_state
from brainfm.errors import ContractError
from brainfm.hub import require_same_keys
from brainfm.models.meggpt import MEGGPT, MEGGPTConfig
from brainfm.models.meggpt_layers import LayerConfig, hidden_keys
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

PREPROCESS = Preprocess(
    Recipe(sfreq=250.0, highpass_hz=None, lowpass_hz=None, notch=False),
    Normalise(reference="none", scale="channel_robust", clip=None),
)
"""Source-space parcels at 250 Hz; the files say no filter. Released weights saw a z-score of each
channel over its session; the nearest that a window allows is its own robust scale."""

_TOKENIZER = [
    (r"^encoder_layer\.rnn_layers\.0\.", "rnn."),
    (r"^token_weights_layer\.dense_layer\.", "score."),
    (r"^token_weights_layer\.norm_layer\.", "norm."),
    (r"^decoder_layer\.token_basis_layer\.weight$", "basis_KP"),
    (r"^decoder_layer\.token_basis_layer\.bias$", "bias"),
]
_GPT = [
    (r"^input_embedding_layer\.extra_embeds\.0\.", "session_table."),
    (r"^input_embedding_layer\.pos_embed\.", "position_table."),
    (r"^input_embedding_layer\.(token|channel)_embed\.", r"\1_table."),
    (r"_table\.base_module\.(weight|position_embeddings)$", "_table.rows"),
    (r"_table\.proj\.", "_table.project."),
    (r"^transformer_decoder\.input_projection\.", "project."),
    (r"^transformer_decoder\.layers\.", "layers."),
    (r"\.norm_chan1\.norm_layer\.", ".channel_norm."),
    (r"\.norm_chan2\.norm_layer\.", ".channel_feed_norm."),
    (r"\.norm_time1\.norm_layer\.", ".time_norm."),
    (r"\.norm_time2\.norm_layer\.", ".time_feed_norm."),
    (r"\.chan_att_dim_proj\.", ".channel_mix."),
    (r"\.gasp_chan_attention\.", ".over_channels."),
    (r"\.gasp_time_attention\.", ".over_time."),
    (r"\.gasp_cross_attention\.", ".cross."),
    (r"\.patch_projection_k\.", ".patch_key."),
    (r"\.patch_projection_v\.", ".patch_value."),
    (r"\.unpatched_projection_k\.", ".recent_key."),
    (r"\.unpatched_projection_v\.", ".recent_value."),
    (r"\.patched_projection_k\.", ".key."),
    (r"\.patched_projection_v\.", ".value."),
    (r"\.query_projection\.", ".query."),
    (r"\.output_projection\.", ".out."),
    (r"\.ff_chan\.net\.0\.", ".channel_feed.widen."),
    (r"\.ff_chan\.net\.2\.", ".channel_feed.narrow."),
    (r"\.ff_time\.net\.0\.", ".time_feed.widen."),
    (r"\.ff_time\.net\.2\.", ".time_feed.narrow."),
    (r"^prediction_head\.", "head."),
]
_MASK = re.compile(r"layers\.(\d+)\.gasp_(chan|time|cross)_attention\.gasp_layer\.attention_mask$")


def our_name(key: str) -> str:
    """Our name of a released weight of either model."""
    for pattern, replacement in (*_TOKENIZER, *_GPT):
        key = re.sub(pattern, replacement, key)
    return key


def tokenizer_from_released(
    state: dict[str, Tensor], config: dict[str, Any], where: str = "checkpoint"
) -> EphysTokenizer:
    """The tokenizer with released weights; training it on goes on with the last tau.

    Parameters
    ----------
    config : `model_config` of the program, or at least its n_tokens, rnn_n_units, token_dim

    Raises
    ------
    ContractError
        If a size is missing, or a key is missing, unexpected or of another shape.
    """
    try:
        sizes = EphysTokenizerConfig(
            n_tokens=config["n_tokens"],
            hidden=config["rnn_n_units"],
            kernel=config["token_dim"],
            padding=config.get("token_kernel_padding", "causal"),
        )
    except KeyError as e:
        raise ContractError(f"{where}: {e} is missing; give the tokenizer's own settings") from e
    except ValueError as e:
        raise ContractError(f"{where}: {e}") from e
    model = EphysTokenizer(sizes, PREPROCESS)
    renamed = {"step": torch.tensor(sizes.n_stages * sizes.stage_steps)}
    for key, value in state.items():
        new = our_name(key)
        if new == "basis_KP" and value.ndim == 3 or new == "bias" and value.ndim == 1:
            value = value.sum(0)  # the program sums over output channels
        if not key.endswith("._temperature"):
            renamed[new] = value
    require_same_keys(model.state_dict(), renamed, "EphysTokenizer", where)
    model.load_state_dict(renamed)
    return model.eval()


def config_of(
    config: dict[str, Any], tokenizer: EphysTokenizerConfig, where: str = "config"
) -> MEGGPTConfig:
    """Our sizes from the program's `model_config`.

    Raises
    ------
    ContractError
        If a size is missing, sizes contradict each other, or something is asked for that our
        model does not compute.
    """
    try:
        embedding, decoder = config["input_embedding"], config["transformer_decoder"]
        labels = embedding.get("extra_label_specs") or []
        if len(labels) > 1:
            names = [x["name"] for x in labels]
            raise ContractError(f"{where}: labels {names}; only one table of labels is computed")
        if decoder.get("norm_type", "layer") != "layer":
            raise ContractError(f"{where}: norm_type is {decoder['norm_type']!r}; only 'layer' is")
        if not embedding["channel_embedding_dim"] or not embedding["pos_embedding_dim"]:
            raise ContractError(f"{where}: without embedding of positions or channels")
        layers = _layers_of(decoder, int(config["sequence_length"]), where)
        return MEGGPTConfig(
            tokenizer=tokenizer,
            n_labels=embedding["n_tokens"],
            dim=decoder["model_dim"],
            n_heads=decoder["n_heads"],
            inner=decoder["feed_forward_dim"],
            layers=layers,
            activation=decoder["feed_forward_activation"],
            dropout=decoder["dropout"],
            embed_dim=embedding["embedding_dim"],
            token_dim=embedding["token_embedding_dim"],
            position_dim=embedding["pos_embedding_dim"],
            channel_dim=embedding["channel_embedding_dim"],
            n_sessions=labels[0]["n_classes"] if labels else 0,
            session_dim=labels[0]["label_dim"] if labels else None,
            positions=embedding["pos_embedding_type"],
            n_positions=config["sequence_length"],
            channels="list order",
            n_channels=config["n_channels"],
            reach="published",
            guessed=config["loss"]["loss_sequence_length"],
            label_smoothing=config["loss"]["label_smoothing"],
        )
    except KeyError as e:
        raise ContractError(f"{where}: {e} is missing; give the model's own settings") from e
    except ValueError as e:
        raise ContractError(f"{where}: {e}") from e


def _layers_of(decoder: dict[str, Any], n_in: int, where: str) -> tuple[LayerConfig, ...]:
    """One `LayerConfig` a layer; each takes in what the one before gives out."""
    layers = []
    for i, patch in enumerate(decoder["patch_len_in"]):
        n_out = decoder["n_patches_out"][i] * decoder["patch_len_out"][i]
        if decoder["n_patches_in"][i] * patch != n_in:
            raise ContractError(
                f"{where}: layer {i} takes {decoder['n_patches_in'][i]} patches of {patch}, but "
                f"{n_in} positions come; their numbers must agree"
            )
        over_channels = decoder["do_chan_attention"][i]
        cross = decoder["do_cross_attention"][i]
        if cross and not over_channels:
            raise ContractError(f"{where}: layer {i} crosses to channels it does not attend over")
        layers.append(
            LayerConfig(
                patch=patch,
                steps_out=n_out,
                recent=decoder["unpatched_len_in"][i],
                patch_band=decoder["l_patched_b"][i],
                recent_band=decoder["l_unpatched_b"][i],
                over_channels=over_channels,
                cross=cross,
                channel_keys=decoder["chan_attn_chandim"] if over_channels else None,
                channel_mask=over_channels and decoder["chan_attention_mask"][i] is not None,
            )
        )
        n_in = n_out
    return tuple(layers)


def from_released(
    state: dict[str, Tensor],
    config: dict[str, Any],
    tokenizer: EphysTokenizer,
    where: str = "checkpoint",
) -> MEGGPT:
    """The next-token model in strict mode with released weights, around its tokenizer.

    Raises
    ------
    ContractError
        If a key is missing, unexpected or of another shape, or a mask is not the published rule's.
    """
    model = MEGGPT(config_of(config, tokenizer.config, where), PREPROCESS)
    renamed = {f"tokenizer.{k}": v for k, v in tokenizer.state_dict().items()}
    renamed["label_K"] = model.label_K
    for key, value in state.items():
        mask = _MASK.search(key)
        if mask is None:
            renamed[our_name(key)] = value
        elif mask[2] == "chan" and model.config.layers[int(mask[1])].channel_mask:
            renamed[f"layers.{mask[1]}.hide_CC"] = value
        else:
            _require_mask(key, value, _mask_of(model.config, int(mask[1]), mask[2], value), where)
    require_same_keys(model.state_dict(), renamed, "MEGGPT", where)
    model.load_state_dict(renamed)
    return model.eval()


def load_tokenizer(path: str | Path, config: dict[str, Any]) -> EphysTokenizer:
    """The tokenizer in `model_state.pt`, with the `model_config` of the YAML beside it."""
    return tokenizer_from_released(read_state(path), config, str(path))


def load_released(path: str | Path, config: dict[str, Any], tokenizer: EphysTokenizer) -> MEGGPT:
    """The next-token model in `model_state.pt`; see `from_released`."""
    return from_released(read_state(path), config, tokenizer, str(path))


def _mask_of(config: MEGGPTConfig, i: int, which: str, like: Tensor) -> Tensor:
    """The mask by our rule of the attention that stores `like`."""
    n_in = config.n_positions
    for layer in config.layers[:i]:
        n_in = layer.lengths(n_in)[0]
    layer = config.layers[i]
    if which == "chan":
        return torch.zeros_like(like, dtype=torch.bool)
    # Beside a cross attention, the one over time keeps all positions.
    n_out = n_in if layer.cross and which == "time" else layer.lengths(n_in)[0]
    return hidden_keys(layer, n_in, n_out, "published")


def _require_mask(key: str, have: Tensor, want: Tensor, where: str) -> None:
    if have.shape != want.shape or not torch.equal(have.bool(), want):
        raise ContractError(
            f"{where}: {key} is not the mask that these sizes make; give the settings the weights "
            "were trained with"
        )
