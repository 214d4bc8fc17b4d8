"""BioCodec references: every array of such a file, recomputed in strict mode.

Shapes: M single channels, T samples, F steps, D width, Q levels, K codes.
"""

import re
from copy import deepcopy
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from brainfm.codecs.biocodec import BioCodec
from brainfm.codecs.losses import BioCodecLoss, phasors
from brainfm.codecs.quantize import Quantized
from brainfm.compat.biocodec import from_released
from eval.parity.reference import Recipes, Reference

SEANET = 1e-4
"""After a SEANet stack (convolutions and LSTM sum in another order)."""
SPECTRUM = 1e-4
"""Where hardly anything is, cosine and sine of a phase are rounding over a small number."""
NAMES = {"l_t": "time", "l_f": "spectral", "corr": "pcc", "sdr": "sdr"}
"""What the program calls a loss, and what we do."""
N_FFTS = {"eeg": (32, 64, 128, 256), "emg": (128, 256, 512, 1024)}
SEGMENT_S, OVERLAP = 1.0, 0.01
"""Of the program's own cutting of long signals (`out/seg_rec`)."""
BOOKS = {"embed": "codes_KE", "cluster_size": "count_K", "embed_avg": "sum_KE"}


def matches(reference: Reference) -> bool:
    """True for a file with a bare EnCodec: SEANets and a `quantizer.vq`."""
    return any(k.startswith("sd/quantizer.vq.layers.") for k in reference.arrays) and any(
        k.startswith("sd/encoder.model.") for k in reference.arrays
    )


