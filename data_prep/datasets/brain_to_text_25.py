"""Brain-to-Text '25: one person speaks, 256 electrodes in his speech motor cortex, 45 sessions.

Layout (the authors' program, nejm-brain-to-text, commit 77dbcf8):
`<data root>/brain_to_text_25/hdf5_data_final/t15.2023.08.11/data_train.hdf5`, `data_val.hdf5` and
`data_test.hdf5`. A trial is a group `trial_0000` with `input_features` (bins of 20 ms, 512),
`seq_class_ids` (500, zeros after the end), attributes `n_time_steps`, `seq_len`, `sentence_label`,
`session`, `block_num` and `trial_num`; test trials have neither sentence nor phonemes.
A trial ends with its sentence: cut windows with `SpeechTargets(unit="sentence", stop_s=0,
round_s=0.02)`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.spoken_trials import SpokenTrial, end_to_end, sentence_events, unplaced

FILE = re.compile(r"data_(train|val|test)\.hdf5")
SESSION = re.compile(r"t15\.\d{4}\.\d{2}\.\d{2}")
SFREQ = 50.0
"""Bins of 20 ms."""
AREAS = ("6v_ventral", "4", "55b", "6v_dorsal")
"""Four arrays of 64 electrodes, in this order; crossings of all come before powers of all."""
FEATURES = ("crossings", "power")
"""Threshold crossings at -4.5 RMS, and power of the spike band."""


class BrainToText25(DataSet):
    """One recording a session and split: its sentences end to end."""

    name = "brain_to_text_25"
    facts = Facts(
        title="Brain-to-Text '25: 512 features of 256 electrodes, one person, 45 sessions",
        licence="CC0 1.0 (Dryad; recalled, read the page), Kaggle's rules for its competition",
        citation="Card et al., NEJM 2024, doi:10.1056/NEJMoa2314132; Dryad dncjsxm85",
        origin="https://doi.org/10.5061/dryad.dncjsxm85",
        kinds=("ECOG",),
        splits="train, val and test by trial within each session, as published; test sentences are "
        "held back",
        nominal=(
            "no volts: threshold crossings and spike band power in bins of 20 ms, unit au, at "
            "50 Hz; prepare them with --sfreq 50; no filter is applied",
            "microelectrodes in the cortex are called ECOG, the nearest kind that brainfm has; "
            "they have no positions",
            "phonemes are spread evenly over their trial: their order is published, their times "
            "are not",
            "sentences may recur in other sessions and splits, as published: compare texts before "
            "a language model is trained on them",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get t15_copyTask_neuralData.zip from "
                f"{self.facts.origin} ({self.facts.licence}) and unpack it to "
                f"{root / self.name}/hdf5_data_final"
            )

    def jobs(self, root: Path) -> list[Job]:
        jobs = []
        for path in sorted((root / self.name).glob("**/t15.*/data_*.hdf5")):
            match = FILE.fullmatch(path.name)
            if match and SESSION.fullmatch(path.parent.name):
                options = {"session": path.parent.name, "split": match[1]}
                name = f"{path.parent.name}_{match[1]}"
                jobs.append(Job(self.name, name, (str(path),), options))
        return sorted(jobs, key=lambda j: j.name)

    def load(self, job: Job, recipe: Recipe) -> Recording:
        session, split = job.options["session"], job.options["split"]
        return end_to_end(
            read_trials(Path(job.files[0]), session, labelled=split != "test"),
            sfreq=SFREQ,
            recipe=recipe,
            channels=channels(),
            source=job.files[0],
            notes=self.facts.nominal,
            dataset=self.name,
            subject="T15",
            session=session,
            name=job.name,
            split=split,
            # One person is in all splits; a session's part is in one.
            split_group=f"{self.name}/{job.name}",
        )


def read_trials(path: Path, session: str, labelled: bool = True) -> list[SpokenTrial]:
    """The trials of a file, in order of their numbers.

    Parameters
    ----------
    session : that the file must be of
    labelled : whether a trial without sentence and phonemes is refused

    Raises
    ------
    DataError
        If the file is damaged or of another session, or a trial's features, phonemes and sentence
        do not fit each other.
    """
    import h5py

    trials = []
    try:
        with h5py.File(path) as f:
            for key in sorted(f):
                trials.append(_trial(f[key], f"{path}: {key}", session, labelled))
    except DataError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as e:
        raise DataError(
            f"{path}: no file of Brain-to-Text '25 ({type(e).__name__}: "
            f"{' '.join(str(e).split())[:120]}); fetch it again"
        ) from e
    return trials


def _trial(group: Any, where: str, session: str, labelled: bool) -> SpokenTrial:
    said = _text(group.attrs.get("session", session))
    if said not in (session, ""):
        raise DataError(f"{where}: is of session '{said}', its folder is {session}; fetch it again")
    x_TC = np.asarray(group["input_features"], np.float64)
    n = int(group.attrs["n_time_steps"])
    if x_TC.ndim != 2 or not 2 <= n <= len(x_TC):
        raise DataError(f"{where}: announces {n} bins, holds {x_TC.shape}; fetch it again")
    ids = np.asarray(group["seq_class_ids"], np.int64) if "seq_class_ids" in group else np.zeros(0)
    n_ids = int(group.attrs.get("seq_len", np.count_nonzero(ids)))
    if ids.ndim != 1 or n_ids > len(ids) or ids[n_ids:].any() or not ids[:n_ids].all():
        raise DataError(
            f"{where}: announces {n_ids} phonemes, which its ids do not hold; fetch it again"
        )
    text = _text(group.attrs.get("sentence_label", ""))
    if labelled and not (text.strip() and n_ids):
        raise DataError(f"{where}: has no sentence or no phonemes; fetch it again")
    if n_ids > n:
        raise DataError(
            f"{where}: {n_ids} phonemes in {n} bins of 20 ms; the transcript is of another trial"
        )
    events = sentence_events(text, ids[:n_ids].tolist(), n / SFREQ, where)
    return SpokenTrial(x_TC[:n], tuple(events))


def channels() -> Channels:
    """512 features, named by area, electrode and what was counted."""
    names = [
        f"{area}-{i + 1:02d}-{feature}" for feature in FEATURES for area in AREAS for i in range(64)
    ]
    return unplaced(names, Kind.ECOG, "au")


def _text(value: Any) -> str:
    value = np.asarray(value).ravel()[0] if np.ndim(value) else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


DATASET = BrainToText25()
