"""EphysTokenizer and MEG-GPT references: every array of such a file, recomputed in strict mode.

A file holds one tokenizer and several next-token models, each with weights and settings of its
own under its name.

Shapes: B batch, T samples, C channels, M = B C rows, L positions, D width, K tokens, V labels.
"""

from copy import deepcopy
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.codecs.meggpt import Vocabulary, decode_recording, encode_recording
from brainfm.compat.meggpt import from_released, our_name, tokenizer_from_released
from brainfm.models.meggpt import MEGGPT
from eval.parity.reference import Recipes, Reference

LOGITS = 1e-4
"""Scores of tokens reach 37; everything else stays near 1."""


def matches(reference: Reference) -> bool:
    """True for a file with weights of an EphysTokenizer."""
    return any(k.startswith("tok_sd/decoder_layer.token_basis") for k in reference.arrays)


class Program:
    """The published programs on one file; everything is computed once, when first asked."""

    def __init__(self, reference: Reference) -> None:
        self.ref, self.where = reference, str(reference.path)
        self.config = reference.config["tok"]
        self.state = self.group("tok_sd/")
        self.tokenizer = tokenizer_from_released(self.state, self.config, self.where)

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {k: torch.from_numpy(np.array(v)) for k, v in self.ref.group(prefix).items()}

    def input(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.ref[name]))

    # The tokenizer.

    @cached_property
    def x(self) -> Tensor:
        """(B, T, C)."""
        return self.input("in/tok_x")

    @property
    def rows(self) -> Tensor:
        """(M, T): the channels of each window, one after the other."""
        return self.x.mT.flatten(0, 1)

    def windows(self, rows: Tensor) -> Tensor:
        """(M, T, ...) to (B, T, C, ...)."""
        return rows.unflatten(0, (len(self.x), -1)).transpose(1, 2)

    @cached_property
    def logits(self) -> Tensor:
        return self.tokenizer.logits(self.rows)

    @cached_property
    def ids(self) -> Tensor:
        return self.windows(self.logits.argmax(-1))

    def rec(self, padding: str) -> Tensor:
        """Signal of the ids, with the kernel where `padding` puts it."""
        state, config = self.state, self.config | {"token_kernel_padding": padding}
        model = tokenizer_from_released(state, config, self.where)
        return model.decode_ids(self.ids.mT).mT

    @cached_property
    def step(self) -> dict[str, Any]:
        """One training forward and backward at the file's tau."""
        model = deepcopy(self.tokenizer)
        with torch.enable_grad():
            weight = model.soft_tokens(model.logits(self.rows), float(self.config["tau"]))
            rec = self.windows(model.synthesise(weight))
            loss = F.mse_loss(rec, self.x)
            loss.backward()
        return {"weights": self.windows(weight), "rec": rec, "loss": loss, "model": model}

    def tokenizer_gradient(self, key: str) -> Tensor:
        """Every summed copy of a weight has the gradient of the sum."""
        grad = dict(self.step["model"].named_parameters())[our_name(key)].grad
        return grad.expand(self.state[key].shape)

    # Vocabulary and whole recordings.

    @cached_property
    def counts(self) -> tuple[Tensor, Tensor]:
        """Counts of raw tokens, all and of each of two halves."""
        half = len(self.ids) // 2
        parts = torch.stack([self.count(x) for x in (self.ids[:half], self.ids[half:])])
        return parts.sum(0), parts

    def count(self, ids: Tensor) -> Tensor:
        return ids.flatten().bincount(minlength=self.tokenizer.config.n_tokens)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of_counts(self.counts[0])

    @cached_property
    def session(self) -> Tensor:
        x = self.input("in/session")
        return (x - x.mean(0)) / x.std(0, correction=0)

    @cache  # noqa: B019  one Program a file
    def session_ids(self, margin: int) -> Tensor:
        n = int(self.config["sequence_length"])
        return encode_recording(self.tokenizer, self.session.T, n, margin).T

    def session_rec(self, margin: int) -> Tensor:
        raw = self.vocabulary.raw(self.vocabulary.label_K[self.session_ids(margin)])
        return decode_recording(self.tokenizer, raw.T, int(self.config["sequence_length"])).T

    # The next-token models.

    @cache  # noqa: B019
    def gpt(self, name: str) -> MEGGPT:
        config = self.ref.config["gpt"][name]
        return from_released(self.group(f"{name}_sd/"), config, self.tokenizer, self.where)

    @cache  # noqa: B019
    def run(self, name: str) -> dict[str, Tensor]:
        """Embedding, every layer with its attentions, and logits of one model."""
        model, tokens = self.gpt(name), self.input("in/gpt_tokens")
        x = model.embed(tokens[:, :-1], session_BL=self.input("in/gpt_session")[:, :-1])
        out, x = {"emb": x}, model.project(x)
        for i, layer in enumerate(model.layers):
            parts = layer.parts(x)
            x = out[f"layer{i}"] = parts["out"]
            out[f"layer{i}_time_attn"] = parts["time"]
            if "channels" in parts:
                out[f"layer{i}_chan_attn"] = parts["channels"].transpose(1, 2)
            if "cross" in parts:
                out[f"layer{i}_cross_attn"] = parts["cross"]
        return out | {"logits": model.head(x)}

    @property
    def target(self) -> Tensor:
        return self.input("in/gpt_tokens")[:, 1:]

    def hits(self, name: str, k: int) -> Tensor:
        """Share of guesses whose `k` best hold the truth."""
        n = self.gpt(name).config.guessed
        best = self.run(name)["logits"][:, -n:].topk(k).indices
        return (best == self.target[:, -n:, :, None]).any(-1).float().mean()

    @cache  # noqa: B019
    def gradients(self, name: str) -> dict[str, Tensor]:
        model = deepcopy(self.gpt(name))
        with torch.enable_grad():
            tokens = self.input("in/gpt_tokens")[:, :-1]
            x = model.embed(tokens, session_BL=self.input("in/gpt_session")[:, :-1])
            model.losses(model.head(model.run_layers(x)), self.target)["loss"].backward()
        return {k: p.grad for k, p in model.named_parameters() if p.grad is not None}


