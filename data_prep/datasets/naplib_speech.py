"""Ten minutes of an audiobook and the ten electrodes that naplib's authors simulated for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.mel import FRAMES_HZ, log_mel
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording, Stimulus
from data_prep.audiobook import (
    SPLITS,
    audiobook_files,
    events_of,
    fetch_audiobook,
    read_alignment,
    read_chapters,
)
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.packages import NAPLIB
from data_prep.speech_embedding import (
    EMBEDDING_HZ,
    NAME,
    fetch_networks,
    network_files,
    speech_embedding,
)
from data_prep.whisper_features import FEATURES_HZ as WHISPER_HZ
from data_prep.whisper_features import NAME as WHISPER
from data_prep.whisper_features import whisper_features, whisper_files

VOLT = 1e-4
"""What one deviation of an electrode is taken as; the file has no unit."""


class NaplibSpeech(DataSet):
    """One recording a trial, with words, phonemes, sentences and what was heard.

    Stimuli: "mel", "auditory" (the package's own), "speech_embedding", and "whisper" where weights
    of Whisper tiny.en are on this machine (`data_prep.whisper_features`).
    """

    name = "naplib_speech"
    facts = Facts(
        title="Audiobook, 10 trials, 644 s, with text; 10 electrodes SIMULATED by naplib's authors",
        licence="MIT (naplib); networks of the embedding: see openwakeword 0.4.0",
        citation="naplib-python: Mischler et al., Software Impacts 17, 2023",
        origin=NAPLIB,
        kinds=("SEEG",),
        splits="by trial: 7 train, 1 val, 2 test; nobody says whether anything is said twice",
        nominal=(
            "the electrodes are simulated: receptive fields and noise, says the package",
            "times of words and phonemes are estimated: forced alignment of the published text by "
            "pocketsphinx, to hundredths of a second; sentences are what lies between pauses of "
            "0.3 s",
            "the unit is not stated: one deviation of each electrode is taken as 100 uV",
            "positions are not stated; electrodes are taken for depth electrodes",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        fetch_audiobook(root, say)
        fetch_networks(root, say)

    def jobs(self, root: Path) -> list[Job]:
        files, networks = audiobook_files(root), network_files(root)
        if files is None or networks is None:
            return []
        names = sorted(read_alignment(files[1]))
        return [Job(self.name, name, (*files[:2], *networks, *whisper_files())) for name in names]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        demo, alignment, *networks = job.files
        whisper = tuple(networks[2:])
        chapter = next((c for c in read_chapters(demo) if c.name == job.name), None)
        if chapter is None:
            raise DataError(f"{demo}: holds no trial '{job.name}'; fetch the data set again")
        recording = recording_from_raw(
            _raw(chapter.answers_NE, chapter.frames_hz),
            recipe=recipe,
            dataset=self.name,
            subject="simulated",
            session=job.name,
            name=job.name,
            source=demo,
            split=SPLITS.get(job.name, "train"),
            split_group=f"{self.name}/{job.name}",
        )
        words = read_alignment(alignment)[job.name]
        sound, rate = chapter.sound_T, chapter.sound_hz
        recording.events = events_of(words, min(recording.duration_s, len(sound) / rate))
        recording.stimulus = {
            "mel": Stimulus(log_mel(sound, rate), FRAMES_HZ),
            "auditory": Stimulus(chapter.auditory_NF.astype(np.float32), chapter.frames_hz),
            NAME: Stimulus(speech_embedding(sound, rate, (networks[0], networks[1])), EMBEDDING_HZ),
        }
        if whisper:
            recording.stimulus[WHISPER] = Stimulus(
                whisper_features(sound, rate, whisper), WHISPER_HZ
            )
        recording.notes = ["SIMULATED: the electrodes, by naplib's authors", *recording.notes]
        recording.notes += self.facts.nominal[1:]
        return recording


def _raw(answers_NE: NDArray[np.floating], sfreq: float) -> Any:
    import mne

    names = [f"sim{k + 1}" for k in range(answers_NE.shape[1])]
    info = mne.create_info(names, sfreq, "seeg", verbose="ERROR")
    scaled = (answers_NE - answers_NE.mean(0)) / answers_NE.std(0) * VOLT
    return mne.io.RawArray(scaled.T, info, verbose="ERROR")


DATASET = NaplibSpeech()
