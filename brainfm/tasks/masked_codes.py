"""Pretrain an encoder: hide half of a frozen codec's codes and guess them.

Shapes: B batch, S latent sources, W steps, Q quantiser levels, K codes.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from brainfm.codecs.braintokenizer import BrainTokenizer
from brainfm.errors import ContractError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Preprocess, require_same
from brainfm.tasks.base import BrainTask, Preview
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch

RANDOM = "random"


class MaskedCodes(BrainTask):
    """Cross-entropy of the hidden codes (BrainOmni, arXiv 2505.18185).

    Beside it, `val/unigram_ce`: what somebody pays who only knows how often each code occurs in
    training. An encoder above it has learned nothing from context.

    Parameters
    ----------
    encoder : sizes; its tokenizer's sizes are taken from the saved codec
    tokenizer : folder of a trained codec (`save_pretrained`, `<run>/export`), or "random": an
        untrained one of `encoder.tokenizer` with codebooks from the first batch (a control)
    lr : 5e-4 for tiny, 4e-4 for base, as published
    warmup_steps, decay_steps, lr_floor : see `training.schedule`; published floor .1
    betas, eps, weight_decay : of AdamW; the published values, eps is torch's default
    seed : linked to `seed_everything`

    Raises
    ------
    ContractError
        If the codec is missing, or was trained on signals prepared in another way.
    """

    def __init__(
        self,
        encoder: BrainOmniConfig,
        tokenizer: str,
        lr: float = 5e-4,
        warmup_steps: int = 1000,
        decay_steps: int = 10_000,
        lr_floor: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
        seed: int = 0,
    ) -> None:
        settings = AdamWSettings(
            lr=lr,
            weight_decay=weight_decay,
            betas=betas,
            eps=eps,
            warmup_steps=warmup_steps,
            decay_steps=decay_steps,
            lr_floor=lr_floor,
        )
        codec = load_codec(tokenizer)
        if codec is not None:
            encoder = replace(encoder, tokenizer=codec.config, n_levels_used=None)
        model = BrainOmni(encoder)
        if codec is not None:
            model.tokenizer.load_state_dict(codec.state_dict())
        super().__init__(model, settings, seed)
        self.expects = codec.preprocess if codec is not None else None
        self.tokenizer_source = tokenizer
        q, k = encoder.tokenizer.n_quantizers, encoder.tokenizer.codebook_size
        self.register_buffer("counts_QK", torch.zeros(q, k, dtype=torch.int64))

    def adopt(self, preprocess: Preprocess) -> None:
        if self.expects is not None:
            require_same(
                self.expects,
                preprocess,
                my_name=f"the codec {self.tokenizer_source}",
                their_name="the data",
            )
        super().adopt(preprocess)
        self.model.tokenizer.preprocess = preprocess

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        if self.training and self.expects is None and self.global_step == 0:
            self.model.tokenizer.initialise_codebooks(batch)
        codes = self.model.tokenize(batch)
        parts = self.model.masked_forward(codes)
        counts_QK = self._count(codes.ids_BSWQ)
        if self.training:
            self.counts_QK += counts_QK
        else:
            parts["unigram_ce"] = unigram_cross_entropy(self.counts_QK, counts_QK)
        return parts

    def preview(self, batch: SignalBatch) -> Preview:
        return Preview(counts_QK=self._count(self.model.tokenize(batch).ids_BSWQ))

    def _count(self, ids_BSWQ: Tensor) -> Tensor:
        k = self.counts_QK.shape[1]
        return torch.stack([i.flatten().bincount(minlength=k) for i in ids_BSWQ.unbind(-1)])


def unigram_cross_entropy(known_QK: Tensor, seen_QK: Tensor) -> Tensor:
    """Nats a code, mean over levels, of guessing by frequency alone.

    Parameters
    ----------
    known_QK : counts the guesser has learned from; one is added to each, so that a code it never
        met is unlikely and not impossible
    seen_QK : counts of the codes that come
    """
    p_QK = (known_QK + 1).double() / (known_QK + 1).sum(-1, keepdim=True)
    cost_Q = -(seen_QK * p_QK.log()).sum(-1) / seen_QK.sum(-1).clamp_min(1)
    return cost_Q.mean().float()


def load_codec(tokenizer: str) -> BrainTokenizer | None:
    """The codec in a folder, or None for "random".

    Raises
    ------
    ContractError
        If there is no such folder, or it holds something else.
    """
    if tokenizer == RANDOM:
        return None
    if not Path(tokenizer).is_dir():
        raise ContractError(
            f"tokenizer: no folder '{tokenizer}'; train a codec first "
            "(python train.py fit --config configs/codec/...) and give its export folder, "
            "or 'random' for the control"
        )
    return BrainTokenizer.from_pretrained(tokenizer)