def compute(reference: Reference) -> Recipes:
    """How each array of the file is recomputed."""
    p, recipes = Program(reference), Recipes()

    def add(name: str, get: Any, tolerance: float = 1e-5) -> None:
        recipes.add(name, get, tolerance)

    add("mid/tok_rnn", lambda: p.tokenizer.rnn(p.rows[..., None])[0])
    add("mid/tok_ell", lambda: p.logits, LOGITS)
    add("out/tok_ids", lambda: p.ids, 0.0)
    for end, padding in (("", "causal"), ("_same", "same")):
        add(f"out/tok_rec{end}", lambda s=padding: p.rec(s))
        add(f"out/tok_loss{end}", lambda s=padding: F.mse_loss(p.rec(s), p.x))
    for part in ("weights", "rec", "loss"):
        add(f"train/tok_{part}", lambda n=part: p.step[n])
    for key in reference.group("train/tok_grad/"):
        add(f"train/tok_grad/{key}", lambda k=key: p.tokenizer_gradient(k), LOGITS)
    add("vocab/token_order", lambda: p.vocabulary.token_V, 0.0)
    add("vocab/label_map", lambda: p.vocabulary.label_K, 0.0)
    add("vocab/total_token_counts", lambda: p.counts[0][p.vocabulary.token_V], 0.0)
    add("vocab/token_counts", lambda: p.counts[1][:, p.vocabulary.token_V], 0.0)
    add("mid/session_z", lambda: p.session)
    for end, margin in (("m0", 0), ("m", int(p.config["margin"]))):
        add(f"out/session_tokens_{end}", lambda m=margin: p.session_ids(m), 0.0)
        add(
            f"out/session_labels_{end}",
            lambda m=margin: p.vocabulary.label_K[p.session_ids(m)],
            0.0,
        )
        add(f"out/session_rec_{end}", lambda m=margin: p.session_rec(m))
    for name, config in reference.config["gpt"].items():
        for part in reference.group(f"mid/{name}_"):
            add(f"mid/{name}_{part}", lambda v=name, n=part: p.run(v)[n])
        add(f"out/{name}_logits", lambda v=name: p.run(v)["logits"])
        add(
            f"out/{name}_loss",
            lambda v=name: p.gpt(v).losses(p.run(v)["logits"], p.target)["loss"],
        )
        for k in config["loss"]["top_k"]:
            add(f"out/{name}_top_{k}_acc", lambda v=name, k=k: p.hits(v, k))
        for key in reference.group(f"grad/{name}/"):
            add(f"grad/{name}/{key}", lambda v=name, k=key: p.gradients(v)[our_name(k)])
    return recipes
