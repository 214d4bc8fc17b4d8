"""From a store and checkpoints to predictions: who is tested, who trains, what each model says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainfm.data.index import select
from brainfm.data.seizures import seizures_in
from brainfm.data.store import Store
from brainfm.detect.score import Scores, score_stored
from brainfm.errors import ContractError, DataError
from brainfm.signals.szcore import is_annotated
from eval.seizure.baselines import AlwaysAlarm, Baseline, LineLength, Prevalence
from eval.seizure.eegnet import ChannelEEGNet
from eval.seizure.features import StepReader
from eval.seizure.judge import CAVEAT, MISSING, OutsideJudge, installed
from eval.seizure.predictions import Prediction

Say = Callable[[str], None]

DEFAULT_STEP_S = 2.0
"""Step of the baselines where there is no model to take it from."""


@dataclass
class Cast:
    """Rows of the store by role, and what was left out.

    Attributes
    ----------
    test, validation, train : rows, no patient in two of them
    notes : sentences on recordings nobody annotated
    """

    test: list[int]
    validation: list[int]
    train: list[int]
    notes: list[str] = field(default_factory=list)


def cast(store: Store, query: str | None, split: str, train_query: str | None = None) -> Cast:
    """Who is tested, who chooses thresholds, who trains the baselines.

    Parameters
    ----------
    query : of the tested recordings, among those of `split`
    train_query : of training and validation recordings. Default: `query`

    Raises
    ------
    DataError
        If nothing annotated is left to test, or a patient has two roles.
    """
    notes: list[str] = []

    def rows(which: pd.DataFrame, name: str, among: str) -> list[int]:
        mine = [int(r) for r in which.index[which["split"] == name]]
        silent = [r for r in mine if not is_annotated(store.events(r))]
        if silent:
            names = ", ".join(str(store.path(r)) for r in silent[:3])
            more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
            notes.append(f"Not annotated, so left out of {among}: {names}{more}.")
        return [r for r in mine if r not in set(silent)]

    chosen = select(store, query)
    teachers = select(store, train_query) if train_query else chosen
    test = rows(chosen, split, "the test")
    if not test:
        n = int((chosen["split"] == split).sum())
        first = f", such as {store.path(int(chosen.index[0]))}" if len(chosen) else ""
        raise DataError(
            f"{store.root}: of {len(chosen)} recordings that match{first}, {n} are of split "
            f"'{split}' and none of these is annotated; change --recordings or --split"
        )
    others = [s for s in ("val", "train") if s != split]
    roles = {s: rows(teachers, s, {"val": "validation"}.get(s, "training")) for s in others}
    out = Cast(test, roles.get("val", []), roles.get("train", []), notes)
    require_apart(store, out)
    return out


def require_apart(store: Store, roles: Cast) -> None:
    """Refuse a patient in two roles.

    Raises
    ------
    DataError
        Naming the patient and both recordings.
    """
    seen: dict[str, tuple[str, int]] = {}
    named = (("tested", roles.test), ("for validation", roles.validation), ("train", roles.train))
    for role, rows in named:
        for row in rows:
            group = str(store.recordings["split_group"].iat[row])
            before, other = seen.setdefault(group, (role, row))
            if before != role:
                raise DataError(
                    f"patient '{group}' has recordings that are {before} ({store.path(other)}) "
                    f"and {role} ({store.path(row)}); give each patient one split"
                )


def predict_all(
    store: Store,
    roles: Cast,
    detectors: Mapping[str, Any],
    *,
    baselines: bool = True,
    judge: bool = True,
    seeds: int = 1,
    say: Say = lambda sentence: None,
) -> tuple[dict[str, list[Prediction]], dict[str, list[Prediction]]]:
    """Predictions of every model on test and validation recordings.

    Parameters
    ----------
    detectors : run -> detector; their steps must be equally long
    baselines, judge : whether to fit and ask those, too
    seeds : of EEGNet, the only baseline whose weights are random

    Returns
    -------
    two mappings run -> predictions: tested, validation. What was not possible is appended to
    ``roles.notes``
    """
    reader = StepReader(store, common_step(store, detectors))
    test: dict[str, list[Prediction]] = {}
    val: dict[str, list[Prediction]] = {}

    def ask(name: str, predict: Callable[[int], Scores]) -> None:
        say(f"{name}: {len(roles.test)} tested, {len(roles.validation)} validation recordings")
        test[name] = [_prediction(store, r, predict(r)) for r in roles.test]
        val[name] = [_prediction(store, r, predict(r)) for r in roles.validation]

    for name, detector in detectors.items():
        ask(name, lambda row, d=detector: score_stored(d, store, row))
    if baselines:
        for name, baseline in fitted(reader, roles, seeds, say):
            ask(name, lambda row, b=baseline: b.predict(reader, row))
    if judge and not installed():
        roles.notes.append(MISSING)
    elif judge and not OutsideJudge().applies(reader, [*roles.test, *roles.validation]):
        roles.notes.append("The outside judge is not in the tables: some recordings are shorter "
                           "than the minute it needs.")  # fmt: skip
    elif judge:
        roles.notes.append(CAVEAT)
        ask(OutsideJudge.name, lambda row: OutsideJudge().predict(reader, row))
    return test, val


def fitted(reader: StepReader, roles: Cast, seeds: int, say: Say) -> list[tuple[str, Baseline]]:
    """Baselines fitted on the training recordings; those that need none where there are none."""
    plain: list[tuple[str, Baseline]] = [(AlwaysAlarm.name, AlwaysAlarm())]
    labels = [reader(r).label_S for r in roles.train]
    n, ictal = sum(map(len, labels)), sum(int(y.sum()) for y in labels)
    if not 0 < ictal < n:
        roles.notes.append(
            f"Of the baselines only '{AlwaysAlarm.name}' is in the tables: {len(roles.train)} "
            "annotated training recordings hold no seizure to learn from."
        )
        return plain
    learners: list[tuple[str, Baseline]] = [
        (Prevalence.name, Prevalence()),
        *((b.name, b) for b in (LineLength(False), LineLength(True))),
        *((f"{ChannelEEGNet.name}#{k + 1}", ChannelEEGNet(k)) for k in range(seeds)),
    ]
    for name, baseline in learners:
        say(f"{name}: fitting on {len(roles.train)} recordings")
        baseline.fit(reader, roles.train)
    return plain + learners


def common_step(store: Store, detectors: Mapping[str, Any]) -> int:
    """Samples of a step, the same for all models.

    Raises
    ------
    ContractError
        If two models judge steps of different length.
    """
    sfreq = store.recipe.sfreq
    steps = {name: round(d.step_s * sfreq) for name, d in detectors.items()}
    if len(set(steps.values())) > 1:
        said = ", ".join(f"'{n}' {s / sfreq:g} s" for n, s in steps.items())
        raise ContractError(
            f"models are compared on the same steps, and these differ: {said}; score models of "
            "one step length together"
        )
    return next(iter(steps.values()), round(DEFAULT_STEP_S * sfreq))


def load_detectors(named: Sequence[tuple[str, str]], store: Store) -> dict[str, Any]:
    """Run -> detector; a name given more than once is one model in several seeds.

    Raises
    ------
    ContractError
        If a folder holds no detector, or one for signals prepared otherwise.
    """
    from brainfm.data.collate import require_store_recipe
    from brainfm.hub import load_model

    names = [name for name, _ in named]
    out = {}
    for name, folder in named:
        detector = load_model(folder)
        if not hasattr(detector, "probabilities"):
            raise ContractError(
                f"{folder}: holds a {type(detector).__name__}, which is no seizure detector; "
                "fine-tune it first (configs/finetune)"
            )
        require_store_recipe(detector.preprocess, store)
        seed = sum(n.partition("#")[0] == name for n in out) + 1
        out[f"{name}#{seed}" if names.count(name) > 1 else name] = detector
    return out


def _prediction(store: Store, row: int, scores: Scores) -> Prediction:
    table = store.recordings
    return Prediction(
        str(table["path"].iat[row]),
        str(table["split_group"].iat[row]),
        float(scores.duration_s),
        float(scores.step_s),
        np.asarray(scores.time_S, float),
        np.asarray(scores.proba_S, float),
        seizures_in(store, row),
        "simulated" in str(table["dataset"].iat[row]),
    )
