"""Pretrain an encoder on the tokens of a frozen codec: guess the next ones, or hidden ones.

Beside the loss, `val/unigram_ce`: what somebody pays who only knows how often each token occurs
in training. An encoder above it has learned nothing from context.

Shapes: B batch, T samples, N region tokens, C channels, K tokens.
"""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from brainfm.codecs.base import Codec
from brainfm.codecs.duin import DuIN
from brainfm.codecs.meggpt import EphysTokenizer
from brainfm.errors import ContractError
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.models.meggpt import MEGGPT, MEGGPTConfig
from brainfm.signals.preprocess import Preprocess, require_same
from brainfm.tasks.base import BrainTask, Preview
from brainfm.tasks.masked_codes import RANDOM, unigram_cross_entropy
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch


class TokenTask(BrainTask):
    """A model that guesses tokens of the codec inside it; what both tasks here share.

    Parameters
    ----------
    model : with a frozen `tokenizer`
    codec : the trained one whose weights it gets, or None: a random one (a control)
    source : where the codec came from, for the sentence of a refusal
    n_tokens : how many different ones can be guessed
    settings, seed : see `BrainTask`
    """

    def __init__(
        self,
        model: MEGGPT | DuINEncoder,
        codec: EphysTokenizer | DuIN | None,
        source: str,
        n_tokens: int,
        settings: AdamWSettings,
        seed: int,
    ) -> None:
        super().__init__(model, settings, seed)
        self.source = source
        self.expects = codec.preprocess if codec is not None else None
        if codec is not None:
            model.tokenizer.load_state_dict(codec.state_dict())
        self.register_buffer("counts_QK", torch.zeros(1, n_tokens, dtype=torch.int64))

    @abstractmethod
    def guess(self, batch: SignalBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of a batch, and the tokens (any shape) that were to be guessed."""

    def adopt(self, preprocess: Preprocess) -> None:
        if self.expects is not None:
            require_same(
                self.expects,
                preprocess,
                my_name=f"the codec {self.source}",
                their_name="the data",
            )
        super().adopt(preprocess)
        self.model.tokenizer.preprocess = preprocess

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        parts, ids = self.guess(batch)
        counts_QK = self._count(ids)
        if self.training:
            self.counts_QK += counts_QK
        else:
            parts["unigram_ce"] = unigram_cross_entropy(self.counts_QK, counts_QK)
        return parts

    def preview(self, batch: SignalBatch) -> Preview:
        return Preview(counts_QK=self._count(self.guess(batch)[1]))

    def _count(self, ids: Tensor) -> Tensor:
        return ids.flatten().bincount(minlength=self.counts_QK.shape[1])[None]


class NextToken(TokenTask):
    """Cross-entropy of every channel's next token (MEG-GPT, arXiv 2510.18080).

    Parameters
    ----------
    encoder : sizes; its tokenizer's sizes are taken from the saved codec
    tokenizer : folder of a trained EphysTokenizer, or "random": an untrained one (a control)
    lr, betas, weight_decay : published: 1e-5, (.9, .98), .01
    warmup_steps, decay_steps, lr_floor : see `training.schedule`; published: 10 % of all steps,
        all steps, .1
    seed : linked to `seed_everything`

    Raises
    ------
    ContractError
        If the codec is missing, or was trained on signals prepared in another way.
    """

    def __init__(
        self,
        encoder: MEGGPTConfig,
        tokenizer: str,
        lr: float = 1e-5,
        warmup_steps: int = 6052,
        decay_steps: int = 60_520,
        lr_floor: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        seed: int = 0,
    ) -> None:
        codec = _trained(EphysTokenizer, tokenizer)
        if codec is not None:
            encoder = replace(encoder, tokenizer=codec.config, n_labels=None)
        settings = AdamWSettings(
            lr=lr,
            weight_decay=weight_decay,
            betas=betas,
            eps=eps,
            warmup_steps=warmup_steps,
            decay_steps=decay_steps,
            lr_floor=lr_floor,
        )
        super().__init__(MEGGPT(encoder), codec, tokenizer, encoder.n_labels, settings, seed)

    def guess(self, batch: SignalBatch) -> tuple[dict[str, Tensor], Tensor]:
        label_BTC = self.model.tokenize(batch)
        logits = self.model.next_logits(batch, label_BTC)
        parts = self.model.losses(logits, label_BTC[:, 1:], batch.valid_BC)
        seen = batch.valid_BC[:, None].expand_as(label_BTC)
        return parts, label_BTC[seen]


class MaskedRegions(TokenTask):
    """Cross-entropy of hidden region tokens, each half from the other (Du-IN, arXiv 2405.11459).

    Parameters
    ----------
    encoder : sizes; its tokenizer's sizes are taken from the saved codec
    tokenizer : folder of a trained DuIN, or "random": an untrained one with a codebook from the
        first batch (a control)
    lr, warmup_steps, decay_steps, lr_floor : published: 3e-4, a tenth of all steps, all, 1/6
    betas, eps, weight_decay : of AdamW
    seed : linked to `seed_everything`

    Raises
    ------
    ContractError
        If the codec is missing, or was trained on signals prepared in another way.
    """

    def __init__(
        self,
        encoder: DuINEncoderConfig,
        tokenizer: str,
        lr: float = 3e-4,
        warmup_steps: int = 1000,
        decay_steps: int = 10_000,
        lr_floor: float = 1 / 6,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        seed: int = 0,
    ) -> None:
        codec = _trained(DuIN, tokenizer)
        if codec is not None:
            encoder = replace(encoder, tokenizer=codec.config)
        settings = AdamWSettings(
            lr=lr,
            weight_decay=weight_decay,
            betas=betas,
            eps=eps,
            warmup_steps=warmup_steps,
            decay_steps=decay_steps,
            lr_floor=lr_floor,
        )
        size = encoder.tokenizer.codebook_size
        super().__init__(DuINEncoder(encoder), codec, tokenizer, size, settings, seed)

    def guess(self, batch: SignalBatch) -> tuple[dict[str, Tensor], Tensor]:
        if self.training and self.expects is None and self.global_step == 0:
            self.model.tokenizer.initialise_codebooks(batch)
        ids_BN = self.model.tokenize(batch)
        return self.model.masked_losses(batch, ids_BN), ids_BN


def _trained(kind: type[Codec], folder: str) -> Codec | None:
    """The codec in a folder, or None for "random"."""
    if folder == RANDOM:
        return None
    if not Path(folder).is_dir():
        raise ContractError(
            f"tokenizer: no folder '{folder}'; train a {kind.__name__} first "
            "(python train.py fit --config configs/codec/...) and give its export folder, "
            "or 'random' for the control"
        )
    return kind.from_pretrained(folder)
