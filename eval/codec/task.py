"""What coding costs a decoder of trials: probes on original against decoded test trials.

Probes are the cheap baselines of `eval.baselines`, fitted on original training trials. Test trials
are coded at every rate and classified by the same probes; optionally probes are fitted again on
training trials that went through the coder. Differences are paired: the same resampled trials.

Shapes: N trials, C channels, T samples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from eval.baselines import make_baseline
from eval.codec.coders import Coder
from eval.codec.curves import RATES
from eval.codec.windows import Piece, not_flat
from eval.metrics.classification import resample_weights
from eval.probe.trials import SPECS, Fold, Trials, folds_of, spec_of
from eval.seizure.bootstrap import interval

PROBES = ("window means + LR", "band power + LR")
Say = Callable[[str], None]


def labelled(store: Store, rows: Sequence[int]) -> list[str]:
    """Data sets among tested recordings whose trials have labels and an official split."""
    names = dict.fromkeys(str(store.recordings["dataset"].iat[r]) for r in rows)
    return [n for n in names if n in SPECS and SPECS[n].split == "official"]


def task_loss(
    store: Store,
    dataset: str,
    coders: Sequence[Coder],
    *,
    step: int = 1,
    n_train_windows: int = 64,
    n_trials: int = 200,
    retrain: bool = False,
    n_resamples: int = 1000,
    seed: int = 0,
    notes: list[str] | None = None,
    say: Say = lambda sentence: None,
) -> dict[str, Any]:
    """Accuracy on original and on decoded test trials, for every coder, rate and probe.

    Parameters
    ----------
    dataset : name in the store, with an official test split
    coders : their tables are counted anew, on training trials
    step : samples that a trial is cut to a multiple of, so that all codecs code the same
    n_train_windows : training trials that give tables, at most
    n_trials : test trials, at most, evenly spread
    retrain : also fit probes on decoded training trials
    notes : told which coder is left out and why

    Returns
    -------
    dict with dataset, classes, n_train, n_test, seconds, "original" (probe -> scores, beside the
    majority class) and "rows" (one a coder, rate and probe: bits_per_s, accuracy, loss =
    original less decoded, retrained, loss_retrained)

    Raises
    ------
    DataError
        If there are no labelled trials, or trials are shorter than a codec needs.
    """
    spec = spec_of(dataset)
    if spec.split != "official":
        raise DataError(
            f"{dataset}: has no official test split, which task loss needs; name another --task"
        )
    fold: Fold = next(folds_of(store, spec))
    n = fold.train.x_NCT.shape[2] // step * step
    if n == 0:
        raise DataError(
            f"{dataset}: trials of {fold.train.x_NCT.shape[2]} samples are shorter than the "
            f"{step} that these codecs need; leave a codec out, or --task"
        )
    train = fold.train.x_NCT[..., :n].astype(np.float64)
    y_train, groups = fold.train.y_N, fold.train.group_N
    sfreq = fold.train.sfreq
    fitted = {
        name: [make_baseline(name, sfreq).fit(train, y_train, groups)]
        for name in ("majority class", *PROBES)
    }
    test = spread(fold.test.open(fitted), n_trials)
    x_test = test.x_NCT[..., :n].astype(np.float64)
    proba = {name: decoders[0].predict_proba(x_test) for name, decoders in fitted.items()}
    weights_RN = resample_weights(len(test), n_resamples, seed)
    original = {name: recalls(test.y_N, p, weights_RN) for name, p in proba.items()}

    teacher = trial_piece(store, fold.train, train, dataset)
    few = trial_piece(store, fold.train, train[evenly(len(train), n_train_windows)], dataset)
    asked = trial_piece(store, test, x_test, dataset)
    rows: list[dict[str, Any]] = []
    for coder in coders:
        say(f"{dataset}: {coder.name}, {len(x_test)} trials")
        try:
            coder.fit([few])
            if not coder.applies(asked):
                raise ContractError("training holds no such sensors")
            learnt = {c.setting: c.rec_BCT for c in coder.code(teacher)} if retrain else {}
            for coded in coder.code(asked):
                rate = coded.bits / asked.channel_seconds
                for name in PROBES:
                    x = whole(coded.rec_BCT, n)
                    got = recalls(test.y_N, fitted[name][0].predict_proba(x), weights_RN)
                    row = {
                        "dataset": dataset,
                        "coder": coder.name,
                        "sort": coder.sort,
                        "setting": coded.setting,
                        "bits_per_s": rate,
                        "probe": name,
                        "accuracy": stated(got),
                        "loss": stated(original[name] - got),
                        "retrained": None,
                        "loss_retrained": None,
                    }
                    if coded.setting in learnt:
                        again = make_baseline(name, sfreq)
                        again.fit(whole(learnt[coded.setting], n), y_train, groups)
                        got = recalls(test.y_N, again.predict_proba(x), weights_RN)
                        row["retrained"] = stated(got)
                        row["loss_retrained"] = stated(original[name] - got)
                    rows.append(row)
                if coder.sort == "codec" and rate > RATES[-1]:
                    break  # a codec's steps go from coarse to fine
        except ContractError as e:
            rows = [r for r in rows if r["coder"] != coder.name]
            if notes is not None:
                notes.append(f"{dataset}: {coder.name} takes no part in task loss: {e}.")
    return {
        "dataset": dataset,
        "title": spec.title or dataset,
        "kind": asked.kind,
        "classes": list(test.classes),
        "n_train": len(train),
        "n_test": len(test),
        "seconds": n / sfreq,
        "simulated": asked.simulated,
        "original": {name: stated(a_R) for name, a_R in original.items()},
        "rows": rows,
    }


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """At most so many of n, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def spread(trials: Trials, most: int) -> Trials:
    """At most so many trials."""
    at = evenly(len(trials), most)
    return replace(trials, x_NCT=trials.x_NCT[at], y_N=trials.y_N[at], group_N=trials.group_N[at])


