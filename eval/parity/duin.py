"""Du-IN references: every array of such a file, recomputed in strict mode.

A file holds three models with weights of their own: the VQ-VAE, the masked encoder, and the
61-word classifier, whose cross-entropy of sigmoids is computed here as published.

Shapes: B batch, C channels, T samples, R regions, N tokens, D width, E codebook width, K codes,
L words.
"""

from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.codecs.duin import Contacts, DuIN, RegionEncoder, SquaredErrorLoss
from brainfm.codecs.duin_layers import time_table
from brainfm.codecs.sphere import SphereCodes
from brainfm.compat.duin import (
    encoder_from_released,
    from_released,
    mae_from_released,
    our_name,
    released_layout,
)
from brainfm.models.duin import code_losses, mask_of
from eval.parity.reference import Recipes, Reference

LONG = 1e-4
"""After the chain of transposed convolutions, and for gradients through everything."""


def matches(reference: Reference) -> bool:
    """True for a file with weights of a subject mixing and a code index."""
    return "sd/vq_block.codex.embeddings" in reference.arrays


class Program:
    """The published program on one file; everything is computed once, when first asked."""

    def __init__(self, reference: Reference) -> None:
        self.ref, self.where = reference, str(reference.path)
        self.state = self.group("sd/")
        self.model: DuIN = from_released(self.state, reference.config, self.where)

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {k: torch.from_numpy(np.array(v)) for k, v in self.ref.group(prefix).items()}

    def input(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.ref[name]))

    @cached_property
    def x(self) -> Tensor:
        return self.input("in/x").float().mT

    @cached_property
    def contacts(self) -> Contacts:
        """Padded channels hold zeros and are mixed all the same, as published."""
        mask_BC = torch.ones_like(self.input("in/channel_mask"))
        return Contacts(None, mask_BC, self.input("in/subj_id").argmax(-1))

    # The VQ-VAE at evaluation.

    @cached_property
    def mixed(self) -> Tensor:
        return self.model.encoder.mixed(self.x, self.contacts)

    @cached_property
    def tokens(self) -> Tensor:
        return self.model.encoder.tokens(self.x, self.contacts)

    @cached_property
    def encoded(self) -> dict[str, Tensor]:
        """Every block, and the inside of the first."""
        h = self.tokens + time_table(*self.tokens.shape[1:])
        first = self.model.encoder.blocks[0]
        q, k, _ = first.heads(h)
        out = {"enc_block0_mha": first.attend(h)}
        out["enc_block0_attn_weights"] = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        for i, block in enumerate(self.model.encoder.blocks):
            h = block(h)
            out[f"enc_block{i}"] = h
        return out

    @cached_property
    def projected(self) -> Tensor:
        return self.model.project_in(self.model.encoder.run(self.tokens))

    @cached_property
    def counting(self) -> tuple[SphereCodes, Tensor]:
        """Codes of one evaluation, and the counts that it leaves behind."""
        model = deepcopy(self.model)
        codes = model.quantise(model.encoder.run(self.tokens), update=False)
        return codes, model.codebook.count_K

    @cached_property
    def decoded(self) -> dict[str, Tensor]:
        """Every block and every transposed convolution."""
        h = self.model.project_out(self.model.code_norm(self.counting[0].latent))
        out = {"vq_out": h}
        h = h + time_table(*h.shape[1:])
        for i, block in enumerate(self.model.decoder):
            h = block(h)
            out[f"dec_block{i}"] = h
        for i, up in enumerate(self.model.upsample.layers(h)):
            out[f"rgs{i}"] = up.mT
        out["rgs"] = self.model.upsample(h).mT
        return out

    @cached_property
    def rec(self) -> Tensor:
        regions = self.model.decode_regions(self.counting[0].latent)
        return self.model.unmixed(regions, self.contacts)

    @cached_property
    def losses(self) -> dict[str, Tensor]:
        return self.losses_of(self.rec, self.counting[0].commit)

    def losses_of(self, rec_BCT: Tensor, commit: Tensor) -> dict[str, Tensor]:
        mask_BC = self.input("in/channel_mask")
        parts = SquaredErrorLoss()(rec_BCT, self.x, commit, mask_BC)
        return {"total": parts["loss"], "rgs": parts["error"], "vq": parts["commit"]}

    # One training step of it.

    @cached_property
    def step(self) -> tuple[DuIN, SphereCodes, Tensor, dict[str, Tensor]]:
        """The model after a forward and a backward pass, its codes, its signal, its losses."""
        model = deepcopy(self.model).train()
        with torch.enable_grad():
            h = model.encoder.run(model.encoder.tokens(self.x, self.contacts))
            codes = model.quantise(h, update=True)
            rec = model.unmixed(model.decode_regions(codes.latent), self.contacts)
            losses = self.losses_of(rec, codes.commit)
            losses["total"].backward()
        return model, codes, rec, losses

    def gradient(self, key: str) -> Tensor:
        """Gradient of a weight in the released layout."""
        model = self.step[0]
        weight = dict(model.named_parameters())[our_name(key)]
        return released_layout(key, weight.grad)

    @cached_property
    def kmeans(self) -> tuple[Tensor, Tensor]:
        """Codes and last counts of the first forward pass."""
        book = deepcopy(self.model.codebook)
        bins = book.initialise(
            F.normalize(self.projected, dim=-1).flatten(0, 1), self.input("rand/kmeans_idx").long()
        )
        return book.codes_KE, bins.long()

    # The masked encoder.

    @cached_property
    def mae(self) -> dict[str, Tensor]:
        ratio = float(self.ref.config["mask_ratio"])
        model = mae_from_released(self.group("mae_sd/"), self.model, ratio, self.where)
        tokens = model.encoder.tokens(self.x, self.contacts)
        mask_BN = mask_of(self.input("rand/mae_noise"), ratio)
        out = {
            "mae_tokens": tokens,
            "mae_enc_masked": model.run_hidden(tokens, mask_BN),
            "mae_enc_complement": model.run_hidden(tokens, ~mask_BN),
            "mae_logits": model.guess(tokens, mask_BN),
        }
        found = code_losses(out["mae_logits"], self.counting[0].ids)
        return out | {"mae_loss": found["loss"], "mae_acc": found["accuracy"]}

    # The classifier of words.

    @cached_property
    def words(self) -> dict[str, Tensor]:
        state, sizes = self.group("cls_sd/"), self.model.config
        encoder: RegionEncoder = encoder_from_released(state, sizes, self.where)
        n = int(self.ref.config["cls_emb_len"]) * sizes.window
        h = encoder.run(encoder.tokens(self.x[..., :n], self.contacts))
        logits, (first, second) = h.flatten(1), ("cls_block.cls_head.1.0", "cls_block.cls_head.2.0")
        logits = F.relu(F.linear(logits, state[f"{first}.weight"], state[f"{first}.bias"]))
        logits = F.linear(logits, state[f"{second}.weight"], state[f"{second}.bias"])
        labels = self.input("in/labels").long()
        # The published flaw: probabilities go where logits belong.
        loss = F.cross_entropy(logits.sigmoid(), labels)
        out = {"cls_logits": logits, "cls_pred": logits.sigmoid(), "cls_loss": loss}
        out["cls_contra_loss"] = contrast(h, labels, state)
        return out | {"cls_enc": h, "cls_total": loss}  # the contrast has weight 0


