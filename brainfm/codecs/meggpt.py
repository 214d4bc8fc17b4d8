"""The tokenizer of MEG-GPT: every sample of every channel is one token, learned end to end.

A small recurrent network reads a channel alone and picks a token at each sample; each token
stands for a short waveform, and the signal is the sum of the waveforms (EphysTokenizer, part of
MEG-GPT, arXiv 2510.18080). It does not compress: it turns a signal into words for a language
model (`models.meggpt`).

While training, a token is a mixture: tau of the softmax, the rest of its largest entry alone, with
tau falling from 1 to .001, so that the waveforms learn first and the choice hardens later.

Shapes: B batch, C channels, T samples, M = B C rows, K tokens, P samples in a waveform.
"""

from dataclasses import dataclass
from math import log2
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.base import Codec, CodecForward
from brainfm.codecs.presets import fill_from_preset
from brainfm.errors import ContractError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Codes, SignalBatch

EPHYS: dict[str, dict[str, Any]] = {
    # 231 041 parameters in the release (ours are fewer: see `basis_KP`), 250 Hz, arXiv 2510.18080.
    "published": dict(n_tokens=128, hidden=128, kernel=10),
    # Trains in minutes on two CPU cores.
    "demo": dict(n_tokens=64, hidden=48, kernel=10),
    # For tests.
    "test": dict(n_tokens=24, hidden=12, kernel=6),
}
PADDINGS = ("causal", "same")
SHARPNESS = 10.0
"""Logits are layer-normalised and multiplied by this."""


