"""Released BrainOmni checkpoints to our modules and back, key by key.

Layouts: `BrainOmni.pt` (encoder with its tokenizer) and `BrainTokenizer.pt`, each beside a
`model_cfg.json` (OpenTSLab/BrainOmni; arXiv 2505.18185). Models come in strict mode: they
compute what the published program computes, the cosine-only rotary table included.

Shapes: W steps, E rotary pairs.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.compat.state import read_state
from brainfm.errors import ContractError
from brainfm.hub import require_same_keys
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.nn.rope import Rotary
from brainfm.signals.preprocess import Normalise, Preprocess

log = logging.getLogger(__name__)

PREPROCESS = Preprocess(normalise=Normalise(reference="average", scale="kind_std", clip=None))
"""What released weights were trained on."""

TOKENIZER_KEYS = {
    "window_length": "window",
    "n_filters": "n_filters",
    "ratios": "ratios",
    "kernel_size": "kernel",
    "last_kernel_size": "last_kernel",
    "n_dim": "dim",
    "n_neuro": "n_sources",
    "n_head": "n_heads",
    "dropout": "dropout",
    "codebook_dim": "codebook_dim",
    "codebook_size": "codebook_size",
    "num_quantizers": "n_quantizers",
    "rotation_trick": "rotation_trick",
}
ENCODER_KEYS = {
    "overlap_ratio": "overlap",
    "lm_dim": "dim",
    "lm_head": "n_heads",
    "lm_depth": "depth",
    "lm_dropout": "dropout",
    "mask_ratio": "mask_ratio",
    "num_quantizers_used": "n_levels_used",
}
_OPTIONAL = {"dropout", "rotation_trick", "lm_dropout", "mask_ratio", "num_quantizers_used"}

# Ours to released, applied in order to the whole key.
_RENAME = [
    (r"^mask_token_T$", "mask_token"),
    (r"^project\.", "projection."),
    (r"^head\.", "predict_head."),
    (r"\.attention_norm\.", ".pre_attn_norm."),
    (r"\.feed_norm\.", ".pre_ff_norm."),
    (r"\.over_time\.", ".time_attn."),
    (r"\.over_sources\.", ".spatial_attn."),
    (r"_attn\.out\.", "_attn.proj."),
    (r"\.feed\.widen\.", ".ff.layer.0."),
    (r"\.feed\.narrow\.", ".ff.layer.2."),
    (r"\bsensors\.kind\.", "sensor_embed.sensor_embedding_layer."),
    (r"\bsensors\.position\.", "sensor_embed.pos_embedding_layer."),
    (r"\bsensors\.mix\.widen\.", "sensor_embed.aggregate_mlp.layer.0."),
    (r"\bsensors\.mix\.narrow\.", "sensor_embed.aggregate_mlp.layer.2."),
    (r"\bsensors\.norm\.", "sensor_embed.norm."),
    (r"\bencoder\.layers\.", "encoder.seanet_encoder.model."),
    (r"\bdecoder\.layers\.", "decoder.seanet_decoder.model."),
    (r"\bsource_SD$", "encoder.neuros"),
    (r"\bsensor_key\.", "encoder.k_proj."),
    (r"\bsensor_value\.", "encoder.backwardsolution.v."),
    (r"\bto_sources\.", "encoder.backwardsolution.proj."),
    (r"\bsource_kv\.", "decoder.forwardsolution.kv."),
    (r"\bto_sensors\.", "decoder.forwardsolution.proj."),
    (r"\bquantizer\.levels\.", "quantizer.rvq.layers."),
    (r"\.codebook\.codes_KE$", "._codebook.embed"),
    (r"\.codebook\.sum_KE$", "._codebook.embed_avg"),
    (r"\.codebook\.count_K$", "._codebook.cluster_size"),
    (r"\.codebook\.ready$", "._codebook.inited"),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
]


def released_keys(model: nn.Module) -> dict[str, str]:
    """Name of each of our state-dict keys in the released layout."""
    transposed = {n for n, m in model.named_modules() if isinstance(m, nn.ConvTranspose1d)}
    names = {}
    for key in model.state_dict():
        new = key
        for pattern, replacement in _RENAME:
            new = re.sub(pattern, replacement, new)
        if "seanet" in new and ".conv." in new:
            # The published wrapper nests the convolution once more, under another name.
            is_transposed = any(key.startswith(f"{n}.") for n in transposed)
            new = new.replace(".conv.", ".convtr.convtr." if is_transposed else ".conv.conv.")
        names[key] = new
    return names


def _rotaries(model: nn.Module) -> Iterator[tuple[str, Rotary]]:
    for name, module in model.named_modules():
        if isinstance(module, Rotary):
            stem = name.replace(".over_time.rotary", ".time_attn.rope_embedding_layer")
            yield stem, module


def _rotary_state(model: nn.Module, n_steps: int = 240) -> dict[str, Tensor]:
    """Frequencies and tables as released: complex, or real where the sine was lost."""
    state = {}
    for stem, rotary in _rotaries(model):
        angle_WE = torch.outer(torch.arange(n_steps).float(), rotary.freqs_E.cpu())
        table = torch.polar(torch.ones_like(angle_WE), angle_WE)
        state[f"{stem}.freqs"] = rotary.freqs_E.detach().cpu()
        state[f"{stem}.rotate"] = table if rotary.mode == "real" else table.real.contiguous()
    return state


def _is_cosine(state: dict[str, Tensor], where: str) -> bool:
    """True if all rotary tables are real; mixed tables are refused."""
    found = {
        not (v.is_complex() and bool(v.imag.abs().max() > 0))
        for k, v in state.items()
        if k.endswith(".rotate") and v.numel()
    }
    if len(found) > 1:
        raise ContractError(
            f"{where}: some rotary tables are complex and some are cosines only; "
            "the file is damaged, fetch it again"
        )
    return found == {True}


def _check_rotary(model: BrainOmni, state: dict[str, Tensor], where: str) -> None:
    """Tables in the file must be the ones we compute, whatever their length."""
    for stem, rotary in _rotaries(model):
        key = f"{stem}.rotate"
        want = _rotary_state(model, len(state[key]))
        for name in (f"{stem}.freqs", key):
            have = state[name]
            if have.is_complex() and not want[name].is_complex():
                have = have.real
            if have.shape != want[name].shape or not torch.allclose(have, want[name], atol=1e-4):
                raise ContractError(
                    f"{where}: {name} is not the rotary table of width {2 * len(rotary.freqs_E)} "
                    "(base 10000) that brainfm computes; such weights cannot be reproduced"
                )


def config_from_released(
    model_cfg: dict[str, Any], state: dict[str, Tensor], where: str = "model_cfg.json"
) -> BrainOmniConfig | BrainTokenizerConfig:
    """Our strict-mode configuration of a released `model_cfg.json`.

    Parameters
    ----------
    model_cfg : flat, or split into "tok" and "lm"
    state : the weights: they say how many sensor kinds there are, and what rotary table
    """
    flat = {**model_cfg.get("tok", {}), **model_cfg.get("lm", {})} or dict(model_cfg)
    is_encoder = any(k.startswith("blocks.") for k in state) or "mask_token" in state
    wanted = TOKENIZER_KEYS | (ENCODER_KEYS if is_encoder else {})
    missing = sorted(set(wanted) - set(flat) - _OPTIONAL)
    if missing:
        raise ContractError(f"{where}: missing {missing}; it must describe the released model")
    if flat.get("quantize_optimize_method", "ema") != "ema":
        raise ContractError(
            f"{where}: quantize_optimize_method is '{flat['quantize_optimize_method']}'; "
            "only 'ema' codebooks were released"
        )
    ignored = sorted(set(flat) - set(wanted) - set(ENCODER_KEYS) - {"quantize_optimize_method"})
    if ignored:
        log.warning("%s: %s have no meaning here and are ignored", where, ignored)
    kinds = next((v for k, v in state.items() if k.endswith("sensor_embedding_layer.weight")), None)
    try:
        tokenizer = BrainTokenizerConfig(
            **{ours: flat[k] for k, ours in TOKENIZER_KEYS.items() if k in flat},
            position="published",
            linear_path=False,
            n_kinds=3 if kinds is None else len(kinds),
            dead_count=2.0,
            init_at_eval=True,
            exact=True,
        )
        if not is_encoder:
            return tokenizer
        return BrainOmniConfig(
            tokenizer=tokenizer,
            **{ours: flat[k] for k, ours in ENCODER_KEYS.items() if k in flat},
            rope="cosine" if _is_cosine(state, where) else "real",
            balance_input=False,
        )
    except (TypeError, ValueError, AttributeError) as e:
        raise ContractError(f"{where}: {e}") from e


def from_released(
    state: dict[str, Tensor], model_cfg: dict[str, Any], where: str = "released weights"
) -> BrainOmni | BrainTokenizer:
    """Build the model of a released state dict.

    Parameters
    ----------
    state : released keys, a BrainOmni or a bare BrainTokenizer
    model_cfg : content of `model_cfg.json`
    where : file name for error messages

    Returns
    -------
    BrainOmni or BrainTokenizer, in strict and evaluation mode

    Raises
    ------
    ContractError
        Naming every missing, unexpected or mis-shaped key.
    """
    config = config_from_released(model_cfg, state, f"{where}, model_cfg")
    is_encoder = isinstance(config, BrainOmniConfig)
    model = (BrainOmni if is_encoder else BrainTokenizer)(config, PREPROCESS)
    names = released_keys(model)
    ours = model.state_dict()
    want = {released: ours[k] for k, released in names.items()}
    if is_encoder:
        tables = [len(v) for k, v in state.items() if k.endswith(".rotate") and v.ndim]
        want |= _rotary_state(model, tables[0] if tables else 240)
    require_same_keys(want, state, f"a released {type(model).__name__}", where)
    if is_encoder:
        _check_rotary(model, state, where)
    model.load_state_dict({k: state[released] for k, released in names.items()}, strict=True)
    return model.eval()


def to_released(model: BrainOmni | BrainTokenizer) -> dict[str, Tensor]:
    """State dict of `model` in the released layout; `from_released` reads it back.

    Raises
    ------
    ContractError
        If the model has parts that the published program does not know.
    """
    tokenizer = model.config.tokenizer if isinstance(model, BrainOmni) else model.config
    if tokenizer.linear_path or tokenizer.position != "published":
        raise ContractError(
            f"the released layout knows neither linear_path (here {tokenizer.linear_path}) nor "
            f"position '{tokenizer.position}'; use save_pretrained, or train with "
            "linear_path=False and position='published'"
        )
    names = released_keys(model)
    state = {names[k]: v.detach().cpu().clone() for k, v in model.state_dict().items()}
    return state | _rotary_state(model)


def to_released_config(config: BrainOmniConfig | BrainTokenizerConfig) -> dict[str, Any]:
    """Content of `model_cfg.json` for a configuration; inverse of `config_from_released`."""
    tokenizer = config.tokenizer if isinstance(config, BrainOmniConfig) else config
    cfg: dict[str, Any] = {k: getattr(tokenizer, ours) for k, ours in TOKENIZER_KEYS.items()}
    cfg["ratios"] = list(cfg["ratios"])
    cfg["quantize_optimize_method"] = "ema"
    if isinstance(config, BrainOmniConfig):
        cfg |= {k: getattr(config, ours) for k, ours in ENCODER_KEYS.items()}
    return cfg


def load_released(
    path: str | Path, model_cfg: str | Path | dict[str, Any] | None = None
) -> BrainOmni | BrainTokenizer:
    """Load `BrainOmni.pt` or `BrainTokenizer.pt`.

    Parameters
    ----------
    path : the checkpoint; read with `weights_only=True`, so it can run nothing
    model_cfg : `model_cfg.json` or its content; default: the one beside the checkpoint

    Raises
    ------
    ContractError
        If a file is missing or damaged, or the weights are not those of the configuration.
    """
    path = Path(path)
    if not isinstance(model_cfg, dict):
        model_cfg = _read_json(Path(model_cfg or path.parent / "model_cfg.json"))
    state = read_state(path)
    return from_released(state, model_cfg, str(path))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ContractError(
            f"{path}: cannot be read; put model_cfg.json beside the checkpoint"
        ) from e
    except ValueError as e:
        raise ContractError(f"{path}: not valid JSON ({e}); fetch it again") from e
    if not isinstance(content, dict):
        raise ContractError(f"{path}: expected a table of settings")
    return content
