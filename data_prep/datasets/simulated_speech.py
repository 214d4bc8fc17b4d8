"""Simulated listeners: patients that no package holds, on real contact coordinates.

Three sets share the patients: sentences made up of 61 words, as many minutes as one likes, a small
set of them for a demonstration, and the real audiobook of `naplib`. What is learned on the first
can be carried to the last.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.patient_montages import Implantation
from brainfm.data.speech_patients import DATASET as NAME
from brainfm.data.speech_patients import listen
from brainfm.data.speech_sounds import WORDS, Speech, draw_sentences, speak
from brainfm.signals.mel import FRAMES_HZ, log_mel
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording
from data_prep.audiobook import (
    SPLITS,
    audiobook_files,
    events_of,
    fetch_audiobook,
    read_alignment,
    read_chapters,
    read_dictionary,
)
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.datasets.simulated_seizures import NEUROPROBE, read_contacts, to_raw
from data_prep.download import source_folder, unpack, unpacked
from data_prep.phoneme_sounds import audiobook_sounds

VERSION = 1
"""Raised when the simulator gives other samples for the same options."""
TABLES = tuple(f"btbank{i}_mni_coords.csv" for i in (1, 2, 3, 4, 5, 8))
"""One implantation a patient: those with the most contacts near the auditory cortex."""
SESSIONS = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Shares of a patient's minutes."""
SENTENCE_S = 3.6
"""A sentence and its pause, on average."""

CITATION = (
    "receptive fields: Mesgarani et al., Science 343, 2014 (recalled); contacts: Brain Treebank, "
    "Wang et al., NeurIPS 2024; sound: naplib-python, Mischler et al., Software Impacts 17, 2023"
)
SIMULATED = (
    "simulated: receptive fields, noise and gain on real contact coordinates, no patient; numbers "
    "on it are no evidence of what can be decoded from people"
)


