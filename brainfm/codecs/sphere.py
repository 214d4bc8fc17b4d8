"""Vector quantisation on the unit sphere: codes are directions that drift after their vectors.

The rule of Du-IN (arXiv 2405.11459), after LaBraM: a code turns towards the direction of its
vectors in this batch. `vector-quantize-pytorch` (read at 1.32.0) does not compute it: there a code
is the direction of a moving sum, in which long runs of vectors outweigh short ones.

Shapes: N vectors, E width, K codes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError
from brainfm.nn.distributed import from_rank_zero, gather_rows, sum_over_ranks, world_size

KMEANS_ROWS = 4096
"""Vectors, drawn from all processes, that k-means looks at; one process alone takes all it has."""


@dataclass(frozen=True)
class SphereConfig:
    """Size and update rule of a codebook on the sphere."""

    dim: int = 64
    size: int = 2048
    commitment: float = 1.0
    decay: float = 0.99
    kmeans_iterations: int = 10
    dead_share: float | None = 0.05
    """Replace a code used less than this share of the mean use. None as published."""
    init_at_eval: bool = False
    """The published program runs k-means at its first forward even at evaluation."""
    count_at_eval: bool = False
    """The published program also counts ids at evaluation."""


class SphereCodes(NamedTuple):
    """Unit vectors before (z) and after (latent) quantisation, ids, scalar commitment loss."""

    z: Tensor
    latent: Tensor
    ids: Tensor
    commit: Tensor


class SphereCodebook(nn.Module):
    """Nearest code of unit vectors; gradients pass straight through.

    Buffers: `codes_KE` (unit rows), `count_K` (moving number of vectors), `ready` (1 once
    initialised). Statistics are summed over processes.
    """

    def __init__(self, config: SphereConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("codes_KE", torch.zeros(config.size, config.dim))
        self.register_buffer("count_K", torch.zeros(config.size))
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

    def nearest(self, z_NE: Tensor) -> Tensor:
        """Index of the nearest code: among unit vectors, that of the largest cosine."""
        return (z_NE @ self.codes_KE.T).argmax(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """Unit vectors of integer ids: (...) -> (..., E)."""
        return F.embedding(ids, self.codes_KE)

    def forward(self, z: Tensor, update: bool) -> SphereCodes:
        """Quantise (..., E) unit vectors; `update` trains the codebook and passes gradients.

        Raises
        ------
        ContractError
            If the codebook was never initialised and `update` is False.
        """
        c = self.config
        flat_NE = z.detach().reshape(-1, z.shape[-1])
        if not self.is_ready:
            if not (update or c.init_at_eval):
                raise ContractError(
                    "the codebook holds no codes yet (ready = 0); train the codec for one step, "
                    "call initialise_codebooks(batch), or load a trained codec"
                )
            self.initialise(flat_NE)
        ids_N = self.nearest(flat_NE)
        q = self.lookup(ids_N).view_as(z)
        commit = c.commitment * F.mse_loss(z, q)
        if update or c.count_at_eval:
            self.update(flat_NE, ids_N, move=update)
        if update:
            q = z + (q - z).detach()
        return SphereCodes(z, q, ids_N.view(z.shape[:-1]), commit)

    @torch.no_grad()
    def initialise(self, z_NE: Tensor, start_K: Tensor | None = None) -> Tensor:
        """Place the codes by k-means on unit vectors; returns how many each has, (K,).

        Parameters
        ----------
        start_K : rows to start from; drawn if None
        """
        k = self.config.size
        if world_size() > 1:  # ranks may hold batches of different sizes
            pick = torch.randint(len(z_NE), (max(1, KMEANS_ROWS // world_size()),))
            z_NE = gather_rows(z_NE[pick.to(z_NE.device)])
        if start_K is None:
            n = len(z_NE)
            start_K = torch.randperm(n)[:k] if n >= k else torch.randint(n, (k,))
            start_K = from_rank_zero(start_K.to(z_NE.device))
        self.codes_KE.copy_(z_NE[start_K])
        count_K = torch.zeros_like(self.count_K)
        for _ in range(self.config.kmeans_iterations):
            ids_N = self.nearest(z_NE)
            count_K = ids_N.bincount(minlength=k).to(z_NE.dtype)
            self._follow(self._sums(z_NE, ids_N), count_K, decay=0.0)
        self.count_K.copy_(count_K.clamp_min(1.0))
        self.ready.fill_(1.0)
        return count_K

    @torch.no_grad()
    def update(self, z_NE: Tensor, ids_N: Tensor, move: bool = True) -> None:
        """Count the ids of a batch and, if `move`, let the codes follow its vectors."""
        c = self.config
        counts_K = ids_N.bincount(minlength=c.size).to(z_NE.dtype)
        both = sum_over_ranks(torch.cat((counts_K[:, None], self._sums(z_NE, ids_N)), 1))
        self.count_K.lerp_(both[:, 0], 1 - c.decay)
        if move:
            self._follow(both[:, 1:], both[:, 0], c.decay)
            if c.dead_share is not None:
                self._revive(z_NE, c.dead_share)

    def _sums(self, z_NE: Tensor, ids_N: Tensor) -> Tensor:
        return torch.zeros_like(self.codes_KE).index_add_(0, ids_N, z_NE)

    def _follow(self, sum_KE: Tensor, count_K: Tensor, decay: float) -> None:
        """Give unit(decay code + (1 - decay) unit(sum)); a code without vectors stays."""
        new_KE = torch.where(count_K[:, None] > 0, F.normalize(sum_KE, dim=-1), self.codes_KE)
        self.codes_KE.copy_(F.normalize(decay * self.codes_KE + (1 - decay) * new_KE, dim=-1))

    def _revive(self, z_NE: Tensor, share: float) -> None:
        """Put dead codes on vectors of the batch, with the mean count, so they can live."""
        mean = self.count_K.mean()
        dead_K = self.count_K < share * mean
        pick_K = torch.randint(len(z_NE), (len(dead_K),), device=z_NE.device)
        fresh_KE = from_rank_zero(z_NE[pick_K])
        self.codes_KE.copy_(torch.where(dead_K[:, None], fresh_KE, self.codes_KE))
        self.count_K.copy_(torch.where(dead_K, mean, self.count_K))
