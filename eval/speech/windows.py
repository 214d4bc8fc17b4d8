"""Which windows of speech are tested, which teach the baselines, and that they share no sentence.

Shapes: N windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from brainfm.data.index import select
from brainfm.data.speech import (
    SpeechTargets,
    SpeechWindows,
    cut_speech,
    sentences_judged_on,
    spoken,
    transcript,
)
from brainfm.data.store import Store
from brainfm.data.transcript import Transcript
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess
from brainfm.signals.spelling import normalise, words_of
from brainfm.types import WindowRef

SPLITS = ("train", "val", "test")
BLOCK_S = 10.0
"""Where no sentences are marked, windows of the same stretch of this length are resampled
together."""


@dataclass(frozen=True)
class Window:
    """One window and what it is about.

    Attributes
    ----------
    ref : the window
    text : what was said, as published
    start_s, stop_s : the stretch of the recording whose speech is its target
    patient : data set and subject
    sentence : name of the sentence that its middle lies in, one for each time it was said
    symbols : ids of the phonemes, where targets ask for them
    stimulus_NF : features of what was heard, where targets ask for them
    """

    ref: WindowRef
    text: str
    start_s: float
    stop_s: float
    patient: str
    sentence: str
    symbols: tuple[int, ...] = ()
    stimulus_NF: NDArray[np.float32] | None = None

    @property
    def words(self) -> list[str]:
        return words_of(self.text)


@dataclass
class Plan:
    """Windows by role, and what was left out.

    Attributes
    ----------
    split : name of the tested split
    test, val, train : windows; `val` chooses the weights of language models, `train` teaches
    dropped : role -> reason -> windows
    simulated : whether any tested recording is
    untaught : tested patients without a training window
    judged_on : sentences that no training window may touch
    """

    store: Store
    targets: SpeechTargets
    patch: int | None
    preprocess: Preprocess
    vocabulary: tuple[str, ...] | None
    split: str
    test: list[Window] = field(default_factory=list)
    val: list[Window] = field(default_factory=list)
    train: list[Window] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    judged_on: frozenset[str] = frozenset()

    @property
    def patients(self) -> list[str]:
        return sorted({w.patient for w in self.test})

    @property
    def untaught(self) -> list[str]:
        return sorted(set(self.patients) - {w.patient for w in self.train})

    @property
    def simulated(self) -> bool:
        return any(is_simulated(self.store, w.ref.recording) for w in self.test)


def is_simulated(store: Store, row: int) -> bool:
    """Whether nobody was recorded; the responses that naplib carries are simulated too."""
    name = str(store.recordings["dataset"].iat[row])
    return "simulated" in name or name.startswith("naplib")


def plan_windows(
    store: Store,
    targets: SpeechTargets,
    preprocess: Preprocess,
    *,
    query: str | None = None,
    split: str = "test",
    train_query: str | None = None,
    patch: int | None = None,
    vocabulary: Sequence[str] | None = None,
) -> Plan:
    """Cut the windows of one question.

    Parameters
    ----------
    query : of the tested recordings, among those of `split`
    train_query : of the recordings whose split "train" teaches baselines and language models and
        whose split "val" chooses weights. Default: `query`

    Raises
    ------
    DataError
        If no window is left to test, or a sentence or session has two roles.
    """
    tested, teachers = select(store, query), select(store, train_query or query)
    both = spoken(store, store.recordings.loc[tested.index.union(teachers.index)])
    roles = {split: both[both.index.isin(tested.index) & (both["split"] == split)]}
    for other in SPLITS[: SPLITS.index(split)]:
        roles[other] = both[both.index.isin(teachers.index) & (both["split"] == other)]
    words = None if vocabulary is None else tuple(vocabulary)
    plan = Plan(store, targets, patch, preprocess, words, split)
    said: dict[int, Transcript] = {}
    for name, rows in roles.items():
        elsewhere = sentences_judged_on(store, both, name)
        if name == "train":
            plan.judged_on = elsewhere
        index, dropped = cut_speech(store, rows, targets, words, patch=patch, elsewhere=elsewhere)
        found = _windows(plan, index.refs(np.arange(len(index))), said)
        plan.dropped[name] = dict(dropped)
        setattr(plan, "test" if name == split else name, found)
    if not plan.test:
        raise DataError(
            f"{store.root}: of {len(tested)} recordings that match, those of split '{split}' "
            f"leave no {targets.unit} to test ({plan.dropped[split] or 'none is there'}); change "
            "--recordings or --split"
        )
    require_apart(store, plan.train, plan.test, said)
    require_apart(store, plan.val, plan.test, said)
    return plan


def taught_windows(plan: Plan, query: str) -> list[Window]:
    """Windows that a run with this query was trained on, without their targets."""
    store = plan.store
    rows = select(store, query)
    rows = spoken(store, rows[rows["split"].isin(SPLITS)])
    targets = replace(plan.targets, phonemes=False, stimulus=None)
    index, _ = cut_speech(
        store,
        rows[rows["split"] == "train"],
        targets,
        plan.vocabulary,
        patch=plan.patch,
        elsewhere=sentences_judged_on(store, rows, "train"),
    )
    return _windows(replace(plan, targets=targets), index.refs(np.arange(len(index))), {})


def overlapping(plan: Plan, patient: str, stride_s: float) -> list[Window]:
    """The training segments of a patient again, so close together that they overlap."""
    rows = sorted({w.ref.recording for w in plan.train if w.patient == patient})
    targets = replace(plan.targets, stride_s=stride_s)
    index, _ = cut_speech(
        plan.store,
        plan.store.recordings.loc[rows],
        targets,
        patch=plan.patch,
        elsewhere=plan.judged_on,
    )
    found = _windows(replace(plan, targets=targets), index.refs(np.arange(len(index))), {})
    require_apart(plan.store, found, [*plan.val, *plan.test])
    return found


def require_apart(
    store: Store,
    teach: Sequence[Window],
    test: Sequence[Window],
    said: dict[int, Transcript] | None = None,
) -> None:
    """Refuse windows that share a sentence or an undivided session with the tested ones.

    Raises
    ------
    DataError
        Naming the sentence or the session, and both recordings.
    """
    said = {} if said is None else said
    groups = store.recordings["split_group"]
    tested = {str(groups.iat[w.ref.recording]): w for w in test}
    for w in teach:
        group = str(groups.iat[w.ref.recording])
        if group in tested:
            raise DataError(
                f"'{group}' is tested ({store.path(tested[group].ref.recording)}) and taught from "
                f"({store.path(w.ref.recording)}); give each session one split"
            )
    heard, taught = (_touched(store, windows, said) for windows in (test, teach))
    for text in sorted(set(heard) & set(taught)):
        a, b = (store.path(by_text[text].ref.recording) for by_text in (heard, taught))
        raise DataError(
            f"the sentence '{text[:60]}' is tested ({a}) and taught from ({b}); leave it out of "
            "one of them"
        )


def shifted(store: Store, windows: Sequence[Window], by_s: float) -> list[WindowRef] | None:
    """The same windows some seconds later in the same stretch of signal, wrapped at its end.

    None where a stretch is too short to move away from what was said (recordings of trials).
    """
    by, out = round(by_s * store.recipe.sfreq), []
    for row, start, length in (w.ref for w in windows):
        bounds = store.intervals(row)
        inside = (bounds[:, 0] <= start) & (start + length <= bounds[:, 1])
        lo, hi = bounds[int(np.flatnonzero(inside)[0])]
        places = hi - lo - length + 1
        new = int(lo + (start - lo + by) % places)
        if abs(new - start) < length:
            new = int(lo + (start - lo + places // 2) % places)
        if abs(new - start) < length:
            return None
        out.append(WindowRef(row, new, length))
    return out


def batches(refs: Sequence[WindowRef], size: int = 32) -> list[list[int]]:
    """Places of windows that fit into one batch: same recording and length."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, ref in enumerate(refs):
        groups.setdefault((ref.recording, ref.length), []).append(i)
    return [g[k : k + size] for g in groups.values() for k in range(0, len(g), size)]


