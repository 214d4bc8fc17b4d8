"""Fine-tune an encoder and a head on speech: words, phonemes, segments, or what was heard.

Shapes: B batch, N frames, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.heads.regress import correlation
from brainfm.hub import load_model
from brainfm.models.bands import BandEncoder
from brainfm.models.base import Encoder
from brainfm.signals.preprocess import Preprocess, require_same
from brainfm.speech.decoder import SpeechDecoder, SpeechDecoderConfig
from brainfm.speech.search import edits, greedy
from brainfm.tasks.base import BrainTask
from brainfm.tasks.detect import some_channels
from brainfm.training.optim import AdamWSettings
from brainfm.types import HeadOutput, SignalBatch

REMEDY = {
    "target_B": "data.speech.vocabulary",
    "sequence_BL": "data.speech.phonemes",
    "stimulus_BNF": "data.speech.stimulus, or data.images",
}
"""Field of a batch -> the setting that fills it."""


class DecodeSpeech(BrainTask):
    """Losses of a speech head on an encoder; both learn, each at its own rate.

    Parameters
    ----------
    head : "classify" words of a closed vocabulary, "ctc" for phonemes, "align" segments with
        speech features, "regress" them
    head_sizes : of the head (`heads.classify`, `heads.ctc`, `heads.align`, `heads.regress`); what
        the encoder knows need not be given
    pretrained : folder of a pretrained encoder, or of a decoder whose encoder is taken
        (`<run>/export`)
    encoder : a fresh one instead: the control with the same recipe
    vocabulary : words of the classes. None: those of the data, as many as `n_classes`
    framewise_steps : so many steps in which "ctc" learns the phoneme of every frame, before it
        learns sequences; for recordings whose phonemes have true times
    lr, head_lr : of encoder and head; ours, as in `tasks.finetune`
    keep_channels : least share of the channels that a training batch keeps; 1 keeps all
    frozen : parts of parameter names that stay as they are; "encoder." freezes all but the head
    warmup_steps, decay_steps, lr_floor : see `training.schedule`
    betas, eps, weight_decay : of AdamW, as in `tasks.finetune`
    seed : linked to `seed_everything`

    Raises
    ------
    ContractError
        If both or neither of `pretrained` and `encoder` are given, the folder holds no encoder,
        or it was trained on signals prepared in another way.
    """

    model: SpeechDecoder

    def __init__(
        self,
        head: str = "ctc",
        head_sizes: dict[str, Any] | None = None,
        pretrained: str | None = None,
        encoder: Encoder | None = None,
        vocabulary: list[str] | None = None,
        framewise_steps: int = 0,
        lr: float = 3e-4,
        head_lr: float = 3e-3,
        keep_channels: float = 1.0,
        frozen: tuple[str, ...] = ("tokenizer", "encoder.head."),
        warmup_steps: int = 100,
        decay_steps: int = 2000,
        lr_floor: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
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
        if (pretrained is None) == (encoder is None):
            raise ContractError(
                "speech needs either a pretrained encoder's folder or a fresh one, and not both: "
                "set one of pretrained and encoder"
            )
        if not 0 < keep_channels <= 1:
            raise ContractError(f"keep_channels is {keep_channels}; it must lie in (0, 1]")
        if pretrained is not None:
            encoder = load_model(pretrained)
            if isinstance(encoder, SpeechDecoder):
                encoder = encoder.encoder
            if not isinstance(encoder, Encoder):
                raise ContractError(
                    f"{pretrained}: holds a {type(encoder).__name__}, which is no encoder; give "
                    "the folder of a pretrained one"
                )
        if keep_channels < 1 and isinstance(encoder, BandEncoder):
            raise ContractError(
                f"keep_channels is {keep_channels}, but a BandEncoder knows channels by their "
                "place in a person's list; set it to 1"
            )
        name = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
        config = SpeechDecoderConfig(
            name, encoder.config, head, head_sizes, tuple(vocabulary or ())
        )
        super().__init__(SpeechDecoder(config, encoder=encoder), settings, seed)
        self.expects = encoder.preprocess if pretrained is not None else None
        self.source = pretrained
        self.head_lr, self.keep_channels = head_lr, keep_channels
        self.framewise_steps = framewise_steps
        for name, p in self.model.encoder.named_parameters(prefix="encoder"):
            if any(part in name for part in frozen):
                p.requires_grad_(False)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        words = getattr(getattr(self.trainer, "datamodule", None), "vocabulary", None)
        if words is not None and self.model.config.head == "classify":
            self.model.name_classes(words)

    def adopt(self, preprocess: Preprocess) -> None:
        if self.expects is not None:
            require_same(
                self.expects,
                preprocess,
                my_name=f"the encoder {self.source}",
                their_name="the data",
            )
        super().adopt(preprocess)
        self.model.encoder.preprocess = preprocess

    def lr_of(self) -> dict[str, float]:
        return {"model.head.": self.head_lr}

    def training_step(self, batch: SignalBatch, batch_idx: int) -> Tensor:
        return super().training_step(some_channels(batch, self.keep_channels), batch_idx)

    def losses(self, batch: SignalBatch) -> dict[str, Tensor]:
        wanted = self.model.learns_from
        if getattr(batch, wanted) is None:
            raise ContractError(
                f"the batch carries no {wanted}, from which head '{self.model.config.head}' "
                f"learns; set {REMEDY[wanted]} in the YAML"
            )
        out = self.model(batch)
        parts = dict(out.losses) if len(out.losses) > 1 else {}
        loss = sum(out.losses.values())
        if self.model.config.head == "ctc":
            early = self.training and self.global_step < self.framewise_steps
            loss = self._framewise(out) if early else out.losses["ctc"]
        with torch.no_grad():
            shown = self._shown(out, batch)
        return {"loss": loss, **parts, **shown}

    def _framewise(self, out: HeadOutput) -> Tensor:
        if "frames" not in out.losses:
            raise ContractError(
                f"framewise_steps is {self.framewise_steps}, but the batch does not say when its "
                "phonemes are (span_BL2); set it to 0, or read windows through brainfm.data"
            )
        return out.losses["frames"]

    def _shown(self, out: HeadOutput, batch: SignalBatch) -> dict[str, Tensor]:
        """One number to watch; that of phonemes, which costs a search, in validation alone."""
        kind, given = self.model.config.head, out.logits_BK
        if kind == "classify":
            return {"acc": (given.argmax(-1) == batch.target_B).float().mean()}
        if kind == "regress":
            return {"correlation": correlation(given, batch.stimulus_BNF)}
        if kind == "align":
            score_BB = given @ self.model.head.speech(batch.stimulus_BNF).T
            own_B = torch.arange(len(given), device=given.device)
            return {"top1": (score_BB.argmax(1) == own_B).float().mean()}
        if self.training:
            return {"blank_share": given.argmax(-1).eq(0).float().mean()}
        said = [[i for i in row if i > 0] for row in batch.sequence_BL.tolist()]
        wrong = sum(
            edits(said_b, greedy(logp_NK))
            for said_b, logp_NK in zip(said, given.float().cpu().numpy(), strict=True)
        )
        return {"per": given.new_tensor(wrong / max(1, sum(map(len, said))))}
