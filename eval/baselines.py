"""The honest competition: classical decoders and EEGNet, on the arrays the model's probe gets.

Each has `fit(x_NCT, y_N, group_N)` and `predict_proba(x_NCT) -> (N, K)`; choices (C, number of
windows) are made by cross-validation inside what `fit` is given, so no test trial takes part.
Shapes: N trials, C channels, T samples, K classes, F features. SI units in, scale-free inside.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation tried by every logistic regression, model features included."""

BANDS_HZ = ((0.5, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0), (45.0, 90.0))
"""Delta to high gamma; a band above what the trial's rate or length can hold is left out."""


class Decoder(Protocol):
    """What the probe asks of a baseline; labels are 0 to K - 1."""

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> Decoder: ...

    def predict_proba(self, x_NCT: NDArray) -> NDArray: ...


def inner_cv(y_N: NDArray, group_N: NDArray | None = None, n_splits: int = 3) -> list[Any]:
    """Folds for choices inside a training set, as (train, test) indices.

    Whole groups (runs, subjects) where there are at least two of fair size that each hold every
    class. Otherwise contiguous stretches of each class in each group: neighbours in time
    resemble each other and would make every choice look good, and a third of a class is long
    enough to hold out whole sessions that nobody marked.
    """
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

    empty = np.zeros(len(y_N))
    group_N = np.zeros(len(y_N), int) if group_N is None else group_N
    names, index, sizes = np.unique(group_N, return_inverse=True, return_counts=True)
    whole = all(len(set(y_N[index == g])) == len(set(y_N)) for g in range(len(names)))
    if len(names) > 1 and whole and sizes.min() >= len(y_N) / (3 * len(names)):
        by_group = LeaveOneGroupOut() if len(names) <= 5 else StratifiedGroupKFold(5)
        return list(by_group.split(empty, y_N, index))
    smallest = int(np.unique(y_N, return_counts=True)[1].min())
    n_splits = max(2, min(n_splits, smallest))
    fold_N = np.zeros(len(y_N), int)
    for k in np.unique(y_N):
        for g in range(len(names)):
            rows = np.flatnonzero((y_N == k) & (index == g))
            fold_N[rows] = np.arange(len(rows)) * n_splits // max(len(rows), 1)
    return [(np.flatnonzero(fold_N != f), np.flatnonzero(fold_N == f)) for f in range(n_splits)]


def logistic(folds: list[Any], *steps: Any, grid: dict[str, list] | None = None) -> Any:
    """`steps`, standardisation and logistic regression, with C (and `grid`) chosen by CV.

    Returns an unfitted `GridSearchCV`; scoring is balanced accuracy, as in the tables.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipe = make_pipeline(*steps, StandardScaler(), LogisticRegression(max_iter=2000))
    params = {"logisticregression__C": list(C_GRID), **(grid or {})}
    return GridSearchCV(pipe, params, scoring="balanced_accuracy", cv=folds)


def per_trial_scale(x_NCT: NDArray) -> NDArray:
    """Each trial divided by its global standard deviation, as the models' `kind_std` does."""
    std_N = x_NCT.std((1, 2), keepdims=True)
    return x_NCT / np.where(std_N > 0, std_N, 1.0)


def window_means(x_NCT: NDArray, n_windows: int, scale: bool) -> NDArray:
    """Mean of `n_windows` equal stretches per channel, (N, C * n_windows)."""
    x_NCT = per_trial_scale(x_NCT) if scale else x_NCT
    pieces = np.array_split(x_NCT, n_windows, axis=2)
    return np.stack([p.mean(2) for p in pieces], 2).reshape(len(x_NCT), -1)


def band_powers(x_NCT: NDArray, sfreq: float) -> NDArray:
    """Log power in `BANDS_HZ` per channel by Welch, (N, C * bands)."""
    from scipy.signal import welch

    n = min(x_NCT.shape[2], int(2 * sfreq))
    freq, psd_NCF = welch(x_NCT, sfreq, nperseg=n, axis=2)
    step = freq[1] - freq[0]
    keep = [(freq >= lo) & (freq < hi) for lo, hi in BANDS_HZ if hi <= sfreq / 2 and hi - lo > step]
    keep = [k for k in keep if k.any()] or [freq > 0]
    # The floor is relative, so that tesla (1e-26 T^2) and volts get the same treatment.
    floor = 1e-12 * float(psd_NCF.mean()) + np.finfo(float).tiny
    power = np.stack([psd_NCF[..., k].mean(-1) for k in keep], -1)
    return np.log(power + floor).reshape(len(x_NCT), -1)