def _windows(plan: Plan, refs: Sequence[WindowRef], said: dict[int, Transcript]) -> list[Window]:
    """Windows in order of time, with their targets read."""
    store, refs = plan.store, sorted(refs)
    data = SpeechWindows(store, plan.preprocess, plan.patch, plan.targets)
    table = store.recordings
    found: list[Window] = []
    for ref in refs:
        row = ref.recording
        if row not in said:
            said[row] = transcript(store, row)
        u = data.utterance(ref)
        patient = f"{table['dataset'].iat[row]}/{table['subject'].iat[row]}"
        middle = (u.start_s + u.stop_s) / 2
        onsets = np.array([e.onset_s for e in said[row].sentences])
        k = int(np.searchsorted(onsets, middle, side="right")) if len(onsets) else None
        block = f"{int(middle // BLOCK_S)}" if k is None else f"{k}"
        found.append(
            Window(ref, u.text, u.start_s, u.stop_s, patient, f"{table['path'].iat[row]}#{block}")
        )
    if plan.targets.phonemes or plan.targets.stimulus is not None:
        for places in batches(refs):
            batch = data[[refs[i] for i in places]]
            for b, i in enumerate(places):
                more: dict[str, object] = {}
                if batch.sequence_BL is not None:
                    more["symbols"] = tuple(k for k in batch.sequence_BL[b].tolist() if k >= 0)
                if batch.stimulus_BNF is not None:
                    more["stimulus_NF"] = batch.stimulus_BNF[b].numpy()
                found[i] = replace(found[i], **more)
    return found


def _touched(
    store: Store, windows: Sequence[Window], said: dict[int, Transcript]
) -> dict[str, Window]:
    """Texts of the sentences that share time with windows, and a window that does."""
    found: dict[str, Window] = {}
    by_row: dict[int, list[Window]] = {}
    for w in windows:
        by_row.setdefault(w.ref.recording, []).append(w)
    for row, mine in by_row.items():
        if row not in said:
            said[row] = transcript(store, row)
        sentences = said[row].sentences
        texts = [normalise(e.label) for e in sentences]
        onset = np.array([e.onset_s for e in sentences])
        end = onset + np.array([e.duration_s for e in sentences])
        for w in mine:
            start, length = (n / store.recipe.sfreq for n in w.ref[1:])
            for k in np.flatnonzero((onset < start + length) & (end > start)):
                found.setdefault(texts[k], w)
    found.pop("", None)
    return found


def dropped_text(dropped: dict[str, dict[str, int]]) -> str:
    """How many windows were left out of each role, in words."""
    parts = [
        f"{role}: {', '.join(f'{n} ({reason})' for reason, n in Counter(why).items())}"
        for role, why in dropped.items()
        if why
    ]
    return "Windows left out: " + "; ".join(parts) + "." if parts else "No window was left out."