class SimulatedListeners(DataSet):
    """Base of both sets: files, patients, and the usual road of a recording.

    Parameters
    ----------
    seed : of the patients; another one gives others
    """

    def __init__(self, seed: int = 21) -> None:
        self.seed = seed

    def fetch(self, root: Path, say: Progress) -> None:
        fetch_audiobook(root, say)
        members = {f"neuroprobe/mni_coords/{table}": table for table in TABLES}
        unpack(NEUROPROBE, members, root, say)

    def jobs(self, root: Path) -> list[Job]:
        files = audiobook_files(root)
        if files is None or not unpacked(NEUROPROBE, list(TABLES), root):
            return []
        folder = source_folder(NEUROPROBE, root)
        return [
            Job(self.name, f"sub-sim{k:02d}_ses-{session}", (str(folder / table), *files), options)
            for k, table in enumerate(TABLES, 1)
            for session, options in self.sessions(k, files)
        ]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        table, *files = job.files
        speech = self.speech(job.options, files)
        made = _heard(self.name, job.options, speech, read_contacts(table))
        recording = recording_from_raw(
            to_raw(made),
            recipe=recipe,
            dataset=self.name,
            subject=made.subject,
            session=made.session,
            name=job.name,
            source=job.name,
            line_freq=made.line_freq,
            split=job.options["split"],
            # What must not be divided is a session: every patient is in all splits.
            split_group=f"{self.name}/{made.subject}/{made.session}",
        )
        recording.events = made.events
        recording.stimulus = made.stimulus
        recording.notes = [*made.notes, *recording.notes]
        return recording

    def sessions(self, number: int, files: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
        """Names and options of the sessions of a patient."""
        raise NotImplementedError

    def speech(self, options: dict[str, Any], files: list[str]) -> Speech:
        """What is heard in a session; `files` are sound, alignment and dictionary."""
        raise NotImplementedError

    def options(self, number: int, session: str, split: str) -> dict[str, Any]:
        """Plain values that, with the files, decide every sample."""
        one = {"number": number, "session": session, "split": split}
        return {**one, "seed": self.seed, "version": VERSION}


class SimulatedSpeech(SimulatedListeners):
    """Sentences of 61 words, other ones in every split.

    Parameters
    ----------
    minutes : of each patient, in all sessions together
    patients : how many, the first ones
    """

    name = NAME
    facts = Facts(
        title=f"SIMULATED listening: {len(TABLES)} depth-electrode patients, 40 minutes of made-up "
        f"sentences of {len(WORDS)} words each",
        licence="made by brainfm; contact coordinates MIT (neuroprobe), sound MIT (naplib)",
        citation=CITATION,
        origin=NEUROPROBE,
        kinds=("SEEG",),
        splits="by session, 32 + 4 + 4 minutes of each patient; no sentence is in two splits",
        nominal=(
            SIMULATED,
            "the speech is made up: words from a Markov chain, first pronunciations of the CMU "
            "dictionary, mel bands from means of aligned phonemes; times are exact",
        ),
    )

    def __init__(self, minutes: float = 40.0, patients: int = len(TABLES), seed: int = 21) -> None:
        super().__init__(seed)
        self.minutes, self.patients = minutes, patients

    def sessions(self, number: int, files: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
        if number > self.patients:
            return []
        return [
            (split, {**self.options(number, split, split), "minutes": self.minutes * share})
            for split, share in SESSIONS.items()
        ]

    def speech(self, options: dict[str, Any], files: list[str]) -> Speech:
        sounds, lexicon = audiobook_sounds(*files[:2]), read_dictionary(files[2])
        key = [options["seed"], options["number"], 61, *options["session"].encode()]
        rng = np.random.default_rng(key)
        many = max(1, round(options["minutes"] * 60 / SENTENCE_S))
        said = draw_sentences(rng, many, options["split"], seed=options["seed"])
        return speak(rng, said, lexicon, sounds)


class SpeechDemo(SimulatedSpeech):
    """Fewer minutes of fewer patients, ready in half a minute."""

    name = f"{NAME}_demo"
    facts = replace(
        SimulatedSpeech.facts,
        title=f"SIMULATED listening: the first two patients of {NAME}, 15 minutes each",
        splits="by session, 12 + 1.5 + 1.5 minutes of each patient; no sentence is in two splits",
    )

    def __init__(self) -> None:
        super().__init__(minutes=15.0, patients=2)


class SimulatedAudiobook(SimulatedListeners):
    """The same patients hear the ten trials of the real audiobook."""

    name = "simulated_audiobook"
    facts = Facts(
        title=f"SIMULATED listening: {len(TABLES)} depth-electrode patients hear naplib's "
        "audiobook, 644 s",
        licence="made by brainfm; contact coordinates MIT (neuroprobe), audiobook MIT (naplib)",
        citation=CITATION,
        origin=NEUROPROBE,
        kinds=("SEEG",),
        splits="by trial, as in naplib_speech: 7 train, 1 val, 2 test",
        nominal=(
            SIMULATED,
            "times of words and phonemes are estimated: forced alignment of the published text by "
            "pocketsphinx; sentences are what lies between pauses of 0.3 s",
        ),
    )

    def sessions(self, number: int, files: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
        names = sorted(read_alignment(files[1]))
        return [(n, self.options(number, n, SPLITS.get(n, "train"))) for n in names]

    def speech(self, options: dict[str, Any], files: list[str]) -> Speech:
        chapter = next(c for c in read_chapters(files[0]) if c.name == options["session"])
        mel_NF = log_mel(chapter.sound_T, chapter.sound_hz)
        words = read_alignment(files[1])[chapter.name]
        return Speech(mel_NF, events_of(words, len(mel_NF) / FRAMES_HZ), "naplib's audiobook")


def _heard(
    dataset: str, options: dict[str, Any], speech: Speech, contacts: Implantation
) -> Recording:
    return listen(
        options["seed"],
        options["number"],
        speech,
        session=options["session"],
        contacts=contacts,
        dataset=dataset,
    )


SPEECH = SimulatedSpeech()
DEMO = SpeechDemo()
AUDIOBOOK = SimulatedAudiobook()
