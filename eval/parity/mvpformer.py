"""MVPFormer references: every array of such a file, recomputed in strict mode.

Shapes: B batch, T segments, C channels, P samples, D width, H heads, N predictions.
"""

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.compat.mvpformer import from_released, merge_lora
from brainfm.models.mvpformer import Geometry, MVPFormer
from brainfm.nn.mvpa import list_order, mvpa_dense
from brainfm.tasks.contrastive import contrastive_logits, contrastive_losses
from eval.parity.reference import Recipes, Reference


def matches(reference: Reference) -> bool:
    """True for a file with weights of the multi-variate parallel attention."""
    return any(k.startswith("sd/mvpformer.") for k in reference.arrays)


class Program:
    """The published program on one file; everything is computed once, when first asked."""

    def __init__(self, reference: Reference) -> None:
        self.ref = reference
        self.state = self.group("sd/")
        self.model = from_released(self.state, reference.config, str(reference.path))

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {k: torch.from_numpy(np.array(v)) for k, v in self.ref.group(prefix).items()}

    def input(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.ref[name]))

    @cached_property
    def x(self) -> Tensor:
        return self.input("in/x").float()

    @cached_property
    def token(self) -> Tensor:
        return self.token_of(self.model)

    @cached_property
    def blocks(self) -> list[dict[str, Tensor]]:
        """Intermediate results of every block."""
        x, out = self.token, []
        where = self.where(self.model)
        for block in self.model.blocks:
            h = block.norm(x)
            inputs = block.attention.inputs(h, block.attention.keys_values(h), where)
            attn, mlp = block.attention(inputs), block.feedforward(h)
            x = x + attn + mlp
            out.append({"ln1": h, "attn_out": attn, "mlp_out": mlp, "out": x})
            out[-1]["attn_weights"] = mvpa_dense(inputs)[1]
        return out

    @cached_property
    def hidden(self) -> Tensor:
        return self.model.run_blocks(self.token, self.where(self.model))

    @cached_property
    def pred(self) -> Tensor:
        return self.model.head(self.hidden)

    @cached_property
    def logits(self) -> Tensor:
        """Contrastive logits at the negatives the program drew, one row a prediction."""
        flat = self.token.flatten(0, 2)
        other = flat[self.input("out/neg_idx").long()[:, 1:].flatten(0, 2)]
        guess, true = self.pred[:, :-1].flatten(0, 2), self.token[:, 1:].flatten(0, 2)
        return contrastive_logits(guess, true, other, self.ref.config["temp"])

    @cached_property
    def classifier(self) -> tuple[MVPFormer, Tensor]:
        """The backbone with its adapters merged, and the weights of its two-class head."""
        lora = self.group("cls_sd/")
        state = merge_lora(self.state, lora, self.ref.config["lora_cls"]["alpha"])
        model = from_released(state, self.ref.config, str(self.ref.path))
        return model, lora["head.head.weight"]

    @cached_property
    def cls_hidden(self) -> Tensor:
        model, _ = self.classifier
        return model.run_blocks(self.token_of(model), self.where(model))

    @cached_property
    def cls_logits(self) -> Tensor:
        return F.linear(self.cls_hidden[:, -1].mean(1), self.classifier[1])

    def token_of(self, model: MVPFormer) -> Tensor:
        """Tokens of the file's signal."""
        return model.encoder(model.encoder.coefficients(self.x))

    def where(self, model: MVPFormer) -> Geometry:
        """Lags and relations of the file's segments and channels."""
        t, n = self.x.shape[1:3]
        return Geometry(model.time_keys(t), list_order(n), model.channel_table.weight[:n])


def compute(reference: Reference) -> Recipes:
    """How each array of the file is recomputed."""
    p, recipes = Program(reference), Recipes()
    recipes.given.add("out/neg_idx")
    recipes.add("mid/dwt", lambda: p.model.encoder.wavelet(p.x.flatten(0, 2)))
    recipes.add("mid/embeds", lambda: p.token)
    for i in range(p.model.config.depth):
        for part in ("ln1", "attn_out", "mlp_out", "out", "attn_weights"):
            recipes.add(f"mid/block{i}_{part}", lambda i=i, part=part: p.blocks[i][part])
    recipes.add("out/hidden", lambda: p.hidden)
    recipes.add("out/pred", lambda: p.pred)
    recipes.add("out/contrastive_logits", lambda: p.logits)
    for ours, theirs in (("loss", "loss"), ("accuracy", "acc")):
        recipes.add(
            f"out/contrastive_{theirs}", lambda ours=ours: contrastive_losses(p.logits)[ours]
        )
    recipes.add("out/cls_hidden", lambda: p.cls_hidden)
    recipes.add("out/cls_logits", lambda: p.cls_logits)
    labels = torch.arange(len(p.x)) % 2  # the reference's labels: 0, 1
    recipes.add("out/cls_loss", lambda: F.cross_entropy(p.cls_logits, labels))
    return recipes
