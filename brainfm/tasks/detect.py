"""Fine-tune an encoder and its head to say, at every step, whether this is a seizure.

Shapes: B batch, W steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brainfm.detect.alarms import AlarmRule
from brainfm.detect.detector import SeizureDetector, SeizureDetectorConfig
from brainfm.errors import ContractError
from brainfm.heads.detect import NOT_JUDGED, DetectConfig
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.nn.lora import LoraSettings, with_lora
from brainfm.signals.preprocess import Preprocess, require_same
from brainfm.tasks.base import BrainTask
from brainfm.training.optim import AdamWSettings
from brainfm.types import SignalBatch


class DetectSeizures(BrainTask):
    """Cross-entropy of the steps that are judged; encoder and head learn at their own rates.

    Parameters
    ----------
    pretrained : folder of a pretrained MVPFormer (`<run>/export`); its sizes are taken over
    encoder : sizes of a fresh one instead: the control with the same recipe
    head : what is pooled and which steps are trained
    context : steps of a window, at least those that the data are cut into
    alarm : how probabilities become events
    lr, head_lr : of encoder and head; published 1e-4 for both
    keep_channels : least share of the channels that a training batch keeps, drawn anew for each:
        patients have other electrodes, and few of them are labelled. 1 keeps all
    frozen : train the head alone
    lora : train adapters of the encoder's attention and the head, nothing else; published rank 8,
        alpha 16. The export has them merged
    warmup_steps, decay_steps, lr_floor : see `training.schedule`; published 12,000 of 120,000
    betas, eps, weight_decay : of AdamW, published
    seed : linked to `seed_everything`

    Raises
    ------
    ContractError
        If both or neither of `pretrained` and `encoder` are given, or the pretrained encoder
        was trained on signals prepared in another way.
    """

    model: SeizureDetector

    def __init__(
        self,
        pretrained: str | None = None,
        encoder: MVPFormerConfig | None = None,
        head: DetectConfig = DetectConfig(),  # noqa: B008  frozen
        context: int = 25,
        alarm: AlarmRule = AlarmRule(),  # noqa: B008  frozen
        lr: float = 1e-4,
        head_lr: float = 1e-4,
        keep_channels: float = 1.0,
        frozen: bool = False,
        lora: LoraSettings | None = None,
        warmup_steps: int = 12_000,
        decay_steps: int = 120_000,
        lr_floor: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
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
                "seizure detection needs either a pretrained encoder's folder or the sizes of a "
                "fresh one, and not both: set one of pretrained and encoder"
            )
        if not 0 < keep_channels <= 1:
            raise ContractError(f"keep_channels is {keep_channels}; it must lie in (0, 1]")
        trained = None if pretrained is None else MVPFormer.from_pretrained(pretrained)
        sizes = trained.config if trained is not None else encoder
        config = SeizureDetectorConfig(sizes, head, context, alarm)
        super().__init__(SeizureDetector(config, encoder=trained), settings, seed)
        self.expects, self.source = trained and trained.preprocess, pretrained
        self.head_lr, self.keep_channels = head_lr, keep_channels
        # The head that predicts tokens has no part in this; DDP wants to know.
        self.model.encoder.head.requires_grad_(False)
        if frozen:
            self.model.encoder.requires_grad_(False)
        if lora is not None:
            with_lora(self.model.encoder, lora.rank, lora.alpha, lora.targets)

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
        if batch.label_BW is None:
            raise ContractError(
                "the batch carries no seizure labels; give the data `seizures: {}` in the YAML"
            )
        if batch.x_BCWP.shape[-1] != self.model.step:
            raise ContractError(
                f"the data label steps of {batch.x_BCWP.shape[-1]} samples, the encoder's segments "
                f"have {self.model.step}: set patch_s to {self.model.step / batch.sfreq:g}"
            )
        out = self.model(batch)
        p_BW = out.logits_BK.detach().float().softmax(-1)[..., 1]
        judged = batch.label_BW != NOT_JUDGED
        ictal = judged & (batch.label_BW == 1)
        other = judged & (batch.label_BW == 0)
        # Sums and counts, not means: a batch without a seizure must not make them NaN.
        return {
            "loss": out.losses["cross_entropy"],
            "sensitivity": _mean(p_BW > 0.5, ictal),
            "false_alarm_rate": _mean(p_BW > 0.5, other),
            "ictal_share": ictal.sum() / judged.sum().clamp_min(1),
        }


def some_channels(batch: SignalBatch, least: float) -> SignalBatch:
    """A random share of the channels, at least `least` of them and at least one."""
    if least == 1:
        return batch
    n = batch.x_BCWP.shape[1]
    many = max(1, round(n * (least + (1 - least) * torch.rand(()).item())))
    return batch.take(torch.randperm(n)[:many].sort().values.to(batch.x_BCWP.device))


def _mean(x: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, x.float(), 0.0).sum() / where.sum().clamp_min(1)
