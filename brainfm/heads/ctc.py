"""A sequence a window, without knowing when: features to phonemes by connectionist temporal
classification (Graves et al., ICML 2006).

From random weights it first learns to say nothing, and stays there long. Where the times of the
phonemes are known, `losses["frames"]` shows a way around: learn the phoneme of every frame first.

Shapes: B batch, W steps, N frames, K symbols (0 the blank), L symbols said.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.heads.frames import Frames, FramesConfig
from brainfm.types import Features, HeadOutput

BLANK, PADDING = 0, -1


@dataclass(frozen=True)
class CTCConfig(FramesConfig):
    """Frames and symbols."""

    n_symbols: int = 41
    """K: blank, 39 phonemes and silence (`signals.phonemes`); 40 where silence is no symbol."""
    zero_infinity: bool = False
    """Count windows whose loss is infinite as 0. Off: a sequence that fits no path is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_symbols < 2:
            raise ValueError(f"n_symbols is {self.n_symbols}; it must hold the blank and a symbol")


class CTC(nn.Module):
    """Log-probabilities of symbols and blank at every frame.

    Parameters
    ----------
    config : CTCConfig with `dim` set
    """

    def __init__(self, config: CTCConfig) -> None:
        super().__init__()
        self.config = config
        self.frames = Frames(config, config.n_symbols)

    def forward(
        self,
        features: Features,
        sequence_BL: Tensor | None = None,
        span_BL2: Tensor | None = None,
    ) -> HeadOutput:
        """Log-probabilities (B, N, K), and losses where sequences are given.

        "ctc" is a mean over windows, each by its number of symbols. "frames", where the times of
        the symbols are given too, is the mean cross-entropy of the frames up to the last symbol,
        the blank standing for what is between symbols.

        Parameters
        ----------
        features : Features
        sequence_BL : int64 symbols from 1 on, -1 after the end
        span_BL2 : seconds in the window at which each begins and ends

        Raises
        ------
        ContractError
            If a sequence holds another symbol, or needs more frames than there are.
        """
        logp_BNK = self.frames(features).float().log_softmax(-1)
        if sequence_BL is None:
            return HeadOutput(logp_BNK)
        n_frames = logp_BNK.shape[1]
        length_B = self._lengths(sequence_BL, n_frames)
        loss = F.ctc_loss(
            logp_BNK.transpose(0, 1),
            sequence_BL.clamp_min(1),
            torch.full_like(length_B, n_frames),
            length_B,
            blank=BLANK,
            zero_infinity=self.config.zero_infinity,
        )
        losses = {"ctc": loss}
        if span_BL2 is not None:
            seconds_N = float(features.time_W[0]) + self.frames.frame_s(features.duration_s) * (
                torch.arange(n_frames, device=logp_BNK.device) + 0.5
            )
            label_BN = frame_labels(sequence_BL, span_BL2, seconds_N)
            losses["frames"] = F.nll_loss(
                logp_BNK.flatten(0, 1), label_BN.flatten(), ignore_index=PADDING
            )
        return HeadOutput(logp_BNK, losses)

    def _lengths(self, sequence_BL: Tensor, n_frames: int) -> Tensor:
        said_BL = sequence_BL != PADDING
        length_B = said_BL.sum(1)
        ends = torch.arange(said_BL.shape[1], device=said_BL.device) < length_B[:, None]
        allowed_BL = (sequence_BL > BLANK) & (sequence_BL < self.config.n_symbols)
        if not torch.equal(ends, said_BL) or not bool((allowed_BL | ~said_BL).all()):
            wrong = sequence_BL[said_BL & ~allowed_BL]
            raise ContractError(
                f"a sequence holds symbol {int(wrong[0]) if len(wrong) else PADDING}; the head "
                f"knows 1 to {self.config.n_symbols - 1}, and {PADDING} only after the end"
            )
        again_B = ((sequence_BL[:, 1:] == sequence_BL[:, :-1]) & said_BL[:, 1:]).sum(1)
        needs_B = length_B + again_B
        if not self.config.zero_infinity and bool((needs_B > n_frames).any()):
            b = int(needs_B.argmax())
            raise ContractError(
                f"window {b} of the batch says {int(length_B[b])} symbols, {int(again_B[b])} of "
                f"them twice in a row, which needs {int(needs_B[b])} frames, but it has "
                f"{n_frames}; raise per_step, lower stride, or cut longer windows"
            )
        return length_B


def frame_labels(sequence_BL: Tensor, span_BL2: Tensor, seconds_N: Tensor) -> Tensor:
    """Symbol of each frame (B, N): the blank between symbols, -1 after the last one.

    Parameters
    ----------
    sequence_BL : symbols, -1 after the end
    span_BL2 : seconds at which each begins and ends
    seconds_N : middle of each frame
    """
    begin_BL1, end_BL1 = span_BL2[..., :1], span_BL2[..., 1:]
    within_BLN = (begin_BL1 <= seconds_N) & (seconds_N < end_BL1)
    first_BN = within_BLN.int().argmax(1)
    said_BN = torch.where(within_BLN.any(1), sequence_BL.gather(1, first_BN), BLANK)
    last_B1 = end_BL1.nan_to_num(-1.0).amax(1)
    return torch.where(seconds_N < last_B1, said_BN, PADDING)
