"""From a store and coders to rates and distortions, by kind of signal, with intervals.

Shapes: B windows, C channels, T samples, M valid channel windows, F frequencies, N recordings,
R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.codecs.biocodec import BioCodec
from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from eval.codec.coders import Coded, Coder, NeuralCoder, RateCoder
from eval.codec.curves import add_comparison, at_rates
from eval.codec.entropy import perplexity
from eval.codec.task import labelled, task_loss, task_sentences
from eval.codec.traces import traces
from eval.codec.transform import (
    LappedCoder,
    LosslessCoder,
    PrincipalCoder,
    TransformCoder,
    WaveletCoder,
    Zero,
)
from eval.codec.verdicts import (
    duel_sentences,
    duels,
    lone_sentences,
    lossless_sentences,
    rate_ratios,
    ratio_sentences,
)
from eval.codec.windows import Cast, Piece, read_pieces
from eval.metrics import signal
from eval.metrics.classification import resample_weights
from eval.seizure.bootstrap import interval

Say = Callable[[str], None]
Array = NDArray[np.float64]

KINDS = {
    "EEG": {"EEG"},
    "MEG": {"MEG"},
    "iEEG (no package holds a real one)": {"SEEG", "ECOG"},
    "EMG": {"EMG"},
    "ECG": {"ECG"},
}
"""What a comparison should hold, and what the store calls it."""
LOWEST_HZ = 1.0
"""Of spectral measures: a segment of a second says nothing about less."""


def window_step(codecs: Sequence[NeuralCoder | RateCoder], sfreq: float, window_s: float) -> int:
    """Samples that windows are a multiple of, so that every codec codes them whole.

    Raises
    ------
    ContractError
        If such a window is longer than asked for.
    DataError
        If windows are shorter than a spectral segment.
    """
    if window_s < signal.SEGMENT_S:
        raise DataError(
            f"windows of {window_s:g} s are too short for spectra in segments of "
            f"{signal.SEGMENT_S:g} s; lengthen --window"
        )
    step = math.lcm(*(c.step for c in codecs)) if codecs else 1
    if step > round(window_s * sfreq):
        who = ", ".join(f"'{c.name}' {c.step}" for c in codecs)
        raise ContractError(
            f"windows of {window_s:g} s hold {round(window_s * sfreq)} samples, but these codecs "
            f"together need a multiple of {step} ({who}); lengthen --window"
        )
    return step


def window_of_kind(store: Store, rows: Sequence[int], window_s: float, least_s: float) -> float:
    """Length of windows: as asked for, or what half of these recordings hold, if that is enough."""
    longest = [np.diff(store.intervals(r), axis=1).max(initial=0) for r in rows]
    half_s = float(np.sort(longest)[::-1][(len(rows) - 1) // 2]) / store.recipe.sfreq
    return min(window_s, half_s) if half_s >= least_s else window_s


def evaluate(
    store: Store,
    roles: Cast,
    codecs: Sequence[NeuralCoder | RateCoder],
    *,
    window_s: float = 8.0,
    n_windows: int = 8,
    n_train_windows: int = 64,
    n_resamples: int = 1000,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    n_trials: int = 200,
    retrain: bool = False,
    compare_rates: Sequence[str] = (),
    say: Say = lambda sentence: None,
) -> dict[str, Any]:
    """Rate and distortion of every coder at every rate, kind by kind.

    Parameters
    ----------
    roles : who is tested, who trains (`windows.cast`)
    window_s : length of the windows, cut to what all codecs can code whole; less for a kind
        most of whose recordings hold no such stretch (trials)
    n_windows : at most, of each tested recording
    n_train_windows : at most, of each kind, for tables and baselines
    n_resamples, seed : of whoever was recorded
    tasks : data sets whose trials are classified before and after coding; None: all tested ones
        that have labels, () none
    n_trials : test trials of each, at most, evenly spread
    retrain : probes are also fitted on decoded trials
    compare_rates : names of a multi-rate codec and of codecs trained for one rate

    Returns
    -------
    dict with "rows" (one a kind, coder and rate), "at" (one a kind and coder: NMSE at `RATES`),
    "recordings" (one a recording, coder and rate), "duels", "ratios", "tasks", "traces", "data",
    "sentences" (who wins where) and "notes" (what was left out, and how things were counted)

    Raises
    ------
    DataError
        If no window can be tested, or none of its kind is there to train on.
    """
    step = window_step(codecs, store.recipe.sfreq, window_s)
    notes = list(roles.notes)
    table = store.recordings
    asked = {
        str(kind): [r for r in roles.test if table["kind"].iat[r] == kind]
        for kind in sorted(set(table["kind"].iloc[roles.test]))
    }
    least_s = max(signal.SEGMENT_S, step / store.recipe.sfreq)
    window_of = {k: window_of_kind(store, rows, window_s, least_s) for k, rows in asked.items()}
    test = [
        piece
        for kind, rows in asked.items()
        for piece in read_pieces(store, rows, window_of[kind], step, n_windows, notes)
    ]
    if not test:
        raise DataError(f"{store.root}: no recording can be tested. {' '.join(notes)}")
    groups = {p.path: p.group for p in test}

    def draws(paths: list[str]) -> Array:
        """How often each recording is drawn, with everything of the same person; (R, N)."""
        who = [groups[p] for p in paths]
        if len(set(who)) < 2:
            return np.zeros((0, len(who)))
        return resample_weights(len(who), n_resamples, seed, who)

    result: dict[str, Any] = {k: [] for k in ("rows", "at", "recordings", "traces")}
    kinds = sorted({p.kind for p in test})
    train_of: dict[str, int] = {}
    failures: dict[str, str] = {}
    for kind in kinds:
        rows = [r for r in roles.train if table["kind"].iat[r] == kind]
        each = max(1, n_train_windows // max(1, len(rows)))
        rows = rows[:: math.ceil(len(rows) / n_train_windows)] if rows else []
        train = read_pieces(store, rows, window_of[kind], step, each, [])
        if not train:
            raise DataError(
                f"{store.root}: {kind} is tested, but no {kind} recording of split 'train' holds a "
                f"window of {window_of[kind]:g} s to count codes on; change --train"
            )
        train_of[kind] = sum(len(p.x_BCT) for p in train)
        mine = [p for p in test if p.kind == kind]
        coders = all_coders(codecs, max(len(p.channels) for p in mine))
        records: list[dict[str, Any]] = []
        for coder in coders:
            say(f"{kind}: {coder.name}, {len(mine)} recordings")
            try:
                coder.fit(train)
            except ContractError as e:
                failures[coder.name] = str(e)
                notes.append(f"{kind}: {coder.name} is left out: {e}.")
                continue
            records += coded_recordings(coder, mine, notes)
            if isinstance(coder, LosslessCoder | RateCoder) and coder.stated():
                notes.append(f"{kind}: {coder.stated()}")
        result["traces"].append(traces(kind, coders, mine, records))
        result["recordings"] += records
        result["rows"] += averaged(kind, records, draws)
    for name in {c.name for c in codecs} - {r["coder"] for r in result["rows"]}:
        raise ContractError(
            f"'{name}' can code no kind of these recordings: {failures.get(name, notes[-1])}"
        )
    add_comparison(result["rows"], result["recordings"], draws)
    published = [c.name for c in codecs if isinstance(c.codec, BioCodec)]
    result["duels"] = duels(result["recordings"], published, draws)
    multi, *fixed = compare_rates or ("",)
    result["ratios"] = rate_ratios(result["recordings"], multi, fixed, draws) if fixed else []
    names = labelled(store, roles.test) if tasks is None else tasks
    result["tasks"] = []
    for name in names:
        n_channels = layout_width(store, name)
        result["tasks"].append(
            task_loss(
                store,
                name,
                all_coders(codecs, n_channels),
                step=step,
                n_train_windows=n_train_windows,
                n_trials=n_trials,
                retrain=retrain,
                n_resamples=n_resamples,
                seed=seed,
                notes=notes,
                say=say,
            )
        )
    for record in result["recordings"]:
        del record["counts"]  # of codes: too many for a report
    result["at"] = at_rates(result["rows"])
    result["data"] = data_of(test, train_of, store)
    result["sentences"] = [
        *duel_sentences(result["duels"]),
        *lone_sentences(result["rows"], result["duels"], [r["fixed"] for r in result["ratios"]]),
        *lossless_sentences(result["rows"]),
        *ratio_sentences(result["ratios"]),
        *(s for task in result["tasks"] for s in task_sentences(task)),
    ]
    result["notes"] = [*missing_kinds(store, roles, result["data"]["kinds"]), *notes]
    return result


def all_coders(codecs: Sequence[NeuralCoder | RateCoder], n_channels: int) -> list[Coder]:
    """Codecs, then classical coders that are not fitted yet."""
    out: list[Coder] = [*codecs, TransformCoder(), LappedCoder(), WaveletCoder()]
    if n_channels > 1:
        out.append(PrincipalCoder())
    return [*out, LosslessCoder(), Zero()]


def layout_width(store: Store, dataset: str) -> int:
    """Most channels of a recording of a data set; 0 where the store has none."""
    table = store.recordings
    return int(table.loc[table["dataset"] == dataset, "n_channels"].max() or 0)


def missing_kinds(store: Store, roles: Cast, tested: Mapping[str, Any]) -> list[str]:
    """Names the kinds of signal that nothing is said of."""
    table = store.recordings["kind"]
    out = [
        f"{kind}: asked for, but no recording of the tested split holds a window; change --split "
        "or --window."
        for kind in sorted(set(table.iloc[[*roles.test, *roles.train]]) - set(tested))
    ]
    there = set(table)
    absent = [name for name, kinds in KINDS.items() if not there & kinds]
    if absent:
        out.append(f"The store has no recording of {', '.join(absent)}: nothing is said of it.")
    return out


def coded_recordings(coder: Coder, pieces: Sequence[Piece], notes: list[str]) -> list[dict]:
    """One record a recording and rate; recordings that a coder cannot code are named."""
    out, alien = [], []
    for piece in pieces:
        if not coder.applies(piece):
            alien.append(piece.path)
            continue
        try:
            out += [measure(coder, piece, coded) for coded in coder.code(piece)]
        except ContractError as e:
            notes.append(f"{piece.kind}: {coder.name} did not code {piece.path}: {e}.")
    if alien:
        more = f" and {len(alien) - 3} more" if len(alien) > 3 else ""
        notes.append(
            f"{pieces[0].kind}: {coder.name} did not code {', '.join(alien[:3])}{more}: training "
            "holds no such sensors."
        )
    return out


def measure(coder: Coder, piece: Piece, coded: Coded) -> dict[str, Any]:
    """Rate and every distortion of one recording: means over valid channels and windows.

    Coherence is of spectra averaged over the windows of a channel.
    """
    x_BCT, y_BCT, valid_BC = coded.target_BCT, coded.rec_BCT, piece.valid_BC
    x_MT, y_MT = x_BCT[valid_BC], y_BCT[valid_BC]
    seconds = x_MT.size / piece.sfreq
    s = signal.spectra(x_BCT, y_BCT, piece.sfreq)
    hz_F = signal.frequencies(s.xx.shape[-1], piece.sfreq, x_MT.shape[-1])
    edge_hz = min(piece.lowpass_hz or np.inf, piece.sfreq / 2)
    heard = (hz_F >= LOWEST_HZ) & (hz_F <= edge_hz)
    weight = valid_BC[..., None]
    some_C = valid_BC.any(0)
    channel = signal.Spectra(*((part * weight).sum(0)[some_C] for part in s))
    bands = signal.bands_below(edge_hz)
    distance = signal.log_spectral_distance(s.xx[valid_BC][:, heard], s.yy[valid_BC][:, heard])
    out: dict[str, Any] = {
        "kind": piece.kind,
        "coder": coder.name,
        "sort": coder.sort,
        "setting": coded.setting,
        "order": coded.order,
        "path": piece.path,
        "group": piece.group,
        "bits_per_s": coded.bits / seconds,
        "nominal": coded.nominal,
        "nmse": float(np.nanmean(signal.nmse(x_MT, y_MT))),
        "prd": float(np.nanmean(signal.prd(x_MT, y_MT))),
        "correlation": float(np.nanmean(signal.correlation(x_MT, y_MT))),
        "spectral_db": float(np.nanmean(distance)),
        "coherence": {
            name: float(mean.mean())
            for name, mean in signal.band_means(signal.coherence(channel), hz_F, bands).items()
        },
        "counts": coded.counts_QK,
    }
    return out


NUMBERS = ("bits_per_s", "nominal", "nmse", "prd", "correlation", "spectral_db")


def averaged(
    kind: str, records: Sequence[dict], draws: Callable[[list[str]], Array]
) -> list[dict[str, Any]]:
    """Means over recordings with 95 % intervals over those who were recorded."""
    rows = []
    for key in dict.fromkeys((r["coder"], r["setting"]) for r in records):
        mine = [r for r in records if (r["coder"], r["setting"]) == key]
        weights_RN = draws([r["path"] for r in mine])
        first = mine[0]
        row = {k: first[k] for k in ("kind", "coder", "sort", "setting", "order")}
        for number in NUMBERS:
            known = all(r[number] is not None for r in mine)
            row[number] = summary([r[number] for r in mine], weights_RN) if known else None
        row["coherence"] = {
            band: summary([r["coherence"][band] for r in mine], weights_RN)
            for band in first["coherence"]
        }
        row |= code_use([r["counts"] for r in mine])
        rows.append({**row, "recordings": len(mine), "groups": len({r["group"] for r in mine})})
    return rows


def summary(values: Sequence[float], weights_RN: Array) -> dict[str, Any]:
    """Mean, and its interval where there is more than one group to draw from."""
    v_N = np.asarray(values, float)
    low, high = interval(weights_RN @ v_N / weights_RN.sum(1)) if len(weights_RN) else (None, None)
    return {"mean": float(v_N.mean()), "low": low, "high": high}


def code_use(counts: Sequence[Any]) -> dict[str, Any]:
    """Share of the codes that occur and their perplexity, level by level; {} without codes."""
    if any(c is None for c in counts):
        return {"used": None, "perplexity": None}
    total_QK = np.sum(counts, 0)
    return {
        "used": [float((c > 0).mean()) for c in total_QK],
        "perplexity": [perplexity(c) for c in total_QK],
    }


def data_of(pieces: Sequence[Piece], train_of: Mapping[str, int], store: Store) -> dict[str, Any]:
    """What was tested, for the report."""
    kinds = {
        kind: {
            "recordings": sum(p.kind == kind for p in pieces),
            "groups": len({p.group for p in pieces if p.kind == kind}),
            "windows": sum(len(p.x_BCT) for p in pieces if p.kind == kind),
            "channel_hours": sum(p.channel_seconds for p in pieces if p.kind == kind) / 3600,
            "train_windows": n,
            "window_s": next(p.x_BCT.shape[2] / p.sfreq for p in pieces if p.kind == kind),
            "simulated": any(p.simulated for p in pieces if p.kind == kind),
        }
        for kind, n in train_of.items()
    }
    recipe = store.recipe
    return {
        "kinds": kinds,
        "sfreq": recipe.sfreq,
        "highpass_hz": recipe.highpass_hz,
        "lowpass_hz": recipe.lowpass_hz,
        "simulated": any(p.simulated for p in pieces),
        "all_simulated": all(p.simulated for p in pieces),
    }
