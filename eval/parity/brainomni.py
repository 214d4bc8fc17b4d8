"""BrainTokenizer and BrainOmni references: every array of such a file, recomputed.

The model is built in strict mode from the file's own weights and sizes.

Shapes: B batch, C channels, N windows, P samples, S sources, F frames, W steps, D width,
Q levels, K codes.
"""

from copy import deepcopy
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.codecs.braintokenizer import BrainTokenizer, CodecForward, unfold_windows
from brainfm.codecs.losses import codec_losses, normalise_target
from brainfm.codecs.quantize import Quantized
from brainfm.compat.brainomni import from_released
from brainfm.errors import DataError
from brainfm.models.brainomni import BrainOmni
from brainfm.models.masking import MaskPlan
from brainfm.nn.rope import Rotary
from brainfm.signals.normalise import centre_positions, normalise_window
from brainfm.signals.preprocess import Normalise
from brainfm.types import Codes
from eval.parity.reference import Recipes, Reference

SEANET = 1e-4
"""After a SEANet stack (convolutions and LSTM sum in another order)."""
PHASE = 1e-2
"""An angle near +-pi may wrap on other hardware, and moves the mean phase loss."""


def matches(reference: Reference) -> bool:
    """True for a file with BrainTokenizer weights."""
    return any("seanet_encoder" in k for k in reference.arrays if k.startswith("sd/"))


class Program:
    """The published program on one file; everything is computed once, when first asked."""

    def __init__(self, reference: Reference) -> None:
        self.ref = reference
        state = {k: torch.from_numpy(np.array(v)) for k, v in reference.group("sd/").items()}
        self.model = from_released(state, reference.config, str(reference.path))

    def input(self, name: str) -> Tensor:
        """Array of the file as a tensor, floats in single precision."""
        x = torch.from_numpy(np.array(self.ref[name]))
        return x.float() if x.is_floating_point() else x

    @property
    def codec(self) -> BrainTokenizer:
        return self.model.tokenizer if isinstance(self.model, BrainOmni) else self.model

    @property
    def omni(self) -> BrainOmni:
        if not isinstance(self.model, BrainOmni):
            raise DataError("the file holds a tokenizer without an encoder")
        return self.model

    # The codec, all channels given.

    @cached_property
    def windows(self) -> Tensor:
        return unfold_windows(self.input("in/x"), self.codec.config.window)

    @cached_property
    def sensor(self) -> Tensor:
        return self.codec.sensors.embed(self.input("in/pos"), self.kind)

    @cached_property
    def kind(self) -> Tensor:
        return self.input("in/sensor_type").long()

    @cached_property
    def valid(self) -> Tensor:
        return torch.ones_like(self.kind, dtype=torch.bool)

    @cached_property
    def seanet(self) -> Tensor:
        return self.codec.encoder(self.windows.flatten(0, 2)[:, None])

    @cached_property
    def feature(self) -> Tensor:
        return self.codec.encode_windows(self.windows, self.sensor, self.valid)

    @cached_property
    def quantised(self) -> Quantized:
        return self.codec.quantise(self.feature, update=False)

    @cached_property
    def rec(self) -> Tensor:
        return self.codec.decode_windows(self.quantised.latent, self.sensor)

    @cached_property
    def losses(self) -> dict[str, Tensor]:
        return codec_losses(self.rec, normalise_target(self.windows), self.quantised.commit)

    # The codec's training pass.

    @cached_property
    def hidden_pass(self) -> CodecForward:
        return self.codec.forward_windows(
            self.windows,
            self.sensor,
            self.valid,
            perm_C=self.input("rand/tok_perm").long(),
            noise_BCNP=self.input("rand/tok_noise"),
        )

    @cached_property
    def hidden_losses(self) -> dict[str, Tensor]:
        f = self.hidden_pass
        return codec_losses(f.rec_BCNP, f.target_BCNP, f.commit)

    # The encoder.

    @cached_property
    def codes(self) -> Codes:
        x = unfold_windows(self.input("in/x"), self.codec.config.window, self.omni.config.overlap)
        z = self.codec.encode_windows(x, self.sensor, self.valid)
        q = self.codec.quantise(z, update=False)
        w = q.ids.shape[2] * q.ids.shape[3]
        return Codes(q.ids.flatten(2, 3), q.latent.flatten(2, 3), torch.arange(w), 1.0)

    @cache  # noqa: B019, one Program lives as long as one file
    def trace(self, rope: str) -> dict[str, Tensor]:
        """Everything on the way through the blocks with one kind of rotary table."""
        rotaries = [m for m in self.omni.modules() if isinstance(m, Rotary)]
        before = [m.mode for m in rotaries]
        for m in rotaries:
            m.mode = rope
        try:
            return self._trace()
        finally:
            for m, mode in zip(rotaries, before, strict=True):
                m.mode = mode

    def _trace(self) -> dict[str, Tensor]:
        out = {}
        h = out["lm_in"] = self.omni.embed(self.codes.latent_BSWD)
        for i, block in enumerate(self.omni.blocks):
            time, sources = block.mix(block.attention_norm(h))
            out[f"block{i}_time_attn_out"], out[f"block{i}_spatial_attn_out"] = time, sources
            out[f"block{i}_attn_op"] = torch.cat((sources, time), -1)
            if i == len(self.omni.blocks) - 1:
                out["omni_encode"] = F.normalize(h, dim=-1)
            h = out[f"block{i}_out"] = block(h)
        return out

    @cached_property
    def masked(self) -> dict[str, Tensor]:
        plan = MaskPlan(
            self.input("rand/omni_rand_mask"),
            self.input("rand/omni_rand_replace"),
            self.input("rand/omni_perm").long(),
        )
        return self.omni.masked_forward(self.codes, plan)

    # One training step of the first codebook.

    @cached_property
    def ema(self) -> dict[str, Tensor]:
        # A copy: the step changes the codebook that all other arrays are computed with.
        level = deepcopy(self.codec.quantizer.levels[0])
        x = self.input("ema/in").requires_grad_(True)
        with torch.enable_grad():
            q = level(x, update=True)
        after = level.codebook.state_dict()
        out = {
            "idx": q.ids,
            "loss": q.commit,
            "quantized_out": q.latent,
            "cluster_size_after": after["count_K"],
            "embed_avg_after": after["sum_KE"],
            "embed_after": after["codes_KE"],
        }
        if "ema/w" in self.ref:
            with torch.enable_grad():
                total = (q.latent * self.input("ema/w")).sum()
            out["grad_in_from_sum_out_times_w"] = torch.autograd.grad(total, x)[0]
        return out

    # Preprocessing, in numpy.

    def normalised(self) -> np.ndarray:
        spec = Normalise(reference="average", scale="kind_std", clip=None)
        return normalise_window(self.ref["prep/raw"], self.ref["prep/sensor_type"], spec)[0]

    def centred(self) -> np.ndarray:
        pos = self.ref["prep/pos_in"]
        xyz = centre_positions(pos[:, :3], self.ref["prep/sensor_type"])
        return np.concatenate((xyz, pos[:, 3:]), 1)


