"""Six hundred damaged files: none crashes a run, none enters silently.

Neither EDF nor FIF has a checksum, so a changed sample that is still plausible cannot be told
from a recorded one. What "silently" means here: a damaged file that is accepted without a word
beyond those of the sound file must be one of

- unaffected: the same sensors, and samples within 1e-4 of the signal's size;
- a single changed sample of one channel, smaller than a spike (`QualityConfig.spike`): seen in
  the raw samples, which differ nowhere else;
- a changed text or time of an annotation;
- in FIF, a sensor position changed by less than a millimetre.

Structure (rate, number of channels and samples, units, names, ranges, duration) never changes
unnoticed, with two exceptions that no reader can see: an electrode's name that a flipped bit
turns into another electrode's name, and, in plain EDF without the time stamps of EDF+, a record
length that turns one usual sampling rate into another.
"""

import random
from dataclasses import dataclass

import numpy as np
import pytest
from prep_helpers import fif_tags

from brainfm.errors import DataError
from brainfm.signals.files.raw import read_raw
from brainfm.signals.positions import standard_positions
from brainfm.signals.preprocess import Recipe
from data_prep.continuous import load_continuous
from data_prep.dataset import Job
from data_prep.prepare import prepare_one

N_EACH = 300
RECIPE = Recipe()


@dataclass
class Mutant:
    content: bytes
    at: int
    cut: bool


def mutants(content, header, seed):
    """A fifth truncations, two fifths flips in `header` (byte positions), the rest anywhere."""
    rng = random.Random(seed)
    for k in range(N_EACH):
        if k % 5 == 0:
            at = rng.randrange(len(content))
            yield Mutant(content[:at], at, True)
            continue
        at = rng.choice(header) if k % 5 < 3 else rng.randrange(len(content))
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(8)
        yield Mutant(bytes(changed), at, False)


def edf_header(content):
    return range(256 * (int(content[252:256]) + 1))


def fif_header(content):
    samples = {i for kind, a, b in fif_tags(content) if kind == 300 for i in range(a, b)}
    return [i for i in range(len(content)) if i not in samples]


def judge(path, mutant, sound, sound_raw):
    """One word on what became of a damaged file."""
    path.write_bytes(mutant.content)
    try:
        found = load_continuous(path, RECIPE, line_freq=50.0)
    except DataError as e:
        assert str(path) in str(e) and ";" in str(e), f"no file or no remedy in: {e}"
        return "refused"
    assert not mutant.cut, f"truncated at byte {mutant.at} and accepted"
    assert np.isfinite(found.signal).all()
    if found.notes != sound.notes:
        return "noted"
    if found.channels.name != sound.channels.name:
        return "renamed" if set(found.channels.name) <= set(standard_positions()) else "SILENT"
    if found.signal.shape != sound.signal.shape or found.sfreq != sound.sfreq:
        return "SILENT"
    if (found.channels.kind != sound.channels.kind).any() or found.line_freq != sound.line_freq:
        return "SILENT"
    moved = np.abs(found.channels.pos_m - sound.channels.pos_m).max()
    if moved > 1e-3:
        return "SILENT"
    if np.abs(found.signal - sound.signal).max() > 1e-4 * sound.signal.std():
        raw, _ = read_raw(path)
        changed = np.abs(raw.get_data() - sound_raw).max(0) > 0
        channels = np.abs(raw.get_data() - sound_raw).max(1) > 0
        return "one sample" if changed.sum() == 1 and channels.sum() == 1 else "SILENT"
    if found.events != sound.events:
        return "annotation"
    return "unaffected" if moved == 0 else "under a millimetre"


@pytest.mark.parametrize("kind", ["edf", "fif"])
def test_no_damaged_file_crashes_or_enters_silently(tmp_path, edf_bytes, fif_bytes, kind):
    content = edf_bytes if kind == "edf" else fif_bytes
    header = list(edf_header(content) if kind == "edf" else fif_header(content))
    path = tmp_path / ("sound.edf" if kind == "edf" else "sound_raw.fif")
    path.write_bytes(content)
    sound = load_continuous(path, RECIPE, line_freq=50.0)
    sound_raw = read_raw(path)[0].get_data()
    counts = {}
    for k, mutant in enumerate(mutants(content, header, seed=len(kind) + 11)):
        damaged = tmp_path / ("damaged.edf" if kind == "edf" else "damaged_raw.fif")
        what = judge(damaged, mutant, sound, sound_raw)
        counts[what] = counts.get(what, 0) + 1
        assert what != "SILENT", f"flip {k} at byte {mutant.at} entered silently"
    assert sum(counts.values()) == N_EACH
    assert counts["refused"] >= N_EACH // 5  # all truncations, and more
    # A renamed electrode is the one structural change that nothing in the file contradicts.
    assert counts.get("renamed", 0) <= 0.02 * N_EACH


def test_damaged_files_go_through_the_run_as_outcomes(tmp_path, edf_bytes):
    statuses = set()
    for k, mutant in enumerate(mutants(edf_bytes, list(edf_header(edf_bytes)), seed=5)):
        if k == 40:
            break
        path = tmp_path / f"m{k}.edf"
        path.write_bytes(mutant.content)
        options = {"source_root": str(tmp_path), "bids": False, "line_freq": 50.0, "unit": None}
        options |= {"montage": "standard_1005", "duplicates": "raise", "subject": None}
        job = Job("user", path.name, (str(path),), options)
        outcome = prepare_one(job, RECIPE, tmp_path / "store")
        statuses.add(outcome.status)
        published = list((tmp_path / "store").glob("user/*"))
        assert all(p.suffix == ".safetensors" for p in published)
        if outcome.status == "refused":
            assert path.name in outcome.reason
    assert statuses == {"done", "refused"}
