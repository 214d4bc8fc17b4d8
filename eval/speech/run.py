"""One question after another: plan its windows, ask every system, score all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from brainfm.data.store import Store
from brainfm.errors import DataError
from eval.speech.answers import CHANCE, SORTS, Answer, Said, Say, ask, first_of
from eval.speech.decoders import Trained, by_head
from eval.speech.phonemes import Transcripts
from eval.speech.regression import Regression
from eval.speech.retrieval import Retrieval
from eval.speech.scores import Counts, Groups, by_patient, compare, summarise
from eval.speech.windows import (
    Plan,
    dropped_text,
    plan_windows,
    require_apart,
    taught_windows,
)
from eval.speech.words import Words

TASKS: dict[str, Callable[[Plan], Any]] = {
    "classify": Words,
    "ctc": Transcripts,
    "align": Retrieval,
    "regress": Regression,
}
"""Head -> question."""


@dataclass
class Section:
    """Everything about one question.

    Attributes
    ----------
    head, title : of the question
    result : what report.json holds of it
    task, said : for the pictures; the first seed of each system
    """

    head: str
    title: str
    result: dict[str, Any]
    task: Any
    said: dict[str, Said] = field(default_factory=dict)


def evaluate(
    store: Store,
    decoders: Sequence[Trained],
    *,
    query: str | None = None,
    split: str = "test",
    train_query: str | None = None,
    shift_s: float = 10.0,
    n_resamples: int = 1000,
    seed: int = 0,
    say: Say = lambda sentence: None,
) -> list[Section]:
    """One section for each head among the decoders.

    Raises
    ------
    DataError, ContractError
        If a decoder and the windows do not fit, sentences have two roles, or nothing is left.
    """
    if not decoders:
        raise DataError("there is no decoder to score; give --decoder [NAME=]DIR")
    sections = []
    for head, trained in by_head(decoders).items():
        first = trained[0]
        plan = plan_windows(
            store,
            first.targets,
            first.decoder.preprocess,
            query=query,
            split=split,
            train_query=train_query,
            patch=first.patch,
            vocabulary=first.decoder.config.vocabulary or None,
        )
        say(f"{head}: {len(plan.test)} tested {plan.targets.unit}s. {dropped_text(plan.dropped)}")
        unknown = refuse_seen(store, trained, plan, known=train_query or query)
        task = TASKS[head](plan)
        answers, notes = ask(
            plan, trained, shift_s=shift_s, seed=seed, needs_val=task.needs_val, say=say
        )
        answers = {name: _read(task, trained, name, a) for name, a in answers.items()}
        answers |= task.baselines(say)
        if plan.untaught:
            notes.append(
                f"No training window of {', '.join(plan.untaught)}: linear models, one a patient, "
                "know nothing there."
            )
        result, said = _scored(task, plan, answers, first_of(trained), n_resamples, seed, say)
        result["notes"] = [*task.notes(), dropped_text(plan.dropped), *notes, *unknown]
        result |= {"head": head, "title": task.title, "shift_s": shift_s}
        result["windows"] = asdict(plan.targets)
        sections.append(Section(head, task.title, result, task, said))
    return sections


def refuse_seen(
    store: Store, trained: Sequence[Trained], plan: Plan, known: str | None = None
) -> list[str]:
    """Refuse decoders whose own training windows hold a tested sentence; name those unknown.

    Parameters
    ----------
    known : query of the plan's own training windows, which are apart already
    """
    notes = []
    for query in dict.fromkeys(t.query for t in trained):
        if query is None or query == (known or ""):
            continue
        require_apart(store, taught_windows(plan, query), plan.test)
    silent = [t.run for t in trained if t.query is None]
    if silent:
        notes.append(
            f"No run lies beside {', '.join(silent)}: which sentences they were trained on is not "
            "known here."
        )
    return notes


def _read(task: Any, trained: Sequence[Trained], name: str, answer: Answer) -> Answer:
    """Answers as the question counts them; controls are those of the first decoder."""
    seeds = [t for t in trained if t.name == name]
    seeds = seeds or [t for t in trained if t.name == first_of(trained)]
    pairs = list(zip(seeds, answer.runs, strict=True))
    val = None
    if answer.val is not None:
        val = [task.read(t, said) for t, said in zip(seeds, answer.val, strict=True)]
    return Answer(answer.sort, [task.read(t, said) for t, said in pairs], val)


def _scored(
    task: Any,
    plan: Plan,
    answers: Mapping[str, Answer],
    main: str,
    n_resamples: int,
    seed: int,
    say: Say,
) -> tuple[dict[str, Any], dict[str, Said]]:
    groups = Groups(
        np.array([w.patient for w in plan.test]), np.array([w.sentence for w in plan.test])
    )
    w_RN = groups.weights(n_resamples, seed)
    counts: dict[str, list[dict[str, Counts]]] = {}
    for name, answer in answers.items():
        say(f"scoring {name}")
        val = answer.val or [None] * len(answer.runs)
        counts[name] = [task.counts(s, v) for s, v in zip(answer.runs, val, strict=True)]
    order = sorted(answers, key=lambda name: SORTS.index(answers[name].sort))
    rows, differences = [], []
    for name in order:
        of = {m.name: [c[m.name] for c in counts[name]] for m in task.metrics}
        rows.append(
            {
                "system": name,
                "sort": answers[name].sort,
                "seeds": len(counts[name]),
                "scores": {m.name: summarise(of[m.name], groups, m, w_RN) for m in task.metrics},
                "patients": {m.name: by_patient(of[m.name], groups) for m in task.metrics},
            }
        )
    for name in order:
        if name == main or answers[name].sort == CHANCE:
            continue
        for m in task.metrics:
            a, b = ([c[m.name] for c in counts[n]] for n in (main, name))
            d = compare(a, b, groups, m, w_RN)
            differences.append(
                {"a": main, "b": name, "sort": answers[name].sort, "metric": m.name,
                 "lower": m.lower, **d}
            )  # fmt: skip
    shown = {name: answers[name].runs[0] for name in order}
    return {
        "main": main,
        "metrics": [asdict(m) for m in task.metrics],
        "rows": rows,
        "differences": differences,
        "over": groups.over,
        "resamples": n_resamples,
        "n": {"windows": len(plan.test), "sentences": len(set(groups.sentence_N)),
              "patients": len(plan.patients), "train_windows": len(plan.train),
              "val_windows": len(plan.val)},
        "dropped": plan.dropped,
        "simulated": plan.simulated,
        "facts": task.facts(),
        "details": task.details(shown),
    }, shown  # fmt: skip
