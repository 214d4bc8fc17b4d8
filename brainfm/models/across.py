"""What recordings made at once tell of one another: who belongs together, and how late blood is.

Matching: windows of two recordings of the same seconds are to be found among windows of other
seconds (as CLIP matches images and captions, arXiv 2103.00020). Lag: the signal of a parcel is
guessed from electrophysiology in the twenty seconds before, through one impulse response for all
parcels, which learning is free to put at any lag: that of a brain, or of a simulated one, peaks
after 4 to 6 s.

Shapes: B batch, S sources, W steps, D width, E width of a match, P parcels, K lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import combinations
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.models.stream import is_bold
from brainfm.nn.attention import attend
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.norms import RMSNorm
from brainfm.types import Features, SignalBatch, Simultaneous

if TYPE_CHECKING:
    from brainfm.models.unified import UnifiedEncoder


SCALE = 2.5
"""Logarithm of what likeness is multiplied by, at first."""


class Matcher(nn.Module):
    """Sources of a window -> a unit vector a step, to be compared with another recording's.

    Parameters
    ----------
    dim, n_sources : of the encoder
    width : E
    """

    def __init__(self, dim: int, n_sources: int, width: int = 64) -> None:
        super().__init__()
        many = dim * n_sources
        self.out = nn.Sequential(nn.LayerNorm(many), nn.Linear(many, width))
        self.log_scale = nn.Parameter(torch.tensor(SCALE))

    @property
    def is_trained(self) -> bool:
        """Whether anything has ever been matched: its scale has moved."""
        return float(self.log_scale.detach()) != SCALE

    def forward(self, features: Features) -> Tensor:
        """(B, W, E), of length 1 each."""
        return F.normalize(self.out(features.h_BSWD.transpose(1, 2).flatten(2)), dim=-1)

    @staticmethod
    def likeness(mine_BWE: Tensor, theirs_BWE: Tensor) -> Tensor:
        """(B, B') mean cosine over steps; the longer window is cut to the shorter."""
        w = min(mine_BWE.shape[1], theirs_BWE.shape[1])
        return torch.einsum("bwe,cwe->bc", mine_BWE[:, :w], theirs_BWE[:, :w]) / w

    def losses(self, seen: list[Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of finding each other, mean over pairs of recordings and both ways.

        Returns
        -------
        dict with "match" and "match_top1"; empty with one recording or one window
        """
        losses, hits = [], []
        for a, b in combinations(seen, 2):
            logits_BB = self.log_scale.clamp(max=4.6).exp() * self.likeness(a, b)
            truth_B = torch.arange(len(logits_BB), device=logits_BB.device)
            for way in (logits_BB, logits_BB.T):
                losses.append(F.cross_entropy(way.float(), truth_B))
                hits.append((way.argmax(1) == truth_B).float().mean())
        if not losses or len(seen[0]) < 2:
            return {}
        return {
            "match": torch.stack(losses).mean(),
            "match_top1": torch.stack(hits).mean().detach(),
        }


class BloodLag(nn.Module):
    """BOLD of parcels from steps of electrophysiology, through one impulse response.

    Parameters
    ----------
    dim, n_heads : of the encoder
    n_lags : K, steps back
    """

    def __init__(self, dim: int, n_heads: int, n_lags: int = 20) -> None:
        super().__init__()
        self.n_heads, self.n_lags = n_heads, n_lags
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm, self.feed = RMSNorm(dim), SwiGLU(dim, dim)
        self.drive = nn.Linear(dim, 1)
        # Flat: no lag is preferred before anything is learned.
        self.response_K = nn.Parameter(torch.full((n_lags,), 1.0 / n_lags))

    def least_s(self, step_s: float) -> float:
        """Seconds a window must have to say anything of lags."""
        return (self.n_lags + 2) * step_s

    def drives(self, features: Features, code_BPD: Tensor) -> Tensor:
        """(B, P, W) what each parcel's blood is driven by at each step."""
        h_BSWD = features.h_BSWD
        b, _, w, _ = h_BSWD.shape
        h_MSD = h_BSWD.transpose(1, 2).flatten(0, 1)
        asked_MPD = self.query(code_BPD).repeat_interleave(w, 0)
        found_MPD = attend(asked_MPD, self.key(h_MSD), self.value(h_MSD), self.n_heads)
        x = found_MPD + self.feed(self.norm(found_MPD + asked_MPD))
        return self.drive(x).squeeze(-1).unflatten(0, (b, w)).transpose(1, 2)

    def forward(self, drive_BPW: Tensor) -> Tensor:
        """(B, P, W - K + 1) BOLD at the end of each step that has K steps up to it."""
        b, p, w = drive_BPW.shape
        kernel = self.response_K.flip(0)[None, None]
        return F.conv1d(drive_BPW.reshape(b * p, 1, w), kernel).unflatten(0, (b, p)).squeeze(2)

    def losses(
        self, features: Features, code_BPD: Tensor, fast: SignalBatch, bold: SignalBatch
    ) -> dict[str, Tensor]:
        """Squared error of BOLD where K steps of electrophysiology lie before it.

        Frames are read at the end of each step, between frames by a straight line.

        Returns
        -------
        dict with "lag" (error over variance), "lag_explained" and "lag_s", where the response is
        farthest from zero
        """
        step_s = features.duration_s
        truth_BPW, there_BW = bold_at(fast, bold, features)
        guess_BPW = self(self.drives(features, code_BPD))
        truth_BPW, there_BW = (x[..., self.n_lags - 1 :] for x in (truth_BPW, there_BW))
        ok = there_BW[:, None] & bold.valid_BC[..., None]
        truth = torch.where(ok, truth_BPW, 0.0)
        count = ok.sum(-1, keepdim=True).clamp_min(1)
        # A window's own mean says nothing of lags: a slow drift of the scanner is most of it.
        truth = truth - truth.sum(-1, keepdim=True) / count
        guess = torch.where(ok, guess_BPW, 0.0)
        guess = guess - guess.sum(-1, keepdim=True) / count
        error = ((guess - truth).square() * ok).sum() / ok.sum().clamp_min(1)
        variance = (truth.square() * ok).sum() / ok.sum().clamp_min(1)
        lag = (self.response_K.detach().abs().argmax() + 0.5) * step_s
        loss = error / variance.clamp_min(1e-6)
        return {"lag": loss, "lag_explained": 1 - loss.detach(), "lag_s": lag}


def bold_at(fast: SignalBatch, bold: SignalBatch, features: Features) -> tuple[Tensor, Tensor]:
    """BOLD (B, P, W) at the ends of steps, and where there are frames for it (B, W)."""
    x_BPF = bold.signal_BCT.float()
    n = x_BPF.shape[-1]
    end_BW = fast.time_BW[:, :1] + (features.time_W + features.duration_s).to(fast.time_BW.device)
    at_BW = (end_BW - bold.time_BW[:, :1]) * bold.sfreq
    there_BW = (at_BW >= 0) & (at_BW <= n - 1)
    low_BW = at_BW.floor().clamp(0, n - 2).long()
    share_BPW = (at_BW - low_BW).clamp(0, 1).float()[:, None]
    index = low_BW[:, None].expand(-1, x_BPF.shape[1], -1)
    x = x_BPF.gather(2, index) * (1 - share_BPW) + x_BPF.gather(2, index + 1) * share_BPW
    return x, there_BW


def pieces(batch: SignalBatch, seconds: float) -> SignalBatch:
    """Every window cut into windows of so many seconds each, in order; what is left over goes."""
    x_BCT = batch.signal_BCT
    length = round(seconds * batch.sfreq)
    n = max(1, x_BCT.shape[-1] // length)
    length = min(length, x_BCT.shape[-1])
    each = {
        f.name: getattr(batch, f.name).repeat_interleave(n, 0)
        for f in fields(batch)
        if f.name.endswith(("_BC", "_BC3"))
    }
    x_BCNT = x_BCT[..., : n * length].unflatten(-1, (n, length))
    start_N = torch.arange(n, dtype=torch.float64, device=x_BCT.device) * length / batch.sfreq
    return SignalBatch(
        x_BCWP=x_BCNT.transpose(1, 2).flatten(0, 1)[:, :, None],
        time_BW=(batch.time_BW[:, :1] + start_N).flatten()[:, None],
        sfreq=batch.sfreq,
        frame=batch.frame,
        reference=batch.reference,
        **each,
    )


def across_losses(
    encoder: UnifiedEncoder,
    batch: Simultaneous,
    wanted: Sequence[str] = ("match", "lag"),
    piece_s: float = 4.0,
) -> dict[str, Tensor]:
    """Losses of both, as far as the recordings at hand allow them.

    Parameters
    ----------
    wanted : "match", "lag" or both; the encoder is run for each
    piece_s : seconds of what is matched: a window of 40 s has so many marks that all find it
    """
    fast = [b for b in batch.batches if not is_bold(b)]
    slow = [b for b in batch.batches if is_bold(b)]
    # Two recordings a step are matched, others in other steps.
    drawn = torch.randperm(len(fast))[:2].tolist() if "match" in wanted else []
    short = [encoder(pieces(fast[i], piece_s)) for i in drawn] if len(drawn) > 1 else []
    parts = encoder.matcher.losses([encoder.matcher(f) for f in short])
    long = [b for b in fast if b.seconds >= encoder.lag.least_s(encoder.config.stream.step_s)]
    if slow and long and "lag" in wanted:
        # One recording a step is asked for blood, others in other steps.
        one = long[int(torch.randint(len(long), ()))]
        seen = encoder(one)
        found = [
            encoder.lag.losses(seen, encoder.embedding.sensors(bold)[2], one, bold) for bold in slow
        ]
        for key in found[0]:
            parts[key] = torch.stack([f[key] for f in found]).mean()
    return parts
