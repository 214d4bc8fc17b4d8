"""Tables of what was heard, as events: words, phonemes and sentences in seconds of the recording.

Every table of a data set is read here cell by cell, as text; what it means is told by its data set.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.signals.phonemes import PHONEME, SENTENCE, WORD, phoneme_id, phoneme_symbol
from brainfm.types import Event, Recording

TIMIT = {
    symbol: ours
    for ours, theirs in {
        "AH": "ax ax-h",
        "ER": "axr",
        "IH": "ix",
        "UW": "ux",
        "B": "bcl",
        "D": "dcl dx",
        "G": "gcl",
        "HH": "hv",
        "K": "kcl q",
        "L": "el",
        "M": "em",
        "N": "en nx",
        "NG": "eng",
        "P": "pcl",
        "T": "tcl",
    }.items()
    for symbol in theirs.split()
}
"""Symbols of TIMIT that ARPAbet does not have, as `pnpl` 0.2.0 folds them; those that are missing
here are the same but for their case."""

PAUSES = ("sil", "h#", "epi", "pau", "sp", "oov", "spn", "")
"""No phoneme: silence, pauses, and words that the aligner did not know."""


@dataclass
class Heard:
    """What a table says, collected row by row.

    Attributes
    ----------
    words : events with plain texts and the number of the sentence they belong to, "" for none
    phonemes : events with ARPAbet symbols
    left_out : counts by reason
    """

    words: list[tuple[Event, str]] = field(default_factory=list)
    phonemes: list[Event] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def word(self, onset_s: float, duration_s: float, text: str, sentence: str = "") -> None:
        self.words.append((Event(onset_s, duration_s, text.strip()), sentence))

    def phoneme(self, onset_s: float, duration_s: float, symbol: str, where: str) -> None:
        """Keep a phoneme of ARPAbet or TIMIT; "ih_B" is "ih" at the beginning of a word.

        Raises
        ------
        DataError
            If the symbol is neither, nor a pause.
        """
        plain = symbol.strip().strip("\"'").split("_")[0]
        if plain.lower() in PAUSES:
            self.left_out["pauses and unaligned words among the phonemes"] += 1
            return
        try:
            number = phoneme_id(TIMIT.get(plain.lower(), plain))
        except DataError as e:
            raise DataError(f"{where}: {e}") from e
        self.phonemes.append(Event(onset_s, duration_s, phoneme_symbol(number)))

    def events(self) -> list[Event]:
        """Sentences, words and phonemes, each in order of onset.

        Words of one sentence that follow each other are one; a sentence lasts from the beginning
        of its first to the end of its last word.
        """
        words = sorted(self.words, key=lambda w: w[0].onset_s)
        groups: list[list[Event]] = []
        last = ""
        for word, sentence in words:
            if sentence and sentence == last:
                groups[-1].append(word)
            elif sentence:
                groups.append([word])
            last = sentence
        out = []
        for group in groups:
            start, stop = group[0].onset_s, max(w.onset_s + w.duration_s for w in group)
            text = " ".join(w.label for w in group)
            out.append(Event(start, stop - start, f"{SENTENCE}{text}"))
        out += [word._replace(label=WORD + word.label) for word, _ in words]
        phonemes = sorted(self.phonemes, key=lambda p: p.onset_s)
        return out + [p._replace(label=PHONEME + p.label) for p in phonemes]


def say(recording: Recording, heard: Heard, table: Path) -> Recording:
    """Put what was heard into the recording's events.

    Raises
    ------
    DataError
        If the table does not fit the recording: empty words, times before its beginning or past
        its end, or no word at all.
    """
    if not heard.words and not heard.phonemes:
        raise DataError(f"{table}: has no word and no phoneme; fetch it again")
    events = heard.events()
    transcript_of(events, recording.duration_s, str(table))
    recording.events = events
    recording.notes += [f"{n} {why} are left out" for why, n in heard.left_out.items()]
    return recording


def read_rows(path: Path, needs: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table with a header and tabs between its cells, which stay text.

    Parameters
    ----------
    needs : columns that must be there

    Raises
    ------
    DataError
        If the file is missing or no table, lacks a column, or a row lacks cells.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            reader = csv.DictReader(f, delimiter="\t")
            names = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        what = "missing" if isinstance(e, FileNotFoundError) else f"no readable table ({e})"
        raise DataError(f"{path}: {what}; fetch it again") from e
    missing = [c for c in needs if c not in names]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)}; fetch it again")
    for line, row in enumerate(rows, 2):
        if any(row[c] is None for c in needs):
            raise DataError(f"{path}: line {line} is cut off; fetch it again")
    return rows


def seconds(path: Path, line: int, text: str | None, what: str) -> float:
    """A cell as seconds.

    Raises
    ------
    DataError
        If it is no finite number.
    """
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    # NaN and infinity compare false.
    if not abs(value) < 1e9:
        raise DataError(f"{path}: {what} in line {line} is '{text}', no time; fetch it again")
    return value
