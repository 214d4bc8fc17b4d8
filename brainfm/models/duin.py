"""The encoder of Du-IN: region tokens, pretrained by guessing the codes of hidden ones.

Half of the tokens are hidden and guessed from the other half, and then the halves change places
(arXiv 2405.11459).

The published word classifier takes the cross-entropy of sigmoids, which cannot fall below
log(1 + 60 / e) = 3.14 for 61 words; `eval.parity` computes it so. Words are trained here with
`heads.classify` on these features, which takes the cross-entropy of the logits.

Shapes: B batch, S = 1 source, N tokens, D width, K codes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.duin import DuIN, DuINConfig, RegionEncoder
from brainfm.models.base import Encoder
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Features, SignalBatch


@dataclass(frozen=True)
class DuINEncoderConfig:
    """Sizes of a Du-IN encoder: those of its tokenizer."""

    preset: str = "published"
    tokenizer: DuINConfig | None = None
    """Default: `preset` of the codec."""
    mask_ratio: float = 0.5
    """Share of tokens hidden in the first of the two passes."""

    def __post_init__(self) -> None:
        if not isinstance(self.tokenizer, DuINConfig):
            known = self.tokenizer or {"preset": self.preset}
            object.__setattr__(self, "tokenizer", DuINConfig(**known))
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}; it must lie between 0 and 1")


class DuINEncoder(Encoder):
    """Encoder over region tokens. The tokenizer inside is frozen and only names the codes.

    Parameters
    ----------
    config : DuINEncoderConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = DuINEncoderConfig

    def __init__(
        self, config: DuINEncoderConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        config = config or DuINEncoderConfig()
        super().__init__(config, preprocess)
        sizes = config.tokenizer
        self.tokenizer = DuIN(sizes, self.preprocess).requires_grad_(False)
        self.tokenizer.eval()
        self.encoder = RegionEncoder(sizes)
        self.mask_D = nn.Parameter(0.02 * torch.randn(sizes.dim))
        self.head = nn.Linear(sizes.dim, sizes.codebook_size)

    @property
    def dim(self) -> int:
        return self.config.tokenizer.dim

    @property
    def n_sources(self) -> int:
        return 1

    def train(self, mode: bool = True) -> "DuINEncoder":
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, batch: SignalBatch, subject_B: Tensor | None = None) -> Features:
        """Features (B, 1, N, D); zeros fill the last token.

        Parameters
        ----------
        subject_B : rows of the mixing table; needed where several subjects have one
        """
        of = self.encoder.contacts(batch, subject_B)
        h = self.encoder.run(self.encoder.tokens(batch.signal_BCT, of))
        duration_s = self.config.tokenizer.window / batch.sfreq
        time_W = torch.arange(h.shape[1], device=h.device).double() * duration_s
        return Features(h[:, None], batch.valid_BC.any(1, keepdim=True), time_W, duration_s)

    def draw_mask(self, like_BND: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, N) True where a token is hidden in the first pass."""
        where = generator.device if generator is not None else like_BND.device
        noise_BN = torch.rand(like_BND.shape[:2], generator=generator, device=where)
        return mask_of(noise_BN.to(like_BND.device), self.config.mask_ratio)

    def guess(self, token_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Logits (B, N, K), each token's from the pass in which it was hidden."""
        passes = [self.head(self.run_hidden(token_BND, hide)) for hide in (mask_BN, ~mask_BN)]
        return torch.where(mask_BN[..., None], *passes)

    def run_hidden(self, token_BND: Tensor, hide_BN: Tensor) -> Tensor:
        """The transformer with some tokens replaced by the learned one."""
        return self.encoder.run(
            torch.where(hide_BN[..., None], self.mask_D.to(token_BND.dtype), token_BND)
        )

    @torch.no_grad()
    def tokenize(self, batch: SignalBatch, subject_B: Tensor | None = None) -> Tensor:
        """Codes (B, N) of a batch."""
        return self.tokenizer.encode(batch, subject_B).ids_BSWQ[:, 0, :, 0]

    def masked_losses(
        self,
        batch: SignalBatch,
        ids_BN: Tensor,
        *,
        subject_B: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Cross-entropy of all codes, each guessed while hidden: "loss" and "accuracy"."""
        of = self.encoder.contacts(batch, subject_B)
        token_BND = self.encoder.tokens(batch.signal_BCT, of)
        return code_losses(self.guess(token_BND, self.draw_mask(token_BND, generator)), ids_BN)


def mask_of(noise_BN: Tensor, ratio: float) -> Tensor:
    """True at the tokens of the largest numbers; of an odd count the larger half."""
    keep = int(noise_BN.shape[1] * (1 - ratio))
    return noise_BN.argsort(1).argsort(1) >= keep


def code_losses(logits_BNK: Tensor, ids_BN: Tensor) -> dict[str, Tensor]:
    """Cross-entropy over all positions, and how often the best guess is right."""
    accuracy = (logits_BNK.argmax(-1) == ids_BN).float().mean()
    return {
        "loss": F.cross_entropy(logits_BNK.float().flatten(0, 1), ids_BN.flatten()),
        "accuracy": accuracy,
    }
