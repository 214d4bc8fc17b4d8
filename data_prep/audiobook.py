"""The audiobook inside the `naplib` package: sound, text, and where every phoneme lies in it.

The transcripts carry no times. They are aligned to the sound once, by pocketsphinx, with the words
of the CMU Pronouncing Dictionary; the result is kept beside the unpacked files.

Shapes: T samples, N frames, E electrodes, F bands.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.publish import publish
from brainfm.data.speech_sounds import Lexicon
from brainfm.errors import DataError
from brainfm.signals.phonemes import PHONEME, SENTENCE, SILENCE, WORD, phoneme_id
from brainfm.types import Event
from data_prep.aligner import Aligned, align
from data_prep.dataset import Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import NAPLIB, NAPLIB_DEMO, NAPLIB_DICTIONARY, NAPLIB_MEMBERS

ALIGNMENT = "alignment.json"
VERSION = 1
"""Raised when the aligner gives other times for the same sound and text."""
PAUSE_S = 0.3
"""A pause so long ends a sentence: the transcripts have no punctuation."""

SPLITS = {"stim08": "val", "stim09": "test", "stim10": "test"}
"""The other trials train: the book is read in order, so what comes later is judged on."""


@dataclass(frozen=True)
class Chapter:
    """One trial of the demonstration set.

    Attributes
    ----------
    name : "stim01" to "stim10"
    sound_T, sound_hz : one channel
    text : upper case, no punctuation
    auditory_NF : auditory spectrogram of the package, 128 bands
    answers_NE : simulated electrodes of the package
    frames_hz : of both
    """

    name: str
    sound_T: NDArray[np.float64]
    sound_hz: float
    text: str
    auditory_NF: NDArray[np.float64]
    answers_NE: NDArray[np.float64]
    frames_hz: float


def fetch_audiobook(root: Path, say: Progress) -> None:
    """Unpack the package's files and align the text, once.

    Raises
    ------
    DataError
        If the package cannot be had, or pocketsphinx is not installed.
    """
    folder = unpack(NAPLIB, NAPLIB_MEMBERS, root, say)
    if (folder / ALIGNMENT).is_file() and _version(folder / ALIGNMENT) == VERSION:
        return
    say("aligning ten minutes of speech to their text with pocketsphinx, about half a minute")
    words = read_dictionary(str(folder / NAPLIB_DICTIONARY))
    found = {
        c.name: [asdict(word) for word in align(c.sound_T, c.sound_hz, c.text, words, c.name)]
        for c in read_chapters(str(folder / NAPLIB_DEMO))
    }
    with publish(folder / ALIGNMENT) as temporary:
        temporary.write_text(json.dumps({"version": VERSION, "chapters": found}))


def audiobook_files(root: Path) -> tuple[str, str, str] | None:
    """Sound and text, alignment, and dictionary; None before `fetch_audiobook`."""
    folder = source_folder(NAPLIB, root)
    if not unpacked(NAPLIB, list(NAPLIB_MEMBERS.values()), root):
        return None
    if not (folder / ALIGNMENT).is_file():
        return None
    names = (NAPLIB_DEMO, ALIGNMENT, NAPLIB_DICTIONARY)
    return tuple(str(folder / name) for name in names)  # type: ignore[return-value]


@lru_cache(maxsize=1)
def read_chapters(path: str) -> tuple[Chapter, ...]:
    """All trials of the file (HDF5, MATLAB 7.3).

    Raises
    ------
    DataError
        If h5py is missing, or a field is missing or of another shape.
    """
    try:
        import h5py
    except ImportError as e:
        raise DataError(
            f"{path}: is read with h5py, which is not installed; "
            "pip install 'brainfm-decoding[prep]'"
        ) from e
    chapters = []
    try:
        with h5py.File(path) as f:
            fields = f["out"]

            def field(name: str, k: int) -> NDArray[Any]:
                return np.asarray(f[fields[name][k, 0]])

            for k in range(len(fields["name"])):
                chapters.append(
                    Chapter(
                        "".join(map(chr, field("name", k).ravel())),
                        field("sound", k).ravel(),
                        float(field("soundf", k).ravel()[0]),
                        "".join(map(chr, field("script", k).ravel())),
                        field("aud", k),
                        field("resp", k),
                        float(field("dataf", k).ravel()[0]),
                    )
                )
    except (OSError, KeyError, ValueError, IndexError) as e:
        raise DataError(f"{path}: cannot be read ({e}); fetch the data set again") from e
    return tuple(chapters)


@lru_cache(maxsize=1)
def read_dictionary(path: str) -> Lexicon:
    """Lower-case words and their first pronunciation, without stress.

    Raises
    ------
    DataError
        If a line holds no pronunciation.
    """
    words: dict[str, tuple[str, ...]] = {}
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            word, *symbols = line.split()
            if not symbols:
                raise DataError(f"{path}: line {number} has no phonemes; fetch the data set again")
            words.setdefault(word.lower(), tuple(s.rstrip("012") for s in symbols))
    return words


def read_alignment(path: str) -> dict[str, list[Aligned]]:
    """Words of every chapter, with their times.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        content = json.loads(Path(path).read_text())
        return {
            name: [Aligned(w["text"], [(s, a, d) for s, a, d in w["phonemes"]]) for w in words]
            for name, words in content["chapters"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path}: damaged ({type(e).__name__}); delete it and fetch again") from e


def events_of(words: list[Aligned], seconds: float) -> list[Event]:
    """Words, phonemes with the silences between them, and sentences: what lies between pauses of
    `PAUSE_S`.
    """
    events: list[Event] = []
    sentence: list[Aligned] = []
    before = 0.0
    for word in words:
        if sentence and word.onset_s - before >= PAUSE_S:
            events.append(_sentence(sentence))
            sentence = []
        if word.onset_s - before > 1e-6:
            events.append(Event(before, word.onset_s - before, PHONEME + SILENCE))
        events.append(Event(word.onset_s, word.end_s - word.onset_s, WORD + word.text))
        for symbol, onset_s, duration_s in word.phonemes:
            phoneme_id(symbol)
            events.append(Event(onset_s, duration_s, PHONEME + symbol))
        sentence.append(word)
        before = word.end_s
    if sentence:
        events.append(_sentence(sentence))
    if seconds > before:
        events.append(Event(before, seconds - before, PHONEME + SILENCE))
    return sorted(events)


def _sentence(words: list[Aligned]) -> Event:
    onset_s, end_s = words[0].onset_s, words[-1].end_s
    return Event(onset_s, end_s - onset_s, SENTENCE + " ".join(w.text for w in words))


def _version(path: Path) -> int | None:
    try:
        return json.loads(path.read_text()).get("version")
    except (OSError, ValueError, AttributeError):
        # Left by a killed run: it is made again.
        return None