def recalls(y_N: NDArray, proba_NK: NDArray, weights_RN: NDArray) -> NDArray[np.float64]:
    """Balanced accuracy of the trials as they are, then of each resample, (1 + R,)."""
    hit_N = proba_NK.argmax(1) == y_N
    weights = np.concatenate([np.ones((1, len(y_N))), weights_RN])
    shares = []
    for k in np.unique(y_N):
        there = weights[:, y_N == k]
        with np.errstate(invalid="ignore"):  # a resample may lack a class
            shares.append((there @ hit_N[y_N == k]) / there.sum(1))
    return np.asarray(np.nanmean(shares, 0))


def stated(value_R: NDArray[np.float64]) -> dict[str, float | None]:
    """The value, and the 95 % interval of its resamples."""
    low, high = interval(value_R[1:])
    return {"mean": float(value_R[0]), "low": low, "high": high}


def trial_piece(store: Store, trials: Trials, x_NCT: NDArray[np.float64], dataset: str) -> Piece:
    """Trials as windows of one recording."""
    table = store.recordings
    facts = table[table["dataset"] == dataset].iloc[0]
    valid_NC = not_flat(x_NCT, np.asarray(trials.channels.kind))
    return Piece(
        dataset,
        dataset,
        str(facts["kind"]),
        str(facts["layout"]),
        "simulated" in dataset,
        trials.channels,
        trials.sfreq,
        store.recipe.lowpass_hz,
        np.where(valid_NC[..., None], x_NCT, 0.0),
        valid_NC,
    )


def whole(x_NCT: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Decoded trials, with zeros where a codec gave back fewer samples than it got."""
    lacking = n - x_NCT.shape[2]
    return np.pad(x_NCT, ((0, 0), (0, 0), (0, lacking))) if lacking > 0 else np.asarray(x_NCT)


def task_sentences(task: dict[str, Any]) -> list[str]:
    """One sentence a coder and probe: the lowest rate from which on nothing is lost for certain."""
    out = []
    name = task["dataset"]
    chance = task["original"]["majority class"]["mean"]
    for probe in PROBES:
        level = task["original"][probe]["mean"]
        if level <= chance + 0.02:
            out.append(
                f"{name}: {probe} is at {level:.3f} on the original signal, which is chance: "
                "its losses say nothing."
            )
            continue
        parts = []
        for coder in dict.fromkeys(r["coder"] for r in task["rows"] if r["sort"] != "control"):
            mine = [r for r in task["rows"] if (r["coder"], r["probe"]) == (coder, probe)]
            mine.sort(key=lambda r: r["bits_per_s"])
            kept = None
            for r in reversed(mine):
                if r["loss"]["low"] > 0:
                    break
                kept = r
            parts.append(
                f"{coder} from {kept['bits_per_s'] / 1000:.2f} kbit/s"
                if kept
                else f"{coder} at no rate tried"
            )
        out.append(
            f"{name}: {probe} ({level:.3f} on the original signal) loses no accuracy that "
            f"{task['n_test']} trials could show: {', '.join(parts)}."
        )
    return out
