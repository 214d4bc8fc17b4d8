"""Brain Treebank: ten people with depth electrodes watch movies; words by the Neuroprobe package.

Layout, as `neuroprobe` 0.1.8 reads the release: `<data root>/brain_treebank/sub_1_trial000.h5` with
`data/electrode_0`, ... (samples, 2048 Hz), `electrode_labels/sub_1/electrode_labels.json` with the
names in that order, `corrupted_elec.json` with `sub_1` to names, and
`transcripts/<movie>/features.csv`. Words, contacts and the benchmark's rules come with the package.

Shapes: C contacts, T samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Event, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.datasets.simulated_seizures import NEUROPROBE
from data_prep.download import source_folder, unpack, unpacked
from data_prep.readers.neuroprobe import (
    MOVIES,
    SFREQ,
    Timeline,
    clean,
    contact_positions,
    members,
    read_timeline,
)
from data_prep.readers.neuroprobe_splits import (
    KINDS,
    TRAIN_TRIAL,
    Split,
    cross_session,
    cross_subject,
    partner,
    within_session,
)
from data_prep.readers.neuroprobe_tasks import SECOND, Samples, task_samples
from data_prep.readers.speech_tables import Heard, say
from data_prep.scalp import MICROVOLT

NAME = re.compile(r"sub_(\d+)_trial(\d{3})\.h5")
PART_S = 600.0
"""Length of a part: ten minutes of 130 contacts at 2048 Hz are 1.3 GB in double precision."""
NO_SIGNAL = ("DC", "TRIG")
"""How the names of columns begin that are no contacts."""


class BrainTreebank(DataSet):
    """One recording every ten minutes or so of a movie, cut between sentences."""

    name = "brain_treebank"
    facts = Facts(
        title="Brain Treebank: 10 people, 1,696 depth contacts, 26 films shown, 40 hours",
        licence="CC BY 4.0 (recalled; read the page); words and coordinates MIT (neuroprobe)",
        citation="Wang et al., NeurIPS 2024; Zahorodnii et al., Neuroprobe, arXiv 2509.21671",
        origin="https://braintreebank.dev",
        kinds=("SEEG",),
        splits="by hash of people who share a movie; Neuroprobe's three splits (within session, "
        "cross session, cross subject) are of samples: data_prep.readers.neuroprobe_splits",
        nominal=(
            "the unit is not stated; taken as microvolt",
            "positions are a linear map into MNI152 (neuroprobe), 1 to 3 mm off; contacts that it "
            "lacks have none",
            "random folds of words leak, because neighbouring words are all but one window: they "
            "are refused",
        ),
        line_freq=60.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self._files(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get trials, electrode_labels, "
                f"corrupted_elec.json and transcripts from {self.facts.origin} "
                f"({self.facts.licence}) and put them under {root / self.name}"
            )
        unpack(NEUROPROBE, members(), root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(NEUROPROBE, list(members().values()), root):
            return []
        jobs = []
        for path in self._files(root):
            match = NAME.fullmatch(path.name)
            assert match is not None
            who, trial = int(match[1]), int(match[2])
            options: dict[str, Any] = {"subject": who, "trial": trial, "root": str(root)}
            stem = f"sub{who:02d}_trial{trial:03d}"
            try:
                timeline = self.timeline(root, who, trial)
                edges = cut_points(n_samples(path) / SFREQ, sentences_of(timeline))
            except DataError as e:
                # Told when it is prepared: one bad file must not hide all others.
                jobs.append(Job(self.name, stem, (str(path),), options | {"damaged": str(e)}))
                continue
            for k, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
                part = options | {"start": round(a * SFREQ), "stop": round(b * SFREQ)}
                jobs.append(Job(self.name, f"{stem}_{k:02d}", (str(path),), part))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o, path = job.options, Path(job.files[0])
        if "damaged" in o:
            raise DataError(o["damaged"])
        root, who, trial = Path(o["root"]), o["subject"], o["trial"]
        raw, notes = read_part(path, who, source_folder(NEUROPROBE, root), o["start"], o["stop"])
        recording = recording_from_raw(
            raw,
            recipe=recipe,
            dataset=self.name,
            subject=f"sub{who:02d}",
            session=f"{MOVIES[who, trial]}_{o['start'] / SFREQ:05.0f}s",
            name=job.name,
            source=str(path),
            line_freq=self.facts.line_freq,
            montage=None,
            split_group=f"{self.name}/{group_of(who)}",
        )
        recording.notes += [*notes, *self.facts.nominal]
        timeline = self.timeline(root, who, trial)
        heard = heard_between(timeline, o["start"], o["stop"])
        if not timeline.has_features:
            recording.notes.append("transcripts/<movie>/features.csv is missing: no sentences")
        if heard.words:
            table = f"subject{who}_trial{trial}_words_df.csv"
            say(recording, heard, source_folder(NEUROPROBE, root) / table)
        recording.events += silence_between(timeline, o["start"], o["stop"], recording.duration_s)
        return recording

    def _files(self, root: Path) -> list[Path]:
        found = sorted((root / self.name).glob("sub_*_trial*.h5"))
        numbers = [(NAME.fullmatch(p.name), p) for p in found]
        return [p for m, p in numbers if m and (int(m[1]), int(m[2])) in MOVIES]

    def timeline(self, root: Path, who: int, trial: int) -> Timeline:
        """The words of a trial, with what `features.csv` says of them where it is there."""
        features = root / self.name / "transcripts" / MOVIES[who, trial] / "features.csv"
        return read_timeline(source_folder(NEUROPROBE, root), who, trial, features)


def neuroprobe_splits(root: Path, kind: str, subject: int, trial: int, task: str) -> list[Split]:
    """What one of the benchmark's numbers is made of, as published.

    Parameters
    ----------
    root : data root, after `fetch`
    kind : one of `KINDS`
    subject, trial : that are scored, one of `LITE_TRIALS`
    task : one of `TASKS`

    Raises
    ------
    DataError
        If there is no such split or task, or a table that it needs is missing.
    """

    def samples(who: int, number: int) -> Samples:
        return task_samples(DATASET.timeline(root, who, number), task)

    if kind not in KINDS:
        raise DataError(f"split '{kind}' is none of {', '.join(KINDS)}")
    if kind == "within session":
        return within_session(samples(subject, trial))
    if kind == "cross session":
        return [cross_session(samples(*partner(subject, trial)), samples(subject, trial))]
    return [cross_subject(samples(*TRAIN_TRIAL), samples(subject, trial))]


def located(jobs: Sequence[Job], samples: Samples) -> tuple[list[tuple[str, float, int]], int]:
    """Where samples lie among the recordings of their trial.

    Returns
    -------
    name of the recording, onset in it in s, and class, of each sample; and how many lie across a
    cut and are lost
    """
    found = []
    wanted = (samples.subject, samples.trial)
    parts = [
        (j.options["start"], j.options["stop"], j.name)
        for j in jobs
        if "start" in j.options and (j.options["subject"], j.options["trial"]) == wanted
    ]
    for start, label in zip(samples.start_N.tolist(), samples.label_N.tolist(), strict=True):
        for a, b, name in parts:
            if a <= start and start + SECOND <= b:
                found.append((name, (start - a) / SFREQ, label))
    return found, len(samples) - len(found)


def group_of(subject: int) -> str:
    """Everybody who is joined to this person by movies that both saw, as one name."""
    joined = {subject}
    while True:
        seen = {movie for (s, _), movie in MOVIES.items() if s in joined}
        more = {s for (s, _), movie in MOVIES.items() if movie in seen}
        if more == joined:
            return "sub" + "+".join(f"{s:02d}" for s in sorted(joined))
        joined = more


def sentences_of(t: Timeline) -> list[tuple[float, float]]:
    """Spans of the sentences in s; of the words where there are no sentences."""
    spans: list[tuple[float, float]] = []
    last = ""
    start = t.words["est_idx"].to_numpy(np.float64) / SFREQ
    stop = t.words["est_end_idx"].to_numpy(np.float64) / SFREQ
    for a, b, key in zip(start, stop, _sentence_keys(t), strict=True):
        if key and key == last:
            spans[-1] = (min(spans[-1][0], a), max(spans[-1][1], b))
        else:
            spans.append((a, b))
        last = key
    return spans


def cut_points(duration_s: float, sentences: list[tuple[float, float]]) -> list[float]:
    """Where a movie is cut: every `PART_S` or later, after the sentence that is being spoken."""
    edges = [0.0]
    while duration_s - edges[-1] > PART_S:
        at = edges[-1] + PART_S
        for a, b in sorted(sentences):
            at = b if a < at < b and b - a < PART_S else at
        edges.append(min(at, duration_s))
    # A last part of seconds would be too short for the filters.
    if len(edges) > 1 and duration_s - edges[-1] < PART_S / 10:
        edges.pop()
    return [*edges, duration_s]


def heard_between(t: Timeline, start: int, stop: int) -> Heard:
    """Words that lie between two samples, from the first of them on."""
    heard = Heard()
    columns = ("est_idx", "est_end_idx", "full_word")
    rows = zip(*(t.words[c] for c in columns), _sentence_keys(t), strict=True)
    for a, b, text, key in rows:
        if b < a and start <= a < stop:
            heard.left_out["words that end before they begin"] += 1
        elif start <= a and b <= stop:
            heard.word((a - start) / SFREQ, (b - a) / SFREQ, text, key)
        elif start < b and a < stop:
            heard.left_out["words across a cut"] += 1
    return heard


def silence_between(t: Timeline, start: int, stop: int, duration_s: float) -> list[Event]:
    """Seconds without speech; they overlap by half, as the benchmark draws them."""
    begins = t.silence_N[(t.silence_N >= start) & (t.silence_N + SFREQ <= stop)]
    onsets = ((begins - start) / SFREQ).tolist()
    return [Event(a, 1.0, "no_speech") for a in onsets if a + 1.0 <= duration_s]


def n_samples(path: Path) -> int:
    """Of the first electrode.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    import h5py

    try:
        with h5py.File(path) as f:
            return int(f["data/electrode_0"].shape[0])
    except (OSError, KeyError, AttributeError, IndexError) as e:
        raise DataError(_damaged(path, e)) from e