class Program:
    """The published program on one file; everything is computed once, when first asked."""

    def __init__(self, reference: Reference) -> None:
        self.ref = reference
        state = {k: torch.from_numpy(np.array(v)) for k, v in reference.group("sd/").items()}
        self.model = from_released(state, reference.config, str(reference.path))
        self.sfreq = float(reference.config.get("sample_rate", 250))
        self.loss = BioCodecLoss(N_FFTS["emg" if self.is_emg else "eeg"])

    @property
    def is_emg(self) -> bool:
        """The program has other spectra for EMG: told by those in the file, or by the rate."""
        stored = [int(m[1]) for k in self.ref.arrays if (m := re.match(r"mid/spec(\d+)_in$", k))]
        return min(stored) >= 128 if stored else self.sfreq >= 1000

    @cached_property
    def x(self) -> Tensor:
        """(M, T)."""
        return torch.from_numpy(np.array(self.ref["in/x"])).float()[:, 0]

    @cached_property
    def features(self) -> Tensor:
        return self.model.encode_channels(self.x)

    @cache  # noqa: B019, one Program lives as long as one file
    def quantised(self, n_levels: int | None = None) -> Quantized:
        return self.model.quantizer(self.features, False, n_levels)

    @cache  # noqa: B019
    def decoded(self, n_levels: int | None = None) -> Tensor:
        """(M, 1, F hop)."""
        return self.model.decode_channels(self.quantised(n_levels).latent)[:, None]

    def rec(self, n_levels: int | None = None) -> Tensor:
        """(M, 1, T)."""
        return self.decoded(n_levels)[..., : self.x.shape[-1]]

    @cached_property
    def losses(self) -> dict[str, Tensor]:
        return self.loss(self.rec(), self.x[:, None], torch.zeros(()))

    # The program's two ways around a signal of any size or length.

    @cached_property
    def scaled(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, root mean square and reconstruction of 7 x + 1 divided by it."""
        x = 7 * self.x + 1
        scale = x.square().mean(-1, keepdim=True).sqrt()
        q = self.model.code_channels(x / scale)
        rec = self.model.decode_channels(q.latent)[:, : x.shape[-1]] * scale
        return q.ids, scale, rec[:, None]

    @cached_property
    def segments(self) -> Tensor:
        """Reconstruction of overlapping segments, faded into each other."""
        from transformers import EncodecModel

        n = int(SEGMENT_S * self.sfreq)
        step = max(1, int((1 - OVERLAP) * n))
        parts = []
        for start in range(0, self.x.shape[-1], step):
            q = self.model.code_channels(self.x[:, start : start + n])
            parts.append(self.model.decode_channels(q.latent))
        whole = EncodecModel._linear_overlap_add(parts, step)
        return whole[:, None, : self.x.shape[-1]]

    # One training step, as the published trainer makes it.

    @cached_property
    def trained(self) -> tuple[BioCodec, dict[str, Tensor]]:
        """The codec after one forward, and its losses and gradients."""
        # A copy: the step moves the codebooks that all other arrays are computed with.
        model = deepcopy(self.model).train()
        with torch.enable_grad():
            rec, q = model.train_channels(self.x)
            parts = self.loss(rec[:, None], self.x[:, None], q.commit)
            twice = parts["loss"] + q.commit  # the trainer goes backward through it once more
            twice.backward()
        first, last = model.encoder.layers[0].conv, model.decoder.layers[-1].conv
        found = {NAMES_OF[k]: v for k, v in parts.items() if k in NAMES_OF}
        return model, found | {
            "out": rec[:, None],
            "loss_w": q.commit[None],
            "total": parts["loss"][None],
            "grad_enc0_bias": first.bias.grad,
            "grad_dec_last_bias": last.bias.grad,
        }

    def book(self, level: int, name: str) -> Tensor:
        """A buffer of one codebook after the step."""
        return getattr(self.trained[0].quantizer.levels[level].codebook, BOOKS[name])


NAMES_OF = {ours: f"loss_{theirs}" for theirs, ours in NAMES.items()}


def channel_first(ids_MFQ: Tensor) -> Tensor:
    """(M, F, Q) to the program's order (M, Q, F); features alike."""
    return ids_MFQ.transpose(1, 2)


def compute(reference: Reference) -> Recipes:
    """Recipes of every array such a file can hold.

    Raises
    ------
    ContractError
        If the file's weights do not fit its sizes.
    """
    p = Program(reference)
    r = Recipes()
    r.add("mid/enc_emb", lambda: channel_first(p.features), SEANET)
    r.add("mid/dequantized", lambda: channel_first(p.quantised().latent))
    r.add("out/codes", lambda: channel_first(p.quantised().ids), 0.0)
    r.add("out/decoded_untrimmed", p.decoded, SEANET)
    r.add("out/x_rec", p.rec, SEANET)
    for n in range(1, p.model.n_levels + 1):
        r.add(f"out/codes_nq{n}", lambda n=n: channel_first(p.quantised(n).ids), 0.0)
        r.add(f"out/rec_nq{n}", lambda n=n: p.rec(n), SEANET)
    for n in (n for names in N_FFTS.values() for n in names):
        r.add(f"mid/spec{n}_in", lambda n=n: phasors(p.x, n), SPECTRUM)
    r.add("out/norm_codes", lambda: channel_first(p.scaled[0]), 0.0)
    r.add("out/norm_scale", lambda: p.scaled[1])
    r.add("out/norm_rec", lambda: p.scaled[2], SEANET)
    r.add("out/seg_rec", lambda: p.segments, SEANET)
    _loss_recipes(r, p)
    _training_recipes(r, p)
    return r


def _loss_recipes(r: Recipes, p: Program) -> None:
    for theirs, ours in NAMES.items():
        tolerance = SPECTRUM if ours in ("spectral", "sdr") else 1e-5
        r.add(f"out/loss_{theirs}", lambda o=ours: p.losses[o], tolerance)
        r.add(f"train/loss_{theirs}", lambda t=theirs: p.trained[1][f"loss_{t}"], tolerance)


def _training_recipes(r: Recipes, p: Program) -> None:
    r.add("train/out", lambda: p.trained[1]["out"], SEANET)
    r.add("train/loss_w", lambda: p.trained[1]["loss_w"])
    r.add("train/total", lambda: p.trained[1]["total"], SPECTRUM)
    for part in ("enc0", "dec_last"):
        name = f"grad_{part}_bias"
        r.add(f"train/{name}", lambda n=name: p.trained[1][n], SEANET)
    for level in range(p.model.n_levels):
        for name in BOOKS:
            r.add(f"train/after_{name}_{level}", lambda q=level, n=name: p.book(q, n))
