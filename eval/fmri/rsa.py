"""Representational dissimilarity: which conditions a region tells apart, and how sure that is.

Distances between patterns of conditions (crossvalidated, so that noise alone is zero on the
average), their comparison by ranks, bootstrap over conditions, noise ceilings over people; and the
geo-topological transform, which keeps who is near whom and forgets how far the far are (Lin and
Kriegeskorte, arXiv 2309.11028). The statistics are those of rsatoolbox (Schuett et al., eLife 12,
2023).

Shapes: K conditions, C voxels, R runs, E = K (K - 1) / 2 pairs, N people.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rdm = NDArray[np.float64]


def correlation_distance(x_KC: NDArray[np.floating]) -> Rdm:
    """One less the correlation of patterns, (E,)."""
    r_KK = np.corrcoef(np.asarray(x_KC, float))
    return pairs(1 - r_KK)


def crossnobis(x_RKC: NDArray[np.floating], noise_CC: NDArray[np.floating] | None = None) -> Rdm:
    """Crossvalidated squared Mahalanobis distance a voxel, (E,); 0 on the average without effect.

    Parameters
    ----------
    x_RKC : pattern of every condition in every run, at least two runs
    noise_CC : covariance of the noise; None: all voxels alike (crossvalidated Euclidean)
    """
    x = np.asarray(x_RKC, float)
    r, k, c = x.shape
    if r < 2:
        raise ValueError(f"{r} run cannot be crossvalidated; give two or more")
    white = x if noise_CC is None else x @ np.linalg.inv(noise_CC)
    # All pairs of different runs: the product of sums less those of a run with itself.
    first, second = np.triu_indices(k, 1)
    mine, theirs = (v[:, first] - v[:, second] for v in (x, white))
    both = (mine.sum(0) * theirs.sum(0)).sum(-1) - (mine * theirs).sum((0, 2))
    out: Rdm = both / (r * (r - 1) * c)
    return out


def shrunk_covariance(residual_MC: NDArray[np.floating], share: float = 0.4) -> Rdm:
    """Covariance of noise, drawn towards its diagonal so that it can be inverted."""
    full = np.cov(np.asarray(residual_MC, float).T)
    out: Rdm = (1 - share) * full + share * np.diag(np.diag(full))
    return out


def geo_topological(d_E: Rdm, low: float = 0.2, high: float = 0.8) -> Rdm:
    """Distances as 0 below one quantile, 1 above another, and straight in between.

    Parameters
    ----------
    low, high : quantiles; 0 and 1 keep the geometry, equal ones leave the topology alone
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"quantiles {low:g} and {high:g} do not rise within 0 to 1")
    bottom, top = np.quantile(d_E, [low, high])
    if top <= bottom:
        return (d_E > bottom).astype(float)
    out: Rdm = np.clip((d_E - bottom) / (top - bottom), 0.0, 1.0)
    return out


def alike(a_E: Rdm, b_E: Rdm, by: str = "spearman") -> float:
    """Similarity of two RDMs: "spearman", "tau-a" (ties count nothing) or "cosine"."""
    if by == "cosine":
        return float(a_E @ b_E / np.sqrt((a_E @ a_E) * (b_E @ b_E)).clip(1e-300))
    if by == "spearman":
        from scipy.stats import rankdata

        return float(np.corrcoef(rankdata(a_E), rankdata(b_E))[0, 1])
    if by == "tau-a":
        first, second = np.triu_indices(len(a_E), 1)
        sign = np.sign(a_E[first] - a_E[second]) * np.sign(b_E[first] - b_E[second])
        return float(sign.mean())
    raise ValueError(f"similarity '{by}' is none of spearman, tau-a, cosine")


def bootstrap(
    a_E: Rdm, b_E: Rdm, by: str = "spearman", n_resamples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Similarity with a 95 % interval over conditions.

    A condition that is drawn twice is at distance 0 from itself; such pairs are left out.
    """
    k = n_conditions(a_E)
    a_KK, b_KK = square(a_E), square(b_E)
    rng = np.random.default_rng(seed)
    draws = []
    first, second = np.triu_indices(k, 1)
    for _ in range(n_resamples):
        drawn = rng.integers(k, size=k)
        i, j = drawn[first], drawn[second]
        kept = i != j
        if len(np.unique(drawn)) < 3:
            continue
        draws.append(alike(a_KK[i, j][kept], b_KK[i, j][kept], by))
    low, high = np.percentile(np.array(draws)[np.isfinite(draws)], [2.5, 97.5])
    return {"mean": alike(a_E, b_E, by), "low": float(low), "high": float(high)}


def noise_ceiling(people_NE: NDArray[np.floating], by: str = "spearman") -> tuple[float, float]:
    """How alike people's RDMs are to their mean: without the person itself (lower), and with."""
    from scipy.stats import rankdata

    if len(people_NE) < 2:
        raise ValueError(f"{len(people_NE)} person has no ceiling; give two or more")
    ranked = np.stack([rankdata(p) for p in people_NE])
    everyone = ranked.mean(0)
    upper = np.mean([alike(p, everyone, by) for p in ranked])
    others = [np.delete(ranked, i, 0).mean(0) for i in range(len(ranked))]
    lower = np.mean([alike(p, o, by) for p, o in zip(ranked, others, strict=True)])
    return float(lower), float(upper)


def reliability(x_RKC: NDArray[np.floating], seed: int = 0, splits: int = 50) -> dict[str, float]:
    """How alike the RDMs of two halves of the runs are, geometry and topology.

    Returns
    -------
    dict with "spearman", "geo-topological" (the same after `geo_topological`), and "shuffled"
    (conditions of one half in another order), each the mean over random halves
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"spearman": [], "geo-topological": [], "shuffled": []}
    for _ in range(splits):
        order = rng.permutation(len(x_RKC))
        half = len(order) // 2
        a, b = (crossnobis(x_RKC[order[s]]) for s in (slice(None, half), slice(half, None)))
        found["spearman"].append(alike(a, b))
        found["geo-topological"].append(alike(geo_topological(a), geo_topological(b)))
        moved = rng.permutation(x_RKC.shape[1])
        found["shuffled"].append(alike(a, pairs(square(b)[np.ix_(moved, moved)])))
    return {name: float(np.mean(values)) for name, values in found.items()}


def pairs(d_KK: NDArray[np.floating]) -> Rdm:
    """The upper triangle, (E,)."""
    out: Rdm = np.asarray(d_KK, float)[np.triu_indices(len(d_KK), 1)]
    return out


def square(d_E: Rdm) -> Rdm:
    """(K, K) of its upper triangle."""
    k = n_conditions(d_E)
    out = np.zeros((k, k))
    out[np.triu_indices(k, 1)] = d_E
    return out + out.T


def n_conditions(d_E: Rdm) -> int:
    """K of E pairs."""
    k = int(round((1 + np.sqrt(1 + 8 * len(d_E))) / 2))
    if k * (k - 1) // 2 != len(d_E):
        raise ValueError(f"{len(d_E)} distances are those of no number of conditions")
    return k


def patterns(blocks: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], list[str]]:
    """(R, K, C) mean pattern of every category in every run of `haxby.read_blocks`, and names."""
    names = sorted(set(blocks["label_N"].tolist()))
    whole = []
    for run in np.unique(blocks["run_N"]):
        mine = [(blocks["run_N"] == run) & (blocks["label_N"] == name) for name in names]
        if all(m.any() for m in mine):  # a run may lack a category
            whole.append([blocks["x_NC"][m].mean(0) for m in mine])
    return np.asarray(whole, float), names
