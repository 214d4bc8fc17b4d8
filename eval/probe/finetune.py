"""Full fine-tune: alignment, codec encoder, transformer and heads, all trained end to end.

Recipe, fixed for every data set and every initialisation: start from a linear probe on frozen
features, then train everything (Kumar et al. 2022, arXiv 2202.10054) with small shifts in time,
mixed trials and averaged weights; no validation set, the last step counts.
Shapes: N trials, B batch, C channels, T samples, S sources, W steps, D width, K classes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.codecs.braintokenizer import unfold_windows
from brainfm.data.collate import batch_from_arrays
from brainfm.heads.classify import Classify, ClassifyConfig
from brainfm.hub import BrainModel
from brainfm.models.brainomni import BrainOmni
from brainfm.signals.preprocess import Normalise
from brainfm.types import Channels, Features, HeadOutput, SignalBatch
from eval.probe.align import EuclideanAlignment
from eval.probe.features import pack, tokenizer_of, trial_scale, unpack
from eval.probe.linear import C_GRID, SHIFT_S, WideLogistic, shifts_of


@dataclass(frozen=True)
class Recipe:
    """Numbers chosen by cross-validation inside training sets, never on a test split."""

    epochs: int = 8
    max_steps: int = 100
    """Fewer epochs where they would take more: large sets need fewer passes, and two cores
    fine-tune six models of a data set within minutes. At least one epoch."""
    batch_size: int = 16
    lr: float = 3e-4
    """Peak, everything but heads. BrainOmni's own 3e-5 did not leave the plateau in 20 epochs
    of small sets (docs/benchmarks.md)."""
    head_lr: float = 3e-4
    """Heads start from a fitted probe: ten times more would throw it away."""
    weight_decay: float = 0.05
    """BrainOmni, arXiv 2505.18185."""
    warmup: float = 0.15
    """Share of the steps."""
    dropout: float = 0.5
    """Of the features that enter the heads."""
    label_smoothing: float = 0.1
    shift_s: float = SHIFT_S
    """Trials are rolled in time by up to this much either way."""
    mix: float = 0.4
    """Beta parameter of mixing two trials and their labels; 0 turns it off."""
    average: float = 0.97
    """Decay of the averaged weights that predict."""
    clip_norm: float = 1.0


class AlignedEncoder(nn.Module):
    """A pretrained or fresh model behind a trainable alignment, with a head at each depth.

    The heads read the sensors' own features (fine in space; where the codec has a linear path,
    that path alone as well) and the transformer's (or, for a bare codec, the
    sources'); their logits add up.
    """

    def __init__(
        self, model: BrainModel, matrix_CC: NDArray, n_classes: int, n_samples: int, recipe: Recipe
    ) -> None:
        super().__init__()
        self.model = unpack(pack(model)).requires_grad_(True)
        self.tokenizer = tokenizer_of(self.model)
        self.align_CC = nn.Parameter(torch.as_tensor(matrix_CC, dtype=torch.float32))
        # 0: amplitude of trials is ignored; otherwise the scale of a usual trial.
        self.register_buffer("usual_scale", torch.zeros((), dtype=torch.float64))
        config = self.tokenizer.config
        n_windows = max(1, n_samples // config.window)
        sizes = dict(
            n_classes=n_classes,
            n_steps=n_windows * config.window // config.hop,
            dropout=recipe.dropout,
            label_smoothing=recipe.label_smoothing,
        )
        deep = self.model.dim if isinstance(self.model, BrainOmni) else config.dim
        self.depths = (*(("patches",) if config.linear_path else ()), "sensors", "encoder")
        shapes = dict.fromkeys(self.depths, (len(matrix_CC), config.dim))
        shapes["encoder"] = (config.n_sources, deep)
        self.heads = nn.ModuleList(
            Classify(ClassifyConfig(n_sources=s, dim=d, **sizes)) for s, d in shapes.values()
        )

    def features(self, batch: SignalBatch) -> list[Features]:
        """Features of a normalised batch at each of `depths`."""
        x_BCT = torch.einsum("dc,bct->bdt", self.align_CC, batch.signal_BCT)
        std_B11 = x_BCT.std((1, 2), keepdim=True).clamp_min(1e-6)
        x_BCT = x_BCT / std_B11
        x_BCNP = unfold_windows(x_BCT, self.tokenizer.config.window)
        h_BCNFD = self.tokenizer.encode_sensors(x_BCNP)
        z = self.tokenizer.sources_of(h_BCNFD, self.tokenizer.embed_sensors(batch), batch.valid_BC)
        latent_BSWD = F.normalize(z.flatten(2, 3), dim=-1)
        if isinstance(self.model, BrainOmni):
            h_BSWD = self.model.run_blocks(self.model.embed(latent_BSWD), skip_last=1)
            latent_BSWD = F.normalize(h_BSWD, dim=-1)
        seen = [h_BCNFD.flatten(2, 3), latent_BSWD]
        if "patches" in self.depths:
            seen.insert(0, self.tokenizer.encode_patches(x_BCNP).flatten(2, 3))
        if self.usual_scale > 0:
            size_B = self.trial_scale(batch, std_B11) / self.usual_scale
            size_B111 = size_B.clamp(0.1, 10.0).float()[:, None, None, None]
            seen = [h * size_B111 for h in seen]
        config = self.tokenizer.config
        step_s = config.hop / batch.sfreq
        time_W = torch.arange(latent_BSWD.shape[2], dtype=torch.float64) * step_s
        any_B1 = batch.valid_BC.any(1, keepdim=True)
        return [Features(h, any_B1.expand(-1, h.shape[1]), time_W, step_s) for h in seen]

    def trial_scale(self, batch: SignalBatch, std_B11: Tensor | None = None) -> Tensor:
        """(B,) what both normalisations, before and after the alignment, divide by."""
        if std_B11 is None:
            x_BCT = torch.einsum("dc,bct->bdt", self.align_CC, batch.signal_BCT)
            std_B11 = x_BCT.std((1, 2), keepdim=True)
        return trial_scale(batch) * std_B11[:, 0, 0].double()

    def forward(self, batch: SignalBatch, target: Tensor | None = None) -> HeadOutput:
        pairs = zip(self.heads, self.features(batch), strict=True)
        logits_BK = torch.stack([head(f).logits_BK for head, f in pairs]).sum(0)
        if target is None:
            return HeadOutput(logits_BK)
        return HeadOutput(logits_BK, {"cross_entropy": self.heads[0].loss(logits_BK, target)})


@dataclass
class FineTune:
    """A fine-tuned model as a decoder.

    Parameters
    ----------
    model : initialisation; it is copied, never changed
    """

    model: BrainModel
    channels: Channels
    sfreq: float
    normalise: Normalise
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> FineTune:
        """Train on all trials given; `history` gets the loss of every epoch."""
        r = self.recipe
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            rng = np.random.default_rng(self.seed)
            batch = self._batch(x_NCT)
            n_classes = int(y_N.max()) + 1
            self.size = (n_classes, x_NCT.shape[2])
            net, start = self._start(batch, x_NCT, y_N, group_N)
            per_epoch = -(-len(y_N) // r.batch_size)
            n_epochs = max(1, min(r.epochs, r.max_steps // per_epoch))
            self.choice = f"{n_epochs} epochs from a probe of {start}"
            share_NK = F.one_hot(torch.as_tensor(y_N), n_classes).float()
            heads = list(net.heads.parameters())
            ids = {id(p) for p in heads}
            body = [p for p in net.parameters() if id(p) not in ids]
            groups = [{"params": body, "lr": r.lr}, {"params": heads, "lr": r.head_lr}]
            opt = torch.optim.AdamW(groups, weight_decay=r.weight_decay, betas=(0.9, 0.99))
            steps = n_epochs * per_epoch
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                opt, [g["lr"] for g in groups], total_steps=max(steps, 2), pct_start=r.warmup
            )
            self.net = copy.deepcopy(net)
            self.history: list[float] = []
            step = 0
            for _ in range(n_epochs):
                net.train()
                total = 0.0
                for rows in torch.randperm(len(y_N)).split(r.batch_size):
                    part, target = self._augment(take(batch, rows), share_NK[rows], rng)
                    loss = net(part, target).losses["cross_entropy"]
                    opt.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(net.parameters(), r.clip_norm)
                    opt.step()
                    schedule.step()
                    step += 1
                    total += float(loss.detach()) * len(rows)
                    # Early averages forget fast, as in timm's warm-up of the decay.
                    decay = min(r.average, (step + 1) / (step + 10))
                    _average(self.net, net, decay)
                self.history.append(total / len(y_N))
            self.net.eval()
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "model": pack(self.model)}
        if "net" in state:
            state["net"] = self.net.state_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "model": unpack(state["model"])}
        if "net" in state:
            n = len(self.channels)
            self.net = AlignedEncoder(self.model, np.eye(n), *self.size, self.recipe).eval()
            self.net.load_state_dict(state["net"])

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        with torch.no_grad():
            batch = self._batch(x_NCT)
            parts = [
                self.net(take(batch, rows)).logits_BK.softmax(-1)
                for rows in torch.arange(len(x_NCT)).split(64)
            ]
        return torch.cat(parts).numpy()

    def _batch(self, x_NCT: NDArray) -> SignalBatch:
        return batch_from_arrays(x_NCT, self.channels, self.sfreq, self.normalise)

    def _start(
        self,
        batch: SignalBatch,
        x_NCT: NDArray,
        y_N: NDArray,
        group_N: NDArray | None,
    ) -> tuple[AlignedEncoder, str]:
        """The network whose probe is best by inner CV: which depth, aligned, with amplitude.

        Its probe, fitted to shifted trials too, becomes the start of that depth's head. The other
        heads start at zero: what knows less would only add noise.
        """
        starts = {"as recorded": np.eye(len(self.channels))}
        starts["aligned"] = EuclideanAlignment().fit(x_NCT, self.channels).matrix_CC
        best = -np.inf
        for name, matrix_CC in starts.items():
            net = AlignedEncoder(self.model, matrix_CC, *self.size, self.recipe).eval()
            for amplitude in (False, True):
                if amplitude:
                    with torch.no_grad():
                        net.usual_scale.copy_(net.trial_scale(batch).median())
                told = f"{name}{', amplitude' if amplitude else ''}"
                for depth, f_NF in enumerate(self._pooled(net, batch)):
                    found = WideLogistic(C_GRID[:4]).fit(f_NF, y_N, group_N)
                    if found.score > best:
                        best, kept = found.score, (copy.deepcopy(net), depth, found.spread, told)
        net, depth, spread, told = kept
        shifts = shifts_of(self.sfreq)
        f_NF = self._pooled(net, batch, shifts)[depth]
        probe = WideLogistic(C_GRID[:4], (spread,)).fit(f_NF, y_N, group_N, len(shifts))
        weight_KF, bias_K = (torch.as_tensor(a) for a in probe.weights())
        for i, head in enumerate(net.heads):
            n_features = head.centre_F.numel()
            mine = weight_KF if i == depth else weight_KF.new_zeros(len(bias_K), n_features)
            head.start_from(mine, bias_K if i == depth else torch.zeros_like(bias_K))
        return net, f"{net.depths[depth]}, {probe.choice}, {told}"

    @torch.no_grad()
    def _pooled(
        self, net: AlignedEncoder, batch: SignalBatch, shifts: tuple[int, ...] = (0,)
    ) -> list[NDArray]:
        """What each head sees of all trials, (copies x N, F), after setting its scale by them."""
        rows = torch.arange(len(batch)).split(64)
        parts = [net.features(roll(take(batch, i), n)) for n in shifts for i in rows]
        out = []
        for head, seen in zip(net.heads, zip(*parts, strict=True), strict=True):
            whole = replace(
                seen[0],
                h_BSWD=torch.cat([f.h_BSWD for f in seen]),
                valid_BS=torch.cat([f.valid_BS for f in seen]),
            )
            head.calibrate(whole)
            out.append(head.pool(whole).numpy())
        return out

    def _augment(
        self, batch: SignalBatch, share_BK: Tensor, rng: np.random.Generator
    ) -> tuple[SignalBatch, Tensor]:
        r = self.recipe
        most = round(r.shift_s * self.sfreq)
        x = roll(batch, int(rng.integers(-most, most + 1))).x_BCWP
        if r.mix > 0:
            share = float(rng.beta(r.mix, r.mix))
            other = torch.as_tensor(rng.permutation(len(x)))
            x = share * x + (1 - share) * x[other]
            share_BK = share * share_BK + (1 - share) * share_BK[other]
            scale_BC = share * batch.scale_BC + (1 - share) * batch.scale_BC[other]
            batch = replace(batch, scale_BC=scale_BC)
        return replace(batch, x_BCWP=x), share_BK


def take(batch: SignalBatch, rows: Tensor) -> SignalBatch:
    """Some windows of a batch."""
    return replace(batch, **{name: v[rows] for name, v in batch._tensors()}, refs=[])


def roll(batch: SignalBatch, n: int) -> SignalBatch:
    """Every window `n` samples later, its end at its beginning."""
    x_BCT = torch.roll(batch.signal_BCT, n, 2)
    return replace(batch, x_BCWP=x_BCT.view_as(batch.x_BCWP))


@torch.no_grad()
def _average(mean: nn.Module, now: nn.Module, decay: float) -> None:
    for a, b in zip(mean.parameters(), now.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