def read_part(path: Path, who: int, folder: Path, start: int, stop: int) -> tuple[Any, list[str]]:
    """An MNE `RawArray` of the good contacts between two samples, with positions in MNI space.

    Raises
    ------
    DataError
        If labels and electrodes do not fit each other, or a file is missing or damaged.
    """
    import h5py
    import mne
    from mne._fiff.constants import FIFF

    home = path.parent
    said = _json(home / "electrode_labels" / f"sub_{who}" / "electrode_labels.json", list)
    names = [clean(str(n)) for n in said]
    corrupted = _json(home / "corrupted_elec.json", dict).get(f"sub_{who}", [])
    bad = {clean(str(n)) for n in corrupted}
    keep = [i for i, n in enumerate(names) if n not in bad and not n.upper().startswith(NO_SIGNAL)]
    if not keep:
        raise DataError(f"{path}: none of its {len(names)} electrodes is good; fetch the labels")
    data_CT = np.empty((len(keep), stop - start))
    try:
        with h5py.File(path) as f:
            if len(f["data"]) != len(names):
                raise DataError(
                    f"{path}: holds {len(f['data'])} electrodes for {len(names)} labels; it is of "
                    "another person"
                )
            for row, i in enumerate(keep):
                x_T: NDArray[Any] = f[f"data/electrode_{i}"][start:stop]
                if x_T.shape != (stop - start,):
                    raise DataError(
                        f"{path}: electrode_{i} has {len(x_T)} of {stop - start} samples; fetch it "
                        "again"
                    )
                data_CT[row] = x_T * MICROVOLT
    except (OSError, KeyError, AttributeError, TypeError) as e:
        raise DataError(_damaged(path, e)) from e
    chosen = [names[i] for i in keep]
    if len(set(chosen)) < len(chosen):
        twice = next(n for n in chosen if chosen.count(n) > 1)
        raise DataError(f"{path}: electrode '{twice}' appears twice; fetch the labels again")
    raw = mne.io.RawArray(
        data_CT, mne.create_info(chosen, SFREQ, "seeg", verbose="ERROR"), verbose="ERROR"
    )
    places = contact_positions(folder, who)
    for ch in raw.info["chs"]:
        if ch["ch_name"] in places:
            ch["loc"][:3] = places[ch["ch_name"]]
            ch["coord_frame"] = FIFF.FIFFV_MNE_COORD_MNI_TAL
    notes = [f"{len(names) - len(keep)} electrodes are corrupted or triggers and are left out"]
    return raw, notes


def _sentence_keys(t: Timeline) -> list[str]:
    """A name of each word's sentence, "" where it is not known."""
    if not t.has_features:
        return [""] * len(t.words)
    place = t.words["idx_in_sentence"].astype(str).tolist()
    keys, number, last = [], 0, ""
    for text, at in zip(t.words["sentence"].tolist(), place, strict=True):
        # The same sentence twice in a row begins again at its first word.
        if text != last or at in ("0", "0.0"):
            number += 1
        last = text
        keys.append(str(number) if text else "")
    return keys


def _json(path: Path, kind: type) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        what = "missing" if isinstance(e, FileNotFoundError) else f"no JSON ({e})"
        raise DataError(f"{path}: {what}; fetch it from Brain Treebank") from e
    if not isinstance(content, kind):
        raise DataError(f"{path}: holds no {kind.__name__}; fetch it from Brain Treebank")
    return content


def _damaged(path: Path, e: Exception) -> str:
    return (
        f"{path}: no trial of Brain Treebank ({type(e).__name__}: "
        f"{' '.join(str(e).split())[:120]}); fetch it again"
    )


DATASET = BrainTreebank()
