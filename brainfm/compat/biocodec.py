"""Released BioCodec checkpoints to our codec and back, key by key (arXiv 2510.09095).

Layout: `biocodec_ckpt.pt` is a table with the weights under `model_state_dict`, whose keys may
carry the prefix of a compiled model (klean2050/BioCodec-release). It holds no sizes: they are
read off the shapes of the weights, and compared with a configuration where one is given. Codecs
come in strict mode (`codecs.biocodec.PUBLISHED`).
"""

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from brainfm.codecs.biocodec import PUBLISHED, BioCodec, BioCodecConfig
from brainfm.compat.state import read_state
from brainfm.errors import ContractError
from brainfm.hub import require_same_keys
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

IQR = 1.349
"""Interquartile range of a unit normal: `channel_robust` divides by IQR / 1.349, the published
program by the IQR."""
COMPILED = "_orig_mod."

# Ours to released, applied in order to the whole key.
_RENAME = [
    (r"^(encoder|decoder)\.layers\.", r"\1.model."),
    (r"^quantizer\.levels\.", "quantizer.vq.layers."),
    (r"\.codebook\.codes_KE$", "._codebook.embed"),
    (r"\.codebook\.sum_KE$", "._codebook.embed_avg"),
    (r"\.codebook\.count_K$", "._codebook.cluster_size"),
    (r"\.codebook\.ready$", "._codebook.inited"),
]
_CONFIG = {
    "ratios": "ratios",
    "n_residual_layers": "n_residual",
    "compress": "compress",
    "dimension": "dim",
    "n_filters": "n_filters",
    "n_q": "n_quantizers",
    "bins": "codebook_size",
    "codebook_dim": "codebook_dim",
}
"""Released names of sizes that the weights tell as well."""
_ONLY = {
    "channels": 1,
    "norm": "weight_norm",
    "normalize": False,
    "commitment_weight": 0.25,
    "decay": 0.99,
    "epsilon": 1e-5,
}
"""Released settings of which one value is computed; `normalize` would need a scale beside the
codes, which the released training did not use."""
_WEIGHT = r"(?:conv\.conv|convtr\.convtr)\.parametrizations\.weight\.original1"


def preprocess_of(sfreq: float) -> Preprocess:
    """What released weights expect: median and IQR of a channel, limits of 10 IQR, no filter.

    The published program takes both over the recording, our batches over the window.
    """
    return Preprocess(
        Recipe(sfreq=sfreq, highpass_hz=None, lowpass_hz=None, notch=False),
        Normalise(reference="none", scale="channel_robust", clip=10 * IQR),
    )


