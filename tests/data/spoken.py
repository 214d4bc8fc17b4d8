"""Recordings with a known transcript, and stores of them."""

import numpy as np

from brainfm.data.store import Store, build_tables, write_recording
from brainfm.data.synthetic import synthetic_recording
from brainfm.signals.preprocess import Recipe
from brainfm.signals.spelling import normalise
from brainfm.types import Event, Stimulus

RECIPE = Recipe(sfreq=100.0, lowpass_hz=40.0)
SAYS = {
    "train": ["the cat sat", "a dog ran home"],
    "val": ["the dog sat"],
    "test": ["a cat ran home"],
}
PHONES = {
    "the": "DH AH",
    "a": "AH",
    "cat": "K AE T",
    "sat": "S AE T",
    "dog": "D AO G",
    "ran": "R AE N",
    "home": "HH OW M",
}
PHONE_S, PAUSE_S = 0.1, 1.0


def events_of(sentences):
    """Each phoneme lasts 0.1 s, each sentence is followed by a second of silence."""
    events, t = [], PAUSE_S
    for sentence in sentences:
        begin = t
        for word in sentence.split():
            onset = t
            for symbol in PHONES[normalise(word)].split():
                events.append(Event(round(t, 3), PHONE_S, f"phoneme:{symbol}"))
                t += PHONE_S
            events.append(Event(round(onset, 3), round(t - onset, 3), f"word:{word}"))
        events.append(Event(round(begin, 3), round(t - begin, 3), f"sentence:{sentence}"))
        events.append(Event(round(t, 3), PAUSE_S, "phoneme:SIL"))
        t += PAUSE_S
    return sorted(events), t


def spoken_recording(sentences, *, subject="01", split="train", seed=0, rate_hz=50.0, n_features=2):
    """Feature 0 of stimulus "clock" is the time of its frame in seconds, feature 1 its square."""
    events, seconds = events_of(sentences)
    n = int(np.ceil(seconds + 1))
    recording = synthetic_recording(
        "SEEG", n, 4, seed, sfreq=RECIPE.sfreq, subject=subject, name=split, split=split
    )
    recording.split_group = f"spoken/{subject}/{split}"
    recording.events = events
    middle = (np.arange(int(n * rate_hz)) + 0.5) / rate_hz
    values = np.stack([middle**k for k in range(1, n_features + 1)], 1).astype(np.float32)
    recording.stimulus = {"clock": Stimulus(values, rate_hz)}
    return recording


def spoken_store(root, says=SAYS, **more):
    for seed, (split, sentences) in enumerate(says.items()):
        recording = spoken_recording(sentences, split=split, seed=seed, **more)
        write_recording(recording, root / "spoken" / f"{split}.safetensors", recipe=RECIPE)
    build_tables(root)
    return Store(root)


def row_of(store, split):
    return int(store.recordings.index[store.recordings["split"] == split][0])