def contrast(h_BND: Tensor, labels_B: Tensor, state: dict[str, Tensor]) -> Tensor:
    """The contrastive term of the release: windows of one word shall be alike.

    As published the label matrix is not normalised and its diagonal counts.
    """
    weight, bias = (state[f"contra_block.proj_z.0.{x}"] for x in ("weight", "bias"))
    z = F.normalize(F.linear(h_BND, weight, bias).flatten(1), dim=-1)
    score = z @ z.T * state["contra_block.t"].exp()
    same = (labels_B[:, None] == labels_B).float()
    ways = [-(same * (score.softmax(d) + 1e-12).log()).sum(d).mean() for d in (0, 1)]
    return (ways[0] + ways[1]) / 2


def compute(reference: Reference) -> Recipes:
    """How each array of the file is recomputed."""
    p, recipes = Program(reference), Recipes()

    def add(name: str, get: Any, tolerance: float = 1e-5) -> None:
        recipes.add(name, get, tolerance)

    add("mid/subj", lambda: p.mixed.mT)
    for i in range(len(p.model.encoder.segments.convs)):
        add(f"mid/conv{i}", lambda i=i: p.model.encoder.segments.layers(p.mixed)[i].mT)
    add("mid/tokens", lambda: p.tokens)
    for name in reference.group("mid/"):
        if name.startswith("enc_"):
            add(f"mid/{name}", lambda n=name: p.encoded[n])
        elif name.startswith(("dec_", "rgs", "vq_out")):
            long = LONG if name.startswith("rgs") else 1e-5
            add(f"mid/{name}", lambda n=name: p.decoded[n], long)
        elif name.startswith("mae_"):
            add(f"mid/{name}", lambda n=name: p.mae[n])
    add("mid/pre_proj", lambda: p.projected)
    add("mid/z_e", lambda: p.counting[0].z)
    add("mid/cls_enc", lambda: p.words["cls_enc"])
    add("out/codes", lambda: p.counting[0].ids, 0.0)
    add("out/x_rec", lambda: p.rec.mT, LONG)
    add("out/counts_after", lambda: p.counting[1])
    add("out/kmeans_embeddings", lambda: p.kmeans[0])
    add("out/kmeans_bins", lambda: p.kmeans[1], 0.0)
    for part in ("total", "rgs", "vq"):
        add(f"out/loss_{part}", lambda n=part: p.losses[n])
        add(f"train/loss_{part}", lambda n=part: p.step[3][n])
    for name in reference.group("out/"):
        if name.startswith("mae_"):
            add(f"out/{name}", lambda n=name: p.mae[n])
        elif name.startswith("cls_"):
            add(f"out/{name}", lambda n=name: p.words[n])
    add("train/codes", lambda: p.step[1].ids, 0.0)
    add("train/z_e", lambda: p.step[1].z)
    add("train/x_rec", lambda: p.step[2].mT, LONG)
    add("train/after_embeddings", lambda: p.step[0].codebook.codes_KE)
    add("train/after_counts", lambda: p.step[0].codebook.count_K)
    for i in range(len(p.model.encoder.segments.norms)):
        for what in ("mean", "var"):
            norm = f"train/after_bn{i}_{what}"
            add(
                norm,
                lambda i=i, w=what: getattr(p.step[0].encoder.segments.norms[i], f"running_{w}"),
            )
    for key in reference.group("train/grad/"):
        add(f"train/grad/{key}", lambda k=key: p.gradient(k), LONG)
    return recipes
