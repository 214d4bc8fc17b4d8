"""What every system says about the same windows: decoders, and the controls made of them.

A control goes the way of a decoder's own answers; only what it is given differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.collate import WindowDataset
from brainfm.errors import ContractError
from brainfm.types import WindowRef
from eval.speech.decoders import Trained
from eval.speech.windows import Plan, Window, batches, shifted

Said = list[NDArray[Any]]
"""One array a window: probabilities, log-probabilities (frames, symbols), a vector, or features."""
Say = Callable[[str], None]

DECODER, TWIN, NO_BRAIN, WRONG_BRAIN, LINEAR, CHANCE = SORTS = (
    "decoder",
    "twin without pretraining",
    "no brain",
    "wrong brain",
    "linear",
    "chance",
)
"""What a row of a table is."""


@dataclass(frozen=True)
class Answer:
    """What one system says.

    Attributes
    ----------
    sort : of `SORTS`
    runs : one list a seed, in order of the tested windows
    val : the same of the validation windows, where choices are made on them
    """

    sort: str
    runs: list[Said]
    val: list[Said] | None = None


def ask(
    plan: Plan, trained: Sequence[Trained], *, shift_s: float, seed: int, needs_val: bool, say: Say
) -> tuple[dict[str, Answer], list[str]]:
    """Answers of all decoders, and of the first one to no brain and to the wrong one.

    Parameters
    ----------
    trained : decoders of one head; several of one name are seeds
    shift_s : how much later the shifted windows are read
    needs_val : whether something is chosen on validation windows

    Returns
    -------
    name -> answer, and sentences on what could not be done
    """
    refs, val = [w.ref for w in plan.test], [w.ref for w in plan.val] if needs_val else []
    found: dict[str, Answer] = {}
    notes: list[str] = []
    names = list(dict.fromkeys(t.name for t in trained))
    for name in names:
        seeds = [t for t in trained if t.name == name]
        say(f"{name}: {len(refs)} windows, {len(seeds)} seed{'s' * (len(seeds) > 1)}")
        found[name] = Answer(
            TWIN if seeds[0].twin else DECODER,
            [predict(t.decoder, plan, refs) for t in seeds],
            [predict(t.decoder, plan, val) for t in seeds] if needs_val else None,
        )
    main = first_of(trained)
    seeds = [t for t in trained if t.name == main]
    own = found[main]
    say(f"{main}: controls")
    found["zero brain input"] = Answer(
        NO_BRAIN,
        [predict(t.decoder, plan, refs, blank=True) for t in seeds],
        [predict(t.decoder, plan, val, blank=True) for t in seeds] if needs_val else None,
    )
    order = other_windows(plan.test, seed)
    found["shuffled pairs"] = replace(
        own, sort=WRONG_BRAIN, runs=[[run[i] for i in order] for run in own.runs]
    )
    later = shifted(plan.store, plan.test, shift_s)
    if later is None:
        notes.append(
            "No time-shifted control: some stretches of signal are too short to read another "
            "window from."
        )
    else:
        found[f"brain {shift_s:g} s later"] = replace(
            own, sort=WRONG_BRAIN, runs=[predict(t.decoder, plan, later) for t in seeds]
        )
    if not any(t.twin for t in trained):
        notes.append(
            "No twin without pretraining was given (--decoder random=DIR): what pretraining "
            "brings is not known from this table."
        )
    return found, notes


def first_of(trained: Sequence[Trained]) -> str:
    """The decoder that everything is compared with: the first that is no twin."""
    return next((t.name for t in trained if not t.twin), trained[0].name)


@torch.no_grad()
def predict(decoder: Any, plan: Plan, refs: Sequence[WindowRef], blank: bool = False) -> Said:
    """Predictions of one decoder for windows of signal, in their order; speech is not read.

    Parameters
    ----------
    blank : give zeros instead of the signal, and no scale that would tell of it

    Raises
    ------
    ContractError
        If the decoder says something that is no number.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    decoder.to(device)
    data = WindowDataset(plan.store, plan.preprocess, plan.patch)
    found: Said = [np.zeros(0)] * len(refs)
    for places in batches(refs):
        batch = data[[refs[i] for i in places]]
        if blank:
            batch.x_BCWP.zero_()
            batch.scale_BC.fill_(1.0)
            batch.offset_BC.zero_()
        said = decoder.predict(batch.to(device)).float().cpu().numpy()
        if np.isnan(said).any():
            path = plan.store.path(refs[places[0]].recording)
            raise ContractError(
                f"{path}: the decoder says NaN{' to zeros' if blank else ''}; it has diverged"
            )
        for i, one in zip(places, said, strict=True):
            found[i] = one
    return found


def other_windows(windows: Sequence[Window], seed: int) -> list[int]:
    """For each window another one of the same patient, each once.

    A patient with a single window keeps it.
    """
    rng = np.random.default_rng(seed)
    order = np.arange(len(windows))
    for patient in sorted({w.patient for w in windows}):
        mine = rng.permutation([i for i, w in enumerate(windows) if w.patient == patient])
        order[mine] = np.roll(mine, 1)
    return [int(i) for i in order]
