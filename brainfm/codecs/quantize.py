"""Residual vector quantisation: learned codebooks that follow the data by moving averages.

Update rules: BrainTokenizer (arXiv 2505.18185) and BioCodec (arXiv 2510.09095), after EnCodec;
gradient through the quantiser by the rotation trick (Fifty et al., arXiv 2410.06424). All
statistics are summed over processes, so codebooks stay identical under data parallelism.
Own code, because `vector-quantize-pytorch` also shortens to length 1 what it looks up by angle,
which BioCodec does not, and replaces codes by their count alone.

Shapes: N vectors, D width, K codes, E codebook width, Q levels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.nn.distributed import from_rank_zero, gather_rows, sum_over_ranks, world_size


@dataclass(frozen=True)
class QuantizerConfig:
    """Sizes and update rules of a residual quantiser."""

    dim: int = 256
    codebook_dim: int = 256
    """Equal to `dim` in the release: then there are no projections."""
    codebook_size: int = 512
    n_levels: int = 4
    decay: float = 0.99
    epsilon: float = 1e-6
    """Laplace smoothing of the counts."""
    commitment: float = 0.25
    unit_codes: bool = False
    """True as in BioCodec: the nearest code by angle, and codes of length 1. Neither code nor
    index then says how large a residual is, so that later levels refine less."""
    rotation_trick: bool = True
    """False: straight-through."""
    dead_count: float | None = None
    """Replace a code whose average count falls below this. 2 as published: with small batches
    (fewer than about 8 vectors a code) it replaces working codes at every step."""
    dead_share: float | None = 0.05
    """Replace a code used less than this share of the mean use; right at any batch size."""
    kmeans_iterations: int = 10
    kmeans_samples: int = 4096
    init_at_eval: bool = False
    """The published program runs k-means at its first forward even at evaluation."""


class Quantized(NamedTuple):
    """What the quantiser returns: (..., D) vectors, (..., Q) ids, scalar commitment loss."""

    latent: Tensor
    ids: Tensor
    commit: Tensor


class CodebookStats(NamedTuple):
    """Use of the codebooks over some ids, one value a level."""

    perplexity_Q: Tensor
    used_Q: Tensor


def codebook_stats(ids: Tensor, codebook_size: int) -> CodebookStats:
    """Perplexity and number of used codes of each level; `ids` is (..., Q) integers."""
    flat_NQ = ids.reshape(-1, ids.shape[-1])
    counts_QK = torch.stack([q.bincount(minlength=codebook_size) for q in flat_NQ.unbind(-1)])
    p_QK = counts_QK.double() / counts_QK.sum(-1, keepdim=True).clamp_min(1)
    entropy_Q = -(p_QK * p_QK.clamp_min(1e-12).log()).sum(-1)
    return CodebookStats(entropy_Q.exp(), (counts_QK > 0).sum(-1))


def nearest(x_NE: Tensor, codes_KE: Tensor) -> Tensor:
    """Index of the nearest code (Euclidean) of each row. (N,)."""
    # |x - e|^2 without |x|^2, which is the same for all codes.
    score_NK = torch.addmm(-0.5 * codes_KE.square().sum(-1), x_NE, codes_KE.T)
    return score_NK.argmax(-1)


def nearest_angle(x_NE: Tensor, codes_KE: Tensor) -> Tensor:
    """Index of the code with the largest cosine to each row. (N,)."""
    return (F.normalize(x_NE, dim=-1) @ F.normalize(codes_KE, dim=-1).T).argmax(-1)


def _sample_rows(x_NE: Tensor, n: int) -> Tensor:
    """`n` rows of `x_NE`, without replacement if there are enough; the same on all ranks."""
    have = x_NE.shape[0]
    pick = torch.randperm(have)[:n] if have >= n else torch.randint(have, (n,))
    return from_rank_zero(x_NE[pick.to(x_NE.device)].contiguous())


def kmeans(x_NE: Tensor, n_codes: int, n_iterations: int) -> tuple[Tensor, Tensor]:
    """Centres (K, E) and how many rows each has (K,); an empty centre stays where it is."""
    centre_KE = _sample_rows(x_NE, n_codes)
    for _ in range(n_iterations):
        ids_N = nearest(x_NE, centre_KE)
        count_K = torch.bincount(ids_N, minlength=n_codes).to(x_NE.dtype)
        sum_KE = torch.zeros_like(centre_KE).index_add_(0, ids_N, x_NE)
        mean_KE = sum_KE / count_K.clamp_min(1)[:, None]
        centre_KE = torch.where(count_K[:, None] > 0, mean_KE, centre_KE)
    count_K = torch.bincount(nearest(x_NE, centre_KE), minlength=n_codes)
    return centre_KE, count_K.to(x_NE.dtype)


def rotate_to(x: Tensor, q: Tensor) -> Tensor:
    """The values of `q`, with the gradient of turning and stretching `x` onto it.

    Fifty et al., arXiv 2410.06424: a Householder pair maps the direction of x to that of q;
    the map itself is treated as constant.
    """
    x_norm = x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    q_norm = q.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    u, v = (x / x_norm).detach(), (q / q_norm).detach()
    w = F.normalize(u + v, dim=-1)
    turned = x - 2 * w * (w * x).sum(-1, keepdim=True) + 2 * v * (u * x).sum(-1, keepdim=True)
    return turned * (q_norm / x_norm).detach()


class Codebook(nn.Module):
    """One table of codes and its moving averages; all of it buffers, saved with the weights.

    Buffers: `codes_KE`, `sum_KE` (moving sum of assigned vectors), `count_K` (moving number
    of them), `ready` (1 once initialised).
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        k, e = config.codebook_size, config.codebook_dim
        self.register_buffer("codes_KE", torch.zeros(k, e))
        self.register_buffer("sum_KE", torch.zeros(k, e))
        self.register_buffer("count_K", torch.zeros(k))
        self.register_buffer("ready", torch.zeros(1))
        self._known_ready = False

    @property
    def is_ready(self) -> bool:
        """True once codes were initialised or loaded; asks the device only until then."""
        if not self._known_ready:
            self._known_ready = bool(self.ready.item() > 0)
        return self._known_ready

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._known_ready = False
        super()._load_from_state_dict(*args, **kwargs)

    def nearest(self, x_NE: Tensor) -> Tensor:
        """Index of the nearest code of each row, by distance or by angle. (N,)."""
        return (nearest_angle if self.config.unit_codes else nearest)(x_NE, self.codes_KE)

    def _fit(self, codes_KE: Tensor) -> Tensor:
        """Codes as the configuration wants them: of length 1, or as they are."""
        return F.normalize(codes_KE, dim=-1) if self.config.unit_codes else codes_KE

    @torch.no_grad()
    def initialise(self, x_NE: Tensor) -> None:
        """Place the codes by k-means on a sample of `x_NE` (of all processes' rows)."""
        share = max(1, self.config.kmeans_samples // world_size())
        have = x_NE.shape[0]
        pick = torch.randperm(have)[:share]
        if world_size() > 1 and have < share:  # ranks may hold batches of different sizes
            pick = torch.randint(have, (share,))
        sample_NE = self._fit(gather_rows(x_NE[pick.to(x_NE.device)]))
        centre_KE, count_K = kmeans(
            sample_NE, self.config.codebook_size, self.config.kmeans_iterations
        )
        # EnCodec leaves the sums unweighted, which shrinks every code at the first update.
        count_K, centre_KE = count_K.clamp_min(1.0), self._fit(centre_KE)
        for mine, value in (
            (self.codes_KE, centre_KE),
            (self.count_K, count_K),
            (self.sum_KE, centre_KE * count_K[:, None]),
        ):
            mine.copy_(from_rank_zero(value.contiguous()))
        self.ready.fill_(1.0)

    @torch.no_grad()
    def update(self, x_NE: Tensor, ids_N: Tensor) -> None:
        """Move the averages by one batch and the codes to them; replace dead codes."""
        c = self.config
        counts_K = torch.bincount(ids_N, minlength=c.codebook_size).to(x_NE.dtype)
        sums_KE = torch.zeros_like(self.sum_KE).index_add_(0, ids_N, x_NE)
        both = sum_over_ranks(torch.cat((counts_K[:, None], sums_KE), 1))
        dead_K = self._dead()
        self.count_K.lerp_(both[:, 0], 1 - c.decay)
        self.sum_KE.lerp_(both[:, 1:], 1 - c.decay)
        total = self.count_K.sum()
        smooth_K = (self.count_K + c.epsilon) / (total + c.epsilon * c.codebook_size) * total
        self.codes_KE.copy_(self._fit(self.sum_KE / smooth_K[:, None]))
        if dead_K is not None and bool(dead_K.any()):
            self._revive(dead_K, x_NE)

    def _dead(self) -> Tensor | None:
        c = self.config
        if c.dead_count is not None:
            return self.count_K < c.dead_count
        if c.dead_share is not None:
            return self.count_K < c.dead_share * self.count_K.mean()
        return None

    def _revive(self, dead_K: Tensor, x_NE: Tensor) -> None:
        """Put dead codes on vectors of the batch, with the mean weight, so they can live."""
        n = dead_K.shape[0]
        fresh_KE = self._fit(_sample_rows(x_NE, n))
        weight = self.count_K.mean().clamp_min(self.config.dead_count or 0.0)
        self.codes_KE.copy_(torch.where(dead_K[:, None], fresh_KE, self.codes_KE))
        self.sum_KE.copy_(torch.where(dead_K[:, None], fresh_KE * weight, self.sum_KE))
        self.count_K.copy_(torch.where(dead_K, weight, self.count_K))


class QuantizerLevel(nn.Module):
    """One level: project in, nearest code, project out."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        same = config.codebook_dim == config.dim
        self.project_in = nn.Identity() if same else nn.Linear(config.dim, config.codebook_dim)
        self.project_out = nn.Identity() if same else nn.Linear(config.codebook_dim, config.dim)
        self.codebook = Codebook(config)

    def forward(self, x: Tensor, update: bool) -> Quantized:
        """Quantise (..., D) float32 vectors; `update` trains the codebook."""
        c = self.config
        e = self.project_in(x)
        flat_NE = e.detach().reshape(-1, e.shape[-1])
        if not self.codebook.is_ready:
            if not (update or c.init_at_eval):
                raise ContractError(
                    "the codebook holds no codes yet (ready = 0); train the codec for one step, "
                    "call initialise_codebooks(batch), or load a trained codec"
                )
            self.codebook.initialise(flat_NE)
        ids_N = self.codebook.nearest(flat_NE)
        q = F.embedding(ids_N, self.codebook.codes_KE).view(e.shape)
        commit = c.commitment * F.mse_loss(e, q)
        if update:
            self.codebook.update(flat_NE, ids_N)
            q = rotate_to(e, q) if c.rotation_trick else e + (q - e).detach()
        else:
            commit = commit.detach()
        return Quantized(self.project_out(q), ids_N.view(e.shape[:-1]), commit)

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of integer ids: (...) -> (..., D)."""
        return self.project_out(F.embedding(ids, self.codebook.codes_KE))


class ResidualQuantizer(nn.Module):
    """Quantise what the previous levels left over.

    Levels see the plain residual. Computed in float32 also under autocast: a code index must
    not depend on the precision.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(QuantizerLevel(config) for _ in range(config.n_levels))

    def forward(
        self, x: Tensor, update: bool | None = None, n_levels: int | None = None
    ) -> Quantized:
        """Quantise vectors.

        Parameters
        ----------
        x : Tensor (..., D)
        update : train the codebooks (and pass gradients); default: `self.training`
        n_levels : use the first so many; default: all

        Raises
        ------
        ContractError
            If a codebook was never initialised and `update` is False.
        """
        update = self.training if update is None else update
        with torch.autocast(x.device.type, enabled=False):
            left = x.float()
            total = torch.zeros_like(left)
            ids, commits = [], []
            for level in self.levels[:n_levels]:
                out = level(left, update)
                left = left - out.latent.detach()
                total = total + out.latent
                ids.append(out.ids)
                commits.append(out.commit)
        return Quantized(total, torch.stack(ids, -1), torch.stack(commits).mean())

    def lookup(self, ids: Tensor) -> Tensor:
        """Sum over levels of the vectors of `ids` (..., Q'); Q' may be fewer than all levels."""
        with torch.autocast(ids.device.type, enabled=False):
            parts = [self.levels[i].lookup(q) for i, q in enumerate(ids.unbind(-1))]
            return torch.stack(parts).sum(0)
