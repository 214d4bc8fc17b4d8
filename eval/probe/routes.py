"""The rows of a probe's table: which decoders, of which sort, fitted how often.

A row is a baseline (no model), a model route (pretrained) or a control (the same recipe from
random weights, or the model's input without the model).
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from threadpoolctl import threadpool_limits

from brainfm.errors import ContractError
from brainfm.hub import BrainModel, load_model
from brainfm.signals.preprocess import Normalise
from brainfm.training.memory import keep_freed_memory
from eval.baselines import BASELINES, IMAGERY, STOCHASTIC, make_baseline
from eval.probe.finetune import FineTune, Recipe
from eval.probe.frozen import AlignedMeans, FrozenProbe, fresh_like
from eval.probe.trials import Fold, Trials

SORTS = ("baselines", "frozen", "finetune", "random")
"""What ``--routes`` takes; "random" adds the controls of the model routes chosen."""

FROZEN, TUNED = "frozen probe", "fine-tune"
RANDOM_FROZEN, RANDOM_TUNED = "frozen probe, random init", "fine-tune, random init"
ALIGNED_ONLY = "aligned input + LR, no model"
CONTROL_OF = {FROZEN: RANDOM_FROZEN, TUNED: RANDOM_TUNED}


@dataclass(frozen=True)
class Route:
    """One row: its name, its sort ("baseline", "model", "control") and its seeds."""

    name: str
    sort: str
    seeds: tuple[int, ...]
    make: Callable[[int, Trials], Any]
    """From a seed and the training trials to an unfitted decoder."""


def make_routes(
    model_dir: str | None,
    sfreq: float,
    *,
    sorts: tuple[str, ...] = SORTS,
    n_seeds: int = 3,
    imagery: bool = False,
    recipe: Recipe | None = None,
) -> list[Route]:
    """Rows in the order in which they are printed.

    Parameters
    ----------
    model_dir : folder of `save_pretrained`; None runs baselines only
    n_seeds : of everything random; what is deterministic runs once

    Raises
    ------
    ContractError
        If a sort is unknown, or a model route is asked for without a model.
    """
    unknown = sorted(set(sorts) - set(SORTS))
    if unknown:
        raise ContractError(f"routes {unknown} are unknown; choose from {', '.join(SORTS)}")
    if model_dir is None and set(sorts) != {"baselines"}:
        raise ContractError("frozen, finetune and random need --checkpoint; or --routes baselines")
    seeds = tuple(range(n_seeds))
    recipe = recipe or Recipe()
    routes: list[Route] = []
    if "baselines" in sorts:
        for name in (*BASELINES, *(IMAGERY if imagery else ())):
            mine = seeds if name in STOCHASTIC else seeds[:1]
            make = functools.partial(_baseline, name, sfreq)
            routes.append(Route(name, "baseline", mine, make))
    if set(sorts) & {"frozen", "finetune"}:
        routes.append(Route(ALIGNED_ONLY, "control", seeds[:1], _aligned_means))
    for sort, name, make in (("frozen", FROZEN, _frozen), ("finetune", TUNED, _tuned)):
        if sort not in sorts:
            continue
        # A frozen checkpoint has nothing random left: contiguous folds, a convex problem.
        mine = seeds[:1] if sort == "frozen" else seeds
        if "random" in sorts:
            fresh = functools.partial(make, model_dir, True, recipe)
            routes.append(Route(CONTROL_OF[name], "control", seeds, fresh))
        routes.append(Route(name, "model", mine, functools.partial(make, model_dir, False, recipe)))
    return routes


def _baseline(name: str, sfreq: float, seed: int, train: Trials) -> Any:
    return make_baseline(name, sfreq, seed)


def _aligned_means(seed: int, train: Trials) -> AlignedMeans:
    return AlignedMeans(train.channels, train.sfreq)


def _frozen(model_dir: str, fresh: bool, recipe: Recipe, seed: int, train: Trials) -> FrozenProbe:
    model, normalise = _model(model_dir, fresh, seed, train)
    return FrozenProbe(model, train.channels, train.sfreq, normalise)


def _tuned(model_dir: str, fresh: bool, recipe: Recipe, seed: int, train: Trials) -> FineTune:
    model, normalise = _model(model_dir, fresh, seed, train)
    return FineTune(model, train.channels, train.sfreq, normalise, seed, recipe)


def _model(model_dir: str, fresh: bool, seed: int, train: Trials) -> tuple[BrainModel, Normalise]:
    model = load_model(model_dir).eval()
    normalise = model.preprocess.normalise if model.preprocess else Normalise()
    if fresh:
        model = fresh_like(model, seed, train.x_NCT, train.channels, train.sfreq, normalise)
    return model, normalise


@dataclass
class Fitted:
    """A decoder after `fit`, with what it chose and how long it took."""

    decoder: Any
    seconds: float

    @property
    def choice(self) -> str:
        return getattr(self.decoder, "choice", "")


def fit_all(
    routes: list[Route], folds: list[Fold], workers: int = 1
) -> Iterator[tuple[int, str, int, Fitted]]:
    """Fit every route, seed and fold; yields (fold, route, seed, fitted) as they finish.

    Only training trials travel to the workers: they could not read a test trial if they tried.
    """
    jobs = [
        (k, route, seed)
        # Slow ones first, so that no worker waits for the last.
        for route in sorted(routes, key=lambda r: r.sort == "baseline")
        for seed in route.seeds
        for k in range(len(folds))
    ]
    if workers <= 1:
        with threadpool_limits(1):
            for k, route, seed in jobs:
                yield k, route.name, seed, fit_one(route, seed, folds[k].train)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        waiting = {
            pool.submit(fit_one, route, seed, folds[k].train): (k, route.name, seed)
            for k, route, seed in jobs
        }
        for done in as_completed(waiting):
            yield *waiting[done], done.result()


def fit_one(route: Route, seed: int, train: Trials) -> Fitted:
    """One decoder on one training set."""
    started = time.perf_counter()
    decoder = route.make(seed, train)
    decoder.fit(train.x_NCT, train.y_N, train.group_N)
    return Fitted(decoder, time.perf_counter() - started)


def _one_thread() -> None:
    """Two busy processes with two threads each spin: seconds become minutes."""
    import torch
    from sklearn.exceptions import ConvergenceWarning

    torch.set_num_threads(1)
    threadpool_limits(1)
    keep_freed_memory()
    # A strongly regularised probe that stops at its iteration limit is still a fair decoder;
    # said once a fold and candidate, the warning buries the table.
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
