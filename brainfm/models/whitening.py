"""Whitening: what a person's features look like, taken from training windows before learning.

Bands of neighbouring contacts rise and fall together, by the hundred. A gradient step along what
they share is thousands of times as long as one along what tells two phonemes apart, so a matrix
that is learned on them stays where it began; on features without correlations of unit size it
does not (`docs/benchmarks.md` has the figures). Ridge regression, which needs no steps, never had
this problem, and won for that reason. Euclidean alignment (arXiv 1808.05464) does the like to the
signals of a session; here it is done to features, once, from training windows.

Shapes: B batch, W steps, M features of a person, P persons, N rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.errors import ContractError

CLIP = 8.0
"""Deviations; what is further out is an artefact."""
LEAST_ROWS = 20
"""Rows a feature, from which correlations are taken."""


class Whitening(nn.Module):
    """Mean, scale and correlations of each person's features; saved with the weights.

    Parameters
    ----------
    persons : names, for refusals; none for a single unnamed one
    n_features : M, at most
    ridge : added to each variance of the standardised features, so that noise in directions that
        hardly vary is not blown up. None: features are standardised and stay correlated
    """

    def __init__(
        self, persons: tuple[str, ...], n_features: int, ridge: float | None = 0.003
    ) -> None:
        super().__init__()
        self.persons, self.ridge = persons or ("anybody",), ridge
        p, m = len(self.persons), n_features
        self.register_buffer("mean_PM", torch.zeros(p, m))
        self.register_buffer("scale_PM", torch.ones(p, m))
        self.register_buffer("known_P", torch.zeros(p, dtype=torch.bool))
        white_PMM = torch.eye(m).repeat(p, 1, 1) if ridge is not None else None
        self.register_buffer("white_PMM", white_PMM)
        # Sums while `learn` is at work; they are not part of the model.
        self._sums: dict[int, tuple[Tensor, ...]] = {}

    def standardised(self, x_BWM: Tensor, person_B: Tensor) -> Tensor:
        """Mean 0 and deviation 1 as far as they were learned, and nothing beyond `CLIP`.

        Raises
        ------
        ContractError
            If somebody was in no training window.
        """
        # A network that has met nobody works on features as they are: so do tests and benchmarks.
        if bool(self.known_P.any()) and not bool(self.known_P[person_B].all()):
            who = self.persons[int(person_B[~self.known_P[person_B]][0])]
            raise ContractError(
                f"nothing is known of the features of {who}; train with recordings of this person, "
                "or give some windows to `meet`"
            )
        m = x_BWM.shape[-1]
        centred = x_BWM - self.mean_PM[person_B, None, :m]
        return (centred * self.scale_PM[person_B, None, :m]).clamp(-CLIP, CLIP)

    def forward(self, z_BWM: Tensor, person_B: Tensor) -> Tensor:
        """Standardised features without correlations."""
        if self.white_PMM is None:
            return z_BWM
        m = z_BWM.shape[-1]
        return z_BWM @ self.white_PMM[person_B, :m, :m]

    @torch.no_grad()
    def add(self, x_BWM: Tensor, valid_BM: Tensor, person_B: Tensor) -> None:
        """Take windows into the sums of their persons; features that are not valid must be 0."""
        missing = self.mean_PM.shape[1] - x_BWM.shape[-1]
        for p in person_B.unique().tolist():
            mine_B = person_B == p
            x_NM = F.pad(x_BWM[mine_B].flatten(0, 1).double(), (0, missing))
            valid_bM = F.pad(valid_BM[mine_B].double(), (0, missing))
            parts = (x_NM.sum(0), x_NM.T @ x_NM, valid_bM.T @ valid_bM * x_BWM.shape[1])
            before = self._sums.get(p, (0.0, 0.0, 0.0))
            self._sums[p] = tuple(a + b for a, b in zip(before, parts, strict=True))

    def has_enough(self) -> bool:
        """Whether everybody was seen in rows enough for all correlations."""
        enough = LEAST_ROWS * self.mean_PM.shape[1]
        seen = {p: float(count_MM.max()) for p, (_, _, count_MM) in self._sums.items()}
        people = range(len(self.persons))
        return all(bool(self.known_P[p]) or seen.get(p, 0.0) >= enough for p in people)

    @torch.no_grad()
    def learn(self) -> None:
        """Mean, scale and correlations of everybody seen since the last time."""
        for p, (first_M, second_MM, count_MM) in self._sums.items():
            mean_M = first_M / count_MM.diagonal().clamp_min(1)
            cov_MM = second_MM / count_MM.clamp_min(1) - mean_M[:, None] * mean_M
            var_M = cov_MM.diagonal()
            # A channel that is not there, or never moves, has no scale.
            moves_M = var_M > 1e-9 * mean_M.square()
            scale_M = torch.where(moves_M, var_M.clamp_min(1e-20).rsqrt(), 0.0)
            self.mean_PM[p], self.scale_PM[p] = mean_M.float(), scale_M.float()
            if self.white_PMM is not None:
                # Channels that were never valid together leave a matrix with negative values.
                var_M, axes_MM = torch.linalg.eigh(cov_MM * scale_M[:, None] * scale_M)
                white_MM = (axes_MM * (var_M.clamp_min(0) + self.ridge).rsqrt()) @ axes_MM.T
                self.white_PMM[p] = white_MM.float()
            self.known_P[p] = True
        self._sums = {}
