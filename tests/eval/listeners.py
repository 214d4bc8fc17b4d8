"""Two simulated listeners whose contacts tell every phoneme apart, and decoders that know all."""

from types import SimpleNamespace

import numpy as np
import torch

from brainfm.data.speech import SpeechTargets
from brainfm.data.store import Store, build_tables, write_recording
from brainfm.data.synthetic import synthetic_recording
from brainfm.signals.phonemes import phoneme_id
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Event, Stimulus
from eval.speech.decoders import Trained

RECIPE = Recipe(sfreq=128.0, lowpass_hz=50.0)
PREPROCESS = Preprocess(recipe=RECIPE)
PHONES = {
    "cat": "K AE T",
    "dog": "D AO G",
    "sack": "S AE K",
    "tug": "T AH G",
    "sock": "S AO K",
    "dad": "D AE D",
}
WORDS = tuple(PHONES)
SOUNDS = sorted({p for spelled in PHONES.values() for p in spelled.split()})
"""One contact each."""
PHONE_S, PAUSE_S, MEL_HZ = 0.2, 0.8, 25.0
SENTENCES = {"train": 30, "val": 4, "test": 8}
DATASET = "simulated_words"


def sentences_of(split, subject, n=None):
    """Four words each; splits have other sentences, patients of one split the same words."""
    first = {"train": 0, "val": 1, "test": 2}[split]
    rng = np.random.default_rng([first, int(subject)])
    found = []
    while len(found) < (n or SENTENCES[split]):
        words = rng.integers(0, len(WORDS), 4)
        # What a sentence adds up to decides the split it belongs to.
        if words.sum() % 3 == first and list(words) not in found:
            found.append(list(words))
    return [" ".join(WORDS[k] for k in words) for words in found]


def listener(sentences, *, split, subject="01", seed=0, power=6.0):
    """A contact is loud at 20 Hz while its phoneme is said; features "mel" are who is loud."""
    events, t = [], PAUSE_S
    for sentence in sentences:
        begin = t
        for word in sentence.split():
            events.append(Event(round(t, 3), 3 * PHONE_S, f"word:{word}"))
            for symbol in PHONES[word].split():
                events.append(Event(round(t, 3), PHONE_S, f"phoneme:{symbol}"))
                t += PHONE_S
        events.append(Event(round(begin, 3), round(t - begin, 3), f"sentence:{sentence}"))
        t += PAUSE_S
    seconds = int(np.ceil(t + 2))
    r = synthetic_recording(
        "SEEG", seconds, len(SOUNDS), seed, sfreq=RECIPE.sfreq, subject=subject, split=split,
        name=split, dataset=DATASET,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    at = np.arange(len(r.signal)) / RECIPE.sfreq
    x = rng.normal(size=r.signal.shape)
    mel = np.zeros((int(seconds * MEL_HZ), len(SOUNDS)), np.float32)
    frames = (np.arange(len(mel)) + 0.5) / MEL_HZ
    for e in (e for e in events if e.label.startswith("phoneme:")):
        c = SOUNDS.index(e.label.removeprefix("phoneme:"))
        stop = e.onset_s + e.duration_s
        loud = (at >= e.onset_s) & (at < stop)
        x[loud, c] += power * np.sin(2 * np.pi * 20 * at[loud] + rng.uniform(0, 6))
        mel[(frames >= e.onset_s) & (frames < stop), c] = 1 + 0.1 * rng.normal()
    r.signal = (x * 1e-5).astype(np.float32)
    r.events, r.stimulus = sorted(events), {"mel": Stimulus(mel, MEL_HZ)}
    r.split_group = f"{DATASET}/{subject}/{split}"
    return r


def listeners(root, said=None, subjects=("01", "02"), **more):
    """A store of every split of every subject.

    Parameters
    ----------
    said : (split, subject) -> sentences, instead of drawn ones
    """
    for i, subject in enumerate(subjects):
        for k, split in enumerate(SENTENCES):
            sentences = (said or {}).get((split, subject)) or sentences_of(split, subject)
            r = listener(sentences, split=split, subject=subject, seed=10 * i + k, **more)
            write_recording(r, root / DATASET / f"{subject}_{split}.safetensors", recipe=RECIPE)
    build_tables(root)
    return Store(root)


TARGETS = {
    "classify": SpeechTargets(unit="word", stop_s=0.6),
    "ctc": SpeechTargets(unit="sentence", stop_s=0.4, phonemes=True),
    "align": SpeechTargets(unit="segment", segment_s=1.0, stimulus="mel"),
    "regress": SpeechTargets(unit="segment", segment_s=1.0, stimulus="mel"),
}


class Oracle:
    """Knows what was said in each tested window; says nothing of any other, or of zeros.

    Parameters
    ----------
    plan : of the tested windows
    """

    def __init__(self, plan, head):
        self.preprocess, self.known, self.asked = PREPROCESS, {}, []
        self.config = SimpleNamespace(head=head, vocabulary=WORDS if head == "classify" else ())
        for w in (*plan.test, *plan.val):
            self.known[w.ref] = self.truth(head, w)
        self.head = Same()

    def truth(self, head, w):
        if head == "classify":
            return 9.0 * torch.eye(len(WORDS))[WORDS.index(w.text)]
        if head == "ctc":
            # A blank between any two, so that what is said twice is found twice.
            path = torch.tensor([x for k in w.symbols for x in (k, 0)])
            return torch.log(torch.nn.functional.one_hot(path, 41) * 0.9 + 0.1 / 41)
        x_NF = torch.from_numpy(w.stimulus_NF)
        return self_unit(x_NF) if head == "align" else x_NF

    def predict(self, batch):
        self.asked += batch.refs
        said = []
        for ref, x in zip(batch.refs, batch.x_BCWP, strict=True):
            blank = self.nothing(ref)
            said.append(self.known.get(ref, blank) if float(x.abs().max()) else blank)
        return torch.stack(said)

    def nothing(self, ref):
        like = next(v for r, v in self.known.items() if r.length == ref.length)
        if self.config.head == "ctc":
            return torch.full((round(ref.length / RECIPE.sfreq * 25), 41), -float(np.log(41)))
        return torch.zeros_like(like)

    def to(self, device):
        return self

    def eval(self):
        return self


class Same(torch.nn.Module):
    """A head that takes speech as it is."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def speech(self, stimulus_BNF):
        return torch.stack([self_unit(x) for x in stimulus_BNF])


def self_unit(x_NF):
    return torch.nn.functional.normalize(x_NF.flatten(), dim=0)


def trained(decoder, name="oracle", run=None, query="", twin=False):
    head = decoder.config.head
    return Trained(name, run or name, f"{name}/export", decoder, TARGETS[head], None, query, twin)


def symbols(words):
    return tuple(phoneme_id(p) for word in words.split() for p in PHONES[word].split())