def sizes_of(state: dict[str, Tensor], where: str = "checkpoint") -> dict[str, Any]:
    """Sizes of a released state dict, in our names, from the shapes of its weights.

    Raises
    ------
    ContractError
        If a weight that tells a size is missing.
    """
    shapes = {k: tuple(v.shape) for k, v in state.items()}

    def read(pattern: str) -> dict[int, tuple[int, ...]]:
        found = {int(m[1]): s for k, s in shapes.items() if (m := re.match(pattern, k))}
        if not found:
            raise ContractError(f"{where}: holds no {pattern!r}; it is no BioCodec checkpoint")
        return dict(sorted(found.items()))

    layers = read(rf"encoder\.model\.(\d+)\.{_WEIGHT}$")  # convolutions outside residual blocks
    blocks = read(rf"encoder\.model\.(\d+)\.block\.1\.{_WEIGHT}$")
    books = read(r"quantizer\.vq\.layers\.(\d+)\._codebook\.embed$")
    lstm = read(r"encoder\.model\.\d+\.lstm\.weight_ih_l(\d+)$")
    (first, *down, last), block = layers.values(), next(iter(blocks.values()))
    size, width = books[0]
    return {
        "n_filters": first[0],
        "kernel": first[2],
        # A convolution that strides is twice as long as its stride; the encoder's come reversed.
        "ratios": tuple(s[2] // 2 for s in reversed(down)),
        "last_kernel": last[2],
        "residual_kernel": block[2],
        "n_residual": len(blocks) // max(1, len(down)),
        "n_lstm": len(lstm),
        "compress": block[1] // block[0],
        "dim": last[0],
        "codebook_dim": width,
        "codebook_size": size,
        "n_quantizers": len(books),
        "conv_shortcut": any(".shortcut." in k for k in shapes),
    }


def config_from_released(
    state: dict[str, Tensor], config: dict[str, Any] | None = None, where: str = "checkpoint"
) -> BioCodecConfig:
    """Our strict-mode configuration of a released state dict.

    Parameters
    ----------
    config : released names, such as "n_q"; what the weights cannot tell ("causal") is taken from
        it, the rest must agree with them

    Raises
    ------
    ContractError
        If weights and configuration disagree, or ask for what is not computed.
    """
    config = config or {}
    sizes = sizes_of(state, where)
    for key, ours in _CONFIG.items():
        given = config.get(key, sizes[ours])
        given = tuple(given) if isinstance(given, list) else given
        if given != sizes[ours]:
            raise ContractError(f"{where}: {key} is {given}, but the weights say {sizes[ours]}")
    for key, wanted in _ONLY.items():
        if config.get(key, wanted) != wanted:
            raise ContractError(f"{where}: {key} is {config[key]!r}; only {wanted!r} is computed")
    try:
        return BioCodecConfig(
            **sizes, causal=bool(config.get("causal", True)), gain=1 / IQR, **PUBLISHED
        )
    except (TypeError, ValueError) as e:
        raise ContractError(f"{where}: {e}") from e


def released_keys(model: BioCodec) -> dict[str, str]:
    """Name of each of our state-dict keys in the released layout."""
    transposed = {n for n, m in model.named_modules() if isinstance(m, nn.ConvTranspose1d)}
    names = {}
    for key in model.state_dict():
        new = key
        for pattern, replacement in _RENAME:
            new = re.sub(pattern, replacement, new)
        is_transposed = any(key.startswith(f"{n}.") for n in transposed)
        wrapped = ".convtr.convtr." if is_transposed else ".conv.conv."
        names[key] = new.replace(".conv.", wrapped)
    return names


def from_released(
    state: dict[str, Tensor],
    config: dict[str, Any] | None = None,
    where: str = "checkpoint",
    sfreq: float | None = None,
) -> BioCodec:
    """A codec in strict and evaluation mode with the weights of a released state dict.

    Parameters
    ----------
    state : released keys, with or without the prefix of a compiled model
    config : see `config_from_released`
    sfreq : Hz the weights were trained at; default: `sample_rate` of the configuration, else
        1000 for the strides of EMG (hop 18) and 250 for others

    Raises
    ------
    ContractError
        If a key is missing, unexpected or of another shape, or the configuration disagrees.
    """
    state = {k.removeprefix(COMPILED): v for k, v in state.items()}
    ours = config_from_released(state, config, where)
    guess = 1000.0 if ours.hop == 18 else 250.0
    sfreq = sfreq or float((config or {}).get("sample_rate", guess))
    model = BioCodec(ours, preprocess_of(sfreq))
    names = released_keys(model)
    mine = model.state_dict()
    require_same_keys({names[k]: v for k, v in mine.items()}, state, "a released BioCodec", where)
    model.load_state_dict({k: state[name] for k, name in names.items()}, strict=True)
    return model.eval()


def to_released(model: BioCodec) -> dict[str, Tensor]:
    """State dict of `model` in the released layout; `from_released` reads it back."""
    names = released_keys(model)
    return {names[k]: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def load_released(path: str | Path, sfreq: float | None = None) -> BioCodec:
    """Load `biocodec_ckpt.pt`, or its weights as a safetensors file.

    Parameters
    ----------
    path : the checkpoint; read with `weights_only=True`, so it can run nothing
    sfreq : see `from_released`

    Raises
    ------
    ContractError
        If the file is missing or damaged, or holds other weights.
    """
    return from_released(read_state(path), where=str(path), sfreq=sfreq)