def bandpass(x_NCT: NDArray, sfreq: float, band_hz: tuple[float, float] | None) -> NDArray:
    """Fourth-order Butterworth forwards and backwards; None leaves the signal as it is."""
    if band_hz is None:
        return x_NCT
    from scipy.signal import butter, sosfiltfilt

    high = min(band_hz[1], 0.49 * sfreq)
    sos = butter(4, (band_hz[0], high), "bandpass", fs=sfreq, output="sos")
    return sosfiltfilt(sos, x_NCT, axis=2)


def _unit_scale(x_NCT: NDArray) -> float:
    """One number that brings volts or tesla near 1, where covariance estimators are exact."""
    return float(1.0 / max(x_NCT.std(), np.finfo(float).tiny))


class Majority:
    """Predicts the class frequencies of the training set, whatever the trial."""

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> Majority:
        self.p_K = np.bincount(y_N) / len(y_N)
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        return np.tile(self.p_K, (len(x_NCT), 1))


@dataclass
class FeatureLogistic:
    """Fixed features, then a logistic regression; the best set of features by CV wins.

    Attributes
    ----------
    extractors : functions (N, C, T) -> (N, F), none of which looks at labels
    """

    extractors: Mapping[str, Callable[[NDArray], NDArray]]

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> FeatureLogistic:
        best = -np.inf
        folds = inner_cv(y_N, group_N)
        for name, extract in self.extractors.items():
            search = logistic(folds).fit(extract(x_NCT), y_N)
            if search.best_score_ > best:
                best, self.chosen, self.search = search.best_score_, name, search
        self.choice = f"{self.chosen}, C={self.search.best_params_['logisticregression__C']:g}"
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        return self.search.predict_proba(self.extractors[self.chosen](x_NCT))


@dataclass
class Tangent:
    """Covariance of each trial in the Riemannian tangent space, then logistic regression.

    Barachant et al. 2012 (IEEE TBME 59, 920); covariances shrunk by OAS (pyriemann).
    """

    sfreq: float
    band_hz: tuple[float, float] | None = None

    def _covariances(self, x_NCT: NDArray) -> NDArray:
        from pyriemann.estimation import Covariances

        return Covariances("oas").transform(
            bandpass(x_NCT.astype(np.float64) * self.unit, self.sfreq, self.band_hz)
        )

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> Tangent:
        from pyriemann.tangentspace import TangentSpace

        self.unit = _unit_scale(x_NCT)
        self.search = logistic(inner_cv(y_N, group_N), TangentSpace("riemann"))
        self.search.fit(self._covariances(x_NCT), y_N)
        self.choice = f"C={self.search.best_params_['logisticregression__C']:g}"
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        return self.search.predict_proba(self._covariances(x_NCT))


@dataclass
class CommonSpatialPatterns(Tangent):
    """Log variance of spatial patterns that separate the classes, then logistic regression."""

    band_hz: tuple[float, float] | None = (8.0, 30.0)

    def fit(
        self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None
    ) -> CommonSpatialPatterns:
        from pyriemann.spatialfilters import CSP

        self.unit = _unit_scale(x_NCT)
        n = x_NCT.shape[1]
        sizes = sorted({min(n, k) for k in (4, 6, 8)})
        folds = inner_cv(y_N, group_N)
        self.search = logistic(folds, CSP(nfilter=sizes[0]), grid={"csp__nfilter": sizes})
        self.search.fit(self._covariances(x_NCT), y_N)
        best = self.search.best_params_
        self.choice = f"{best['csp__nfilter']} filters, C={best['logisticregression__C']:g}"
        return self


