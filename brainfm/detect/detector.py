"""A seizure detector: encoder, head, contract and operating point, saved as one model.

Shapes: B batch, C channels, W steps (segments of the encoder).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from brainfm.detect.alarms import AlarmRule
from brainfm.errors import ContractError
from brainfm.heads.detect import Detect, DetectConfig
from brainfm.hub import BrainModel
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.signals.preprocess import Preprocess
from brainfm.types import HeadOutput, SignalBatch


@dataclass(frozen=True)
class SeizureDetectorConfig:
    """Sizes and operating point."""

    encoder: MVPFormerConfig = field(default_factory=MVPFormerConfig)
    head: DetectConfig = field(default_factory=DetectConfig)
    context: int = 25
    """Steps of a training window, and of the window that is looked at where the encoder cannot
    go on from where it was; 25 as published."""
    alarm: AlarmRule = field(default_factory=AlarmRule)
    """How probabilities become events."""
    threshold_from: str = ""
    """Who chose the threshold; "" nobody. `python -m eval.seizure --keep` puts both here."""

    def __post_init__(self) -> None:
        if not 1 <= self.context <= self.encoder.n_positions:
            raise ValueError(
                f"context is {self.context} steps; the encoder's time table holds 1 to "
                f"{self.encoder.n_positions}"
            )


class SeizureDetector(BrainModel):
    """Probability of seizure at every step, from that step and those before it.

    Parameters
    ----------
    config : SeizureDetectorConfig
    preprocess : contract of the signals it was trained on
    encoder : a pretrained one to take over; its sizes and contract win
    """

    config_class = SeizureDetectorConfig

    def __init__(
        self,
        config: SeizureDetectorConfig | None = None,
        preprocess: Preprocess | None = None,
        encoder: MVPFormer | None = None,
    ) -> None:
        config = config or SeizureDetectorConfig()
        if encoder is not None:
            config = replace(config, encoder=encoder.config)
            preprocess = preprocess or encoder.preprocess
        config = replace(config, head=replace(config.head, dim=config.encoder.dim))
        super().__init__(config, preprocess)
        self.encoder = encoder or MVPFormer(config.encoder, self.preprocess)
        self.head = Detect(config.head)

    @property
    def step(self) -> int:
        """Samples of a step."""
        return self.config.encoder.window

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.step / self.preprocess.recipe.sfreq

    @property
    def context(self) -> int:
        """Steps of a training window."""
        return self.config.context

    @property
    def streams(self) -> bool:
        """Whether `advance` can go on from step to step; see `MVPFormerConfig.streams`."""
        return self.config.encoder.streams

    def forward(self, batch: SignalBatch) -> HeadOutput:
        """Logits (B, W, 2); the loss where the batch carries `label_BW`."""
        return self.head(self.encoder(batch), batch.label_BW)

    @torch.no_grad()
    def probabilities(self, batch: SignalBatch) -> Tensor:
        """(B, W) probability of seizure at the end of each step.

        NaN in windows without a usable channel: that is no signal, not no seizure.
        """
        return _probabilities(self.forward(replace(batch, label_BW=None)).logits_BK, batch)

    @torch.no_grad()
    def advance(
        self, batch: SignalBatch, past: Any = None, scale_BCW: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """`probabilities` of the next steps of a recording that is followed as it comes.

        Parameters
        ----------
        batch : one or more whole steps
        past : what the last call returned; None at the start and behind a gap
        scale_BCW : of each step, where each was normalised by itself. None: `batch.scale_BC`

        Raises
        ------
        ContractError
            If the encoder's geometry does not allow it.
        """
        if not self.streams:
            raise ContractError(
                "this detector looks at whole windows (its encoder counts time from the end of a "
                f"window): give probabilities() the last {self.context} steps instead"
            )
        features, past = self.encoder.advance(batch, past, scale_BCW)
        return _probabilities(self.head(features).logits_BK, batch), past


def _probabilities(logits_BW2: Tensor, batch: SignalBatch) -> Tensor:
    p_BW = logits_BW2.float().softmax(-1)[..., 1]
    return p_BW.masked_fill(~batch.valid_BC.any(1, keepdim=True), torch.nan)