@dataclass(frozen=True)
class EphysTokenizerConfig:
    """Sizes of an EphysTokenizer. None: taken from `preset`; what is given explicitly wins."""

    preset: str = "published"
    n_tokens: int | None = None
    hidden: int | None = None
    """Units of the recurrent network."""
    kernel: int | None = None
    """Samples of a token's waveform."""
    padding: str = "causal"
    """"causal": a waveform begins at its token; "same": it lies around it."""
    n_stages: int = 20
    """Steps in which tau falls; published: one an epoch."""
    stage_steps: int = 500
    """Training batches a stage."""
    last_tau: float = 1e-3
    """Of the last stage; 0 would stop all gradients to the recurrent network."""

    def __post_init__(self) -> None:
        fill_from_preset(self, EPHYS)
        if self.padding not in PADDINGS:
            raise ValueError(f"padding is '{self.padding}'; it must be one of {PADDINGS}")
        if self.n_stages < 2 or self.stage_steps < 1:
            raise ValueError(
                f"n_stages is {self.n_stages} and stage_steps {self.stage_steps}; tau falls in two "
                "stages or more of one step or more"
            )

    @property
    def codebook_size(self) -> int:
        return self.n_tokens

    def tau(self, step: int) -> float:
        """Share of the softmax at a training step."""
        fallen = min(self.n_stages - 1, step // self.stage_steps) / (self.n_stages - 1)
        return (1.0 - fallen) + fallen * self.last_tau


class EphysTokenizer(Codec):
    """One token a sample and channel.

    Parameters
    ----------
    config : EphysTokenizerConfig
    preprocess : the contract of the signals it was trained on
    """

    config_class = EphysTokenizerConfig
    per_channel: ClassVar[bool] = True

    def __init__(
        self, config: EphysTokenizerConfig | None = None, preprocess: Preprocess | None = None
    ) -> None:
        c = config or EphysTokenizerConfig()
        super().__init__(c, preprocess)
        self.rnn = nn.GRU(1, c.hidden, batch_first=True)
        self.score = nn.Linear(c.hidden, c.n_tokens)
        self.norm = nn.LayerNorm(c.n_tokens)
        # The release has K x K x P weights and sums over the first K: only the sum matters.
        self.basis_KP = nn.Parameter(torch.randn(c.n_tokens, c.kernel) * (3 * c.kernel) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    # Pieces, on plain tensors.

    def logits(self, x_MT: Tensor) -> Tensor:
        """Score of each token at each sample, (M, T, K)."""
        return self.norm(self.score(self.rnn(x_MT[..., None])[0])) * SHARPNESS

    def soft_tokens(self, logits_MTK: Tensor, tau: float) -> Tensor:
        """Mixture of softmax and choice; gradients flow through the softmax alone."""
        hard = F.one_hot(logits_MTK.argmax(-1), logits_MTK.shape[-1])
        return tau * logits_MTK.softmax(-1) + (1 - tau) * hard.to(logits_MTK.dtype)

    def synthesise(self, weight_MTK: Tensor) -> Tensor:
        """Sum of the waveforms of weighted tokens, (M, T)."""
        k = self.config.kernel
        left = k - 1 if self.config.padding == "causal" else (k - 1) // 2
        padded = F.pad(weight_MTK.transpose(1, 2), (left, k - 1 - left))
        return F.conv1d(padded, self.basis_KP[None])[:, 0] + self.bias

    # The codec.

    @property
    def n_levels(self) -> int:
        return 1

    def lookup(self, ids_BSWQ: Tensor) -> Tensor:
        """Waveforms (B, C, T, P) that tokens stand for."""
        return F.embedding(ids_BSWQ[..., 0], self.basis_KP)

    def encode(self, batch: SignalBatch) -> Codes:
        """Tokens of each sample; each channel is its own source."""
        x = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0)
        b, c, t = x.shape
        ids = self.logits(x.flatten(0, 1)).argmax(-1).view(b, c, t, 1)
        time_W = torch.arange(t, device=ids.device).double() / batch.sfreq
        return Codes(ids, self.lookup(ids), time_W, 1 / batch.sfreq)

    def decode(self, codes: Codes, batch: SignalBatch) -> Tensor:
        """Signal (B, C, T) in the units of the batch."""
        return self.decode_ids(codes.ids_BSWQ[..., 0])

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Signal of tokens (..., T), each row alone."""
        hard = F.one_hot(ids.flatten(0, -2), self.config.n_tokens).to(self.basis_KP.dtype)
        return self.synthesise(hard).view(ids.shape)

    def bits_per_second(self, sfreq: float = 250.0) -> float:
        """Of one channel: 1750 bit/s as published, where a fixed-length code is written."""
        return log2(self.config.n_tokens) * sfreq

    def training_forward(
        self, batch: SignalBatch, *, generator: torch.Generator | None = None
    ) -> CodecForward:
        """Reconstruct a batch with the mixture of this step; nothing is drawn.

        At evaluation tokens are the plain choice.
        """
        x = torch.where(batch.valid_BC[..., None], batch.signal_BCT, 0.0)
        b, c, t = x.shape
        logits = self.logits(x.flatten(0, 1))
        tau = self.config.tau(int(self.step)) if self.training else 0.0
        rec = self.synthesise(self.soft_tokens(logits, tau)).view(b, c, t)
        if self.training:
            self.step += 1
        ids = logits.argmax(-1).view(b, c, t, 1)
        nothing = torch.zeros((), device=x.device)
        return CodecForward(rec[:, :, None], x[:, :, None], nothing, ids, batch.valid_BC)

    def forward(self, batch: SignalBatch) -> CodecForward:
        return self.training_forward(batch)


# Whole recordings, in the windows that the network was trained on.


def encode_recording(
    codec: EphysTokenizer, x_CT: Tensor, window: int = 200, margin: int = 0
) -> Tensor:
    """Tokens (C, T - 2 margin) of a recording that is already normalised.

    Windows overlap by twice the margin, the last one ends where the recording ends; of each the
    margins are cut off, and where windows still overlap the later one counts, as published.

    Raises
    ------
    ContractError
        If the recording is shorter than a window, or margins leave nothing of it.
    """
    n = x_CT.shape[-1]
    if not (0 <= 2 * margin < window <= n):
        raise ContractError(
            f"a recording of {n} samples cannot be cut into windows of {window} with margins of "
            f"{margin}; take a window of at most {n} and a margin below half of it"
        )
    starts = [*range(0, n - window + 1, window - 2 * margin)]
    if starts[-1] != n - window:
        starts.append(n - window)
    windows = torch.stack([x_CT[:, s : s + window] for s in starts])
    ids_MT = codec.logits(windows.flatten(0, 1)).argmax(-1)
    found = torch.empty(len(x_CT), n, dtype=torch.long, device=x_CT.device)
    for start, ids_CT in zip(starts, ids_MT.unflatten(0, windows.shape[:2]), strict=True):
        found[:, start + margin : start + window - margin] = ids_CT[:, margin : window - margin]
    return found[:, margin : n - margin]


def decode_recording(codec: EphysTokenizer, ids_CT: Tensor, window: int = 200) -> Tensor:
    """Signal (C, T') of whole windows, each decoded alone, as published."""
    whole = ids_CT.shape[-1] // window * window
    return codec.decode_ids(ids_CT[:, :whole].unflatten(-1, (-1, window))).flatten(1)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a data set uses, the most frequent first.

    Attributes
    ----------
    token_V : raw token of labels 1 to V
    label_K : label of each raw token; 0 where it was never seen
    """

    token_V: Tensor
    label_K: Tensor

    @classmethod
    def of_counts(cls, count_K: Tensor) -> "Vocabulary":
        """By how often each raw token occurs; ties by number."""
        order_K = count_K.argsort(descending=True, stable=True)
        token_V = order_K[: int((count_K > 0).sum())]
        label_K = torch.zeros_like(order_K)
        label_K[token_V] = torch.arange(1, len(token_V) + 1, device=count_K.device)
        return cls(token_V, label_K)

    def __len__(self) -> int:
        """Labels, the unseen one included."""
        return len(self.token_V) + 1

    def raw(self, label: Tensor) -> Tensor:
        """Raw tokens of labels; label 0 becomes the first token that was never seen."""
        unseen = (self.label_K == 0).nonzero()[:1, 0]
        first = unseen if len(unseen) else self.token_V[-1:]
        return torch.cat((first, self.token_V))[label]
