"""A small Brain Treebank: neural files of the release, and a wheel like neuroprobe's."""

import io
import json
import zipfile

import h5py
import numpy as np
import pandas as pd
from prep_helpers import pink

import data_prep.datasets.brain_treebank as module
from data_prep.dataset import Package
from data_prep.download import sha256
from data_prep.readers.neuroprobe import MOVIES, SFREQ, members

LABELS = ("*T1a1", "T1a2#", "T1a3", "DC1", "F2b1")
"""The second is corrupted, the fourth a trigger, the last has no position."""


def words_of(n=40, first_s=2.0, every_s=0.9, seed=0):
    """Words of `n // 4` sentences, four words each, and their features."""
    rng = np.random.default_rng(seed)
    start = first_s + every_s * np.arange(n) + rng.random(n) * 0.3
    end = start + 0.25
    words = pd.DataFrame(
        {
            "original_index": np.arange(n) + 3,
            "est_idx": np.round(start * SFREQ).astype(float),
            "est_end_idx": np.round(end * SFREQ).astype(float),
            "start": start,
            "end": end,
            "context": "",
            "char_in_sentence": 0,
            "full_word": [["None", "of", "it", "null"][i % 4] for i in range(n)],
        }
    )
    rows = np.arange(n + 3) - 3
    features = pd.DataFrame(
        {
            "text": "w",
            "sentence": [f"Sentence {i // 4}" for i in rows],
            "idx_in_sentence": rows % 4,
            "is_onset": (rows % 4 == 0).astype(float),
            "pos": [["NOUN", "VERB", "PRON", "DET"][i % 4] for i in rows],
            "bin_head": rows % 2,
            "rms": rows.astype(float),
            "delta_rms": -rows.astype(float),
            "face_num": rows % 3,
            "word_length": rows % 7 + 1.0,
            "gpt2_surprisal": np.where(rows % 10 == 0, np.nan, rows),
            "mean_pixel_brightness": rows % 5 + 0.0,
            "max_global_magnitude": rows + 0.5,
            "max_vector_magnitude": rows + 0.5,
        }
    )
    return words, features


def write_wheel(root, words, silence_s=(0.0, 0.5, 1.0, 38.0, 38.5, 39.0), electrodes=("T1a1",)):
    """Members that matter hold `words` for every trial; returns the package to trust."""
    nonverbal = pd.DataFrame({"start": silence_s, "end": np.add(silence_s, 1)})
    nonverbal["est_idx"] = np.round(np.array(silence_s) * SFREQ).astype(int)
    nonverbal["est_end_idx"] = nonverbal["est_idx"] + SFREQ
    pitch = {str(s): {"word": "w", "enhanced_pitch": 100 + s} for s in words["start"]}
    lite = {f"btbank{s}": list(electrodes) for s in range(1, 11)}
    config = f"import os\nROOT_DIR = os.environ['X']\nNEUROPROBE_LITE_ELECTRODES = {lite!r}\n"
    coords = "btbank_id,electrode_label,mni152_x,mni152_y,mni152_z\n"
    coords += "1,T1a1,-50,-20,5\n1,T1a2,-48,-20,5\n1,T1a3,-46,-20,5\n"
    content = {"words_df.csv": words.to_csv(index=False), "config.py": config}
    content |= {"nonverbal_df.csv": nonverbal.to_csv(index=False), "mni_coords.csv": coords}
    content["pitch_volume_features.json"] = json.dumps(pitch)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as z:
        for member in members():
            z.writestr(member, next(v for k, v in content.items() if member.endswith(k)))
    path = root / "downloads" / "neuroprobe-0.1.8-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue())
    return Package("neuroprobe", "0.1.8", sha256(path), mb=1)


def write_trial(root, subject=1, trial=1, seconds=40, features=None, labels=LABELS, **odd):
    """One neural file with everything that lies beside it; (electrodes, samples) in microvolt."""
    home = root / "brain_treebank"
    folder = home / "electrode_labels" / f"sub_{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "electrode_labels.json").write_text(json.dumps(list(labels)))
    (home / "corrupted_elec.json").write_text(json.dumps({f"sub_{subject}": ["T1a2"]}))
    x_CT = pink(len(LABELS), SFREQ * seconds, seed=10 * subject + trial) * 1e6
    path = home / f"sub_{subject}_trial{trial:03d}.h5"
    with h5py.File(path, "w") as f:
        for i, x in enumerate(x_CT):
            f[f"data/electrode_{i}"] = odd.get(f"electrode_{i}", x.astype("f4"))
    if features is not None:
        folder = home / "transcripts" / MOVIES[subject, trial]
        folder.mkdir(parents=True, exist_ok=True)
        features.to_csv(folder / "features.csv")
    return path, x_CT


def trust(monkeypatch, package):
    monkeypatch.setattr(module, "NEUROPROBE", package)