def compute(reference: Reference) -> Recipes:
    """Recipes of every array such a file can hold.

    Raises
    ------
    ContractError
        If the file's weights do not fit its sizes.
    """
    p = Program(reference)
    r = Recipes(given={"ema/in", "ema/w", "prep/raw", "prep/sensor_type", "prep/pos_in"})
    _codec_recipes(r, p)
    if isinstance(p.model, BrainOmni):
        _encoder_recipes(r, p)
    for key in ("loss", "quantized_out", "cluster_size_after", "embed_avg_after", "embed_after"):
        r.add(f"ema/{key}", lambda k=key: p.ema[k])
    r.add("ema/idx", lambda: p.ema["idx"], 0.0)
    key = "grad_in_from_sum_out_times_w"
    r.add(f"ema/{key}", lambda: p.ema["grad_in_from_sum_out_times_w"])
    r.add("prep/norm_out", p.normalised)
    r.add("prep/pos_out", p.centred)
    return r


def _codec_recipes(r: Recipes, p: Program) -> None:
    r.add("mid/unfold", lambda: p.windows)
    r.add("mid/sensor_embed", lambda: p.sensor)
    r.add("mid/seanet_enc", lambda: p.seanet, SEANET)
    r.add("mid/enc_feature", lambda: p.feature, SEANET)
    r.add("mid/quantized", lambda: p.quantised.latent)
    r.add("out/indices", lambda: p.quantised.ids, 0.0)
    r.add("out/commit_loss_eval", lambda: p.quantised.commit)
    r.add("out/x_rec", lambda: p.rec, SEANET)
    r.add("out/norm_target", lambda: normalise_target(p.windows))
    r.add("out/tok_loss_nomask", lambda: p.losses["loss"], excuse=("out/phase_loss", 0.5))
    for theirs, ours in (("time_loss", "time"), ("pcc", "pcc"), ("amp_loss", "amp")):
        r.add(f"out/{theirs}", lambda k=ours: p.losses[k])
        r.add(f"out/tok_forward_{theirs}", lambda k=ours: p.hidden_losses[k])
    r.add("out/phase_loss", lambda: p.losses["phase"], PHASE)
    r.add("out/tok_forward_phase_loss", lambda: p.hidden_losses["phase"], PHASE)
    r.add("out/tok_forward_commitment_loss", lambda: p.hidden_losses["commit"])
    # The program returns its total a second time, as the number it selects checkpoints by.
    for name in ("loss", "judge_loss"):
        excuse = ("out/tok_forward_phase_loss", 0.5)
        r.add(f"out/tok_forward_{name}", lambda: p.hidden_losses["loss"], excuse=excuse)
    r.add(
        "out/tok_forward_indices",
        lambda: p.hidden_pass.ids_BSWQ.unflatten(2, p.feature.shape[2:4]),
        0.0,
    )


def _encoder_recipes(r: Recipes, p: Program) -> None:
    published = p.model.config.rope
    r.add("out/tokenize_feature", lambda: p.codes.latent_BSWD)
    r.add("out/tokenize_indices", lambda: p.codes.ids_BSWQ, 0.0)
    r.add("mid/lm_in", lambda: p.trace(published)["lm_in"])
    r.add("out/omni_encode", lambda: p.trace(published)["omni_encode"])
    r.add("cosonly/omni_encode", lambda: p.trace("cosine")["omni_encode"])
    for i in range(p.model.config.depth):
        for part in ("time_attn_out", "spatial_attn_out", "attn_op", "out"):
            name = f"block{i}_{part}"
            r.add(f"mid/{name}", lambda n=name: p.trace(published)[n])
            r.add(f"cosonly/{name}", lambda n=name: p.trace("cosine")[n])
    r.add("out/omni_forward_loss", lambda: p.masked["loss"])
    r.add("out/omni_forward_acc_all", lambda: p.masked["acc"])
    for i in range(p.model.config.n_levels_used):
        r.add(f"out/omni_forward_acc_{i}", lambda k=i: p.masked[f"acc_{k}"])
