"""A tiny audiobook in the form of naplib's, an aligner that counts, and contact tables."""

import json

import numpy as np

from data_prep import download
from data_prep.audiobook import ALIGNMENT, VERSION
from data_prep.datasets.simulated_seizures import NEUROPROBE
from data_prep.datasets.simulated_speech import TABLES
from data_prep.packages import NAPLIB, NAPLIB_DEMO, NAPLIB_DICTIONARY, OPENWAKEWORD
from data_prep.speech_embedding import NETWORKS

SOUND_HZ, FRAMES_HZ, SECONDS = 11_025.0, 100.0, 6.0
TEXTS = {"stim01": "THE CAT SAT", "stim08": "A DOG SAT", "stim09": "THE DOG SAT"}
WORDS = {
    "the": "DH AH0",
    "a": "AH0",
    "cat": "K AE1 T",
    "dog": "D AO1 G",
    "sat": "S AE1 T",
}
HEADER = "btbank_id,electrode_label,name,num,mni152_x,mni152_y,mni152_z\n"


def write_book(path):
    """HDF5 as MATLAB writes cells: an object a field, references to arrays."""
    import h5py

    rng = np.random.default_rng(0)
    n = int(SECONDS * SOUND_HZ)
    with h5py.File(path, "w") as f:
        fields = {
            name: [] for name in ("name", "sound", "soundf", "script", "aud", "resp", "dataf")
        }
        for name, text in TEXTS.items():
            fields["name"].append(np.array([[ord(c)] for c in name], np.uint16))
            fields["script"].append(np.array([[ord(c)] for c in text], np.uint16))
            fields["sound"].append(rng.normal(size=(1, n)) * np.linspace(0.1, 1, n))
            fields["soundf"].append(np.array([[SOUND_HZ]]))
            fields["dataf"].append(np.array([[FRAMES_HZ]]))
            fields["aud"].append(rng.uniform(size=(int(SECONDS * FRAMES_HZ), 128)))
            fields["resp"].append(rng.normal(size=(int(SECONDS * FRAMES_HZ), 10)).cumsum(0))
        for name, values in fields.items():
            refs = f.create_dataset(f"out/{name}", (len(values), 1), h5py.ref_dtype)
            for k, value in enumerate(values):
                refs[k, 0] = f.create_dataset(f"cells/{name}{k}", data=value).ref
    return path


def aligned(text, onset=1.0, step=0.1):
    """Every phoneme lasts `step` seconds; the last word comes after half a second of silence."""
    words, t = [], onset
    for k, word in enumerate(text.split()):
        t += 0.5 * (k == len(text.split()) - 1)
        phonemes = []
        for symbol in WORDS[word.lower()].split():
            phonemes.append([symbol.rstrip("012"), round(t, 4), step])
            t += step
        words.append({"text": word, "phonemes": phonemes})
    return words


def write_fetched(root):
    """Everything that `fetch` would bring, small."""
    folder = download.source_folder(NAPLIB, root)
    folder.mkdir(parents=True)
    write_book(folder / NAPLIB_DEMO)
    (folder / NAPLIB_DICTIONARY).write_text("".join(f"{w.upper()} {p}\n" for w, p in WORDS.items()))
    alignment = {name: aligned(text) for name, text in TEXTS.items()}
    (folder / ALIGNMENT).write_text(json.dumps({"version": VERSION, "chapters": alignment}))
    _manifest(folder, (NAPLIB_DEMO, NAPLIB_DICTIONARY))
    folder = download.source_folder(NEUROPROBE, root)
    folder.mkdir(parents=True)
    for seed, table in enumerate(TABLES):
        write_contacts(folder / table, seed)
    _manifest(folder, TABLES)
    folder = download.source_folder(OPENWAKEWORD, root)
    folder.mkdir(parents=True)
    for name in NETWORKS:
        (folder / name).write_bytes(b"no network")
    _manifest(folder, NETWORKS)
    return root


def write_contacts(path, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(4):
        tip = np.array([58, -20 + 25 * s, 4]) + rng.normal(0, 2, 3)
        for k in range(10):
            x, y, z = tip - (3.5 * k, 0, 0)
            rows.append(f"1,L{chr(65 + s)}{k + 1},L{chr(65 + s)},{k + 1},{x},{y},{z}\n")
    path.write_text(HEADER + "".join(rows))


def _manifest(folder, names):
    sizes = {n: (folder / n).stat().st_size for n in names}
    (folder / download.MANIFEST).write_text(json.dumps(sizes))


class Segment:
    def __init__(self, name, start, duration, inside=()):
        self.name, self.start, self.duration, self.inside = name, start, duration, inside

    def __iter__(self):
        return iter(self.inside)


class CountingDecoder:
    """Stands for pocketsphinx: every phoneme lasts ten frames, silence comes first."""

    known = {"cat": "K AE T", "sat": "S AE T", "the": "DH AH", "a": "AH", "i": "AY"}
    finds = True

    def __init__(self, **settings):
        self.words, self.text, self.heard = dict(self.known), [], 0

    def lookup_word(self, word):
        return self.words.get(word)

    def add_word(self, word, phones, update):
        self.words[word] = phones

    def set_align_text(self, text):
        self.text = text.split()

    def set_alignment(self):
        # As the real one fails on a text that begins with a word of one phoneme.
        if len(self.words[self.text[0]].split()) == 1:
            raise RuntimeError("Failed to stop utterance processing")

    def start_utt(self):
        pass

    def process_raw(self, sound, full_utt):
        self.heard += len(sound) // 2

    def end_utt(self):
        if not self.finds:
            raise RuntimeError("Failed to stop utterance processing")

    def get_alignment(self):
        at = 50
        yield Segment("<sil>", 0, at, [Segment("SIL", 0, at)])
        for word in self.text:
            inside = []
            for symbol in self.words[word].split():
                inside.append(Segment(symbol, at, 10))
                at += 10
            yield Segment(f"{word}(2)", inside[0].start, 10 * len(inside), inside)