@dataclass
class EEGNetDecoder:
    """EEGNet (Lawhern et al. 2018) as braindecode builds it, trained for a fixed time.

    Each channel is z-scored with the training set's mean and deviation. No validation set and
    no early stop: the last epoch counts, as for the model's own fine-tune.
    """

    sfreq: float
    seed: int = 0
    epochs: int = 60
    lr: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 32

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> EEGNetDecoder:
        import torch

        self.mean = x_NCT.mean((0, 2), keepdims=True)
        self.std = x_NCT.std((0, 2), keepdims=True)
        self.std = np.where(self.std > 0, self.std, 1.0)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.size = (x_NCT.shape[1], int(y_N.max()) + 1, x_NCT.shape[2])
            self.net = self._build()
            opt = torch.optim.AdamW(
                self.net.parameters(), lr=self.lr, weight_decay=self.weight_decay
            )
            x, y = self._scaled(x_NCT), torch.as_tensor(y_N, dtype=torch.long)
            self.net.train()
            for _ in range(self.epochs):
                for i in torch.randperm(len(x)).split(self.batch_size):
                    if len(i) < 2:
                        continue
                    loss = torch.nn.functional.cross_entropy(self.net(x[i]), y[i])
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
        self.choice = f"{self.epochs} epochs"
        return self

    def _build(self) -> Any:
        with warnings.catch_warnings():
            # On import braindecode asks MNE for a montage under its old name.
            warnings.simplefilter("ignore")
            from braindecode.models import EEGNet
        n_chans, n_outputs, n_times = self.size
        return EEGNet(n_chans=n_chans, n_outputs=n_outputs, n_times=n_times, sfreq=self.sfreq)

    def __getstate__(self) -> dict[str, Any]:
        # Its max-norm layers do not pickle; weights and sizes do.
        net = {"net": self.net.state_dict()} if hasattr(self, "net") else {}
        return {**self.__dict__, **net}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if "net" in state:
            weights = state["net"]
            self.net = self._build()
            self.net.load_state_dict(weights)

    def _scaled(self, x_NCT: NDArray) -> Any:
        import torch

        return torch.as_tensor((x_NCT - self.mean) / self.std, dtype=torch.float32)

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        import torch

        self.net.eval()
        with torch.no_grad():
            parts = [self.net(b).softmax(-1) for b in self._scaled(x_NCT).split(256)]
        return torch.cat(parts).numpy()


BASELINES = (
    "majority class",
    "band power + LR",
    "window means + LR",
    "Riemann tangent + LR",
    "EEGNet",
)
"""In the order in which tables print them."""

IMAGERY = ("Riemann 8-30 Hz + LR", "CSP 8-30 Hz + LR")
"""What motor execution and imagery call for besides: the mu and beta rhythms."""

STOCHASTIC = frozenset({"EEGNet"})
"""Baselines in which something is random: they are run once per seed."""


def make_baseline(name: str, sfreq: float, seed: int = 0) -> Decoder:
    """An unfitted baseline.

    Parameters
    ----------
    name : of `BASELINES` or `IMAGERY`
    sfreq : Hz of the trials
    seed : of EEGNet's weights and batches
    """
    # Windows are tried with and without the per-trial scale: on HandMovementDirection the
    # scale is worth .09 of accuracy, on Blink it costs as much.
    means = {
        f"{n} windows, {'scaled trials' if scale else 'raw'}": partial(
            window_means, n_windows=n, scale=scale
        )
        for n in (8, 16, 32)
        for scale in (False, True)
    }
    power = {"log band power": partial(band_powers, sfreq=sfreq)}
    table: dict[str, Callable[[], Decoder]] = {
        "majority class": Majority,
        "band power + LR": lambda: FeatureLogistic(power),
        "window means + LR": lambda: FeatureLogistic(means),
        "Riemann tangent + LR": lambda: Tangent(sfreq),
        "EEGNet": lambda: EEGNetDecoder(sfreq, seed),
        "Riemann 8-30 Hz + LR": lambda: Tangent(sfreq, (8.0, 30.0)),
        "CSP 8-30 Hz + LR": lambda: CommonSpatialPatterns(sfreq),
    }
    if name not in table:
        raise KeyError(f"no baseline '{name}'; known: {', '.join(table)}")
    return table[name]()
