"""Images found again: known answers, ties, repeats, lobes, leaks, and the whole command."""

import json

import numpy as np
import pytest
import torch

from brainfm.data.format import write_recording
from brainfm.data.images import ImageTable, ImageTargets
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.speech.decoder import SpeechDecoder, SpeechDecoderConfig
from brainfm.types import Channels, Event, Kind, Recording
from eval.images.__main__ import main
from eval.images.retrieve import (
    by_decoder,
    by_ridge,
    difference,
    pool_of,
    ranks,
    read_people,
    shuffled,
    summarise,
)

E, TRAIN, TEST = 4, 60, 8
BACK, FRONT = (0.014, -0.081, 0.006), (0.012, 0.03, 0.043)
"""Places in the occipital and in the frontal lobe."""


def person(rng, vectors, rows, split, subject):
    """Six parcels at the back answer to images 4 to 6 s later, six in front do not."""
    n = 6 * len(rows) + 20
    weight = np.random.default_rng(3).normal(size=(E, 6))
    x = 0.3 * rng.normal(size=(n, 12))
    events = []
    for i, row in enumerate(rows):
        x[6 * i + 4 : 6 * i + 7, :6] += vectors[row] @ weight
        events.append(Event(6.0 * i, 3.0, f"image:{row}"))
    place = np.repeat([BACK, FRONT], 6, 0) + 0.002 * np.random.default_rng(4).normal(size=(12, 3))
    names, kind = tuple(f"P{i}" for i in range(12)), np.full(12, Kind.BOLD)
    channels = Channels(names, kind, place, np.zeros((12, 3)), ("au",) * 12, "mni", "none")
    return Recording(
        x.astype(np.float32),
        1.0,
        channels,
        "seen",
        subject,
        name=f"{subject}_{split}",
        events=events,
        split=split,
        split_group=f"seen/{subject}/{split}",
    )


def store_of(root, leak=False):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(TEST + TRAIN, E)).astype(np.float32)
    for subject in ("01", "02"):
        tests = rng.permutation(np.tile(np.arange(TEST), 2))
        taught = np.arange(TEST - 1 if leak else TEST, TEST + TRAIN)
        for split, rows in (("train", taught), ("test", tests)):
            r = person(rng, vectors, rows.tolist(), split, subject)
            write_recording(r, root / "seen" / f"{r.name}.safetensors", recipe=Recipe())
    build_tables(root)
    names = tuple(str(i) for i in range(len(vectors)))
    path = ImageTable(names, vectors, "normal numbers").write(root / "images.safetensors")
    return Store(root), ImageTargets(str(path))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def decoder():
    """One that learned nothing."""
    torch.manual_seed(0)
    stream = {"bold_step_s": 4.0, "bold_points": 4}
    contract = Preprocess(Recipe(), Normalise(reference="none", scale="kind_std"))
    encoder = UnifiedEncoder(UnifiedEncoderConfig(preset="test", stream=stream), contract)
    sizes = {"n_features": E, "n_frames": 1}
    return SpeechDecoder(SpeechDecoderConfig(head="align", head_sizes=sizes), encoder=encoder)


def test_ridge_finds_what_was_seen_and_only_where_it_is_answered(seen):
    store, targets = seen
    people, table = read_people(store, targets), ImageTable.read(targets.table)
    pool = pool_of(people)
    assert len(people) == 2 and pool == sorted(str(i) for i in range(TEST))
    found = {
        lobes: summarise(ranks(by_ridge(store, people, pool, table, lobes)), 100)["top-1"]["mean"]
        for lobes in (None, ("occipital",), ("frontal",))
    }
    assert found[None] > 0.8 and found[("occipital",)] > 0.8 and found[("frontal",)] < 0.5
    assert set(people[0].lobe_C[:6]) == {"occipital"} and set(people[0].lobe_C[6:]) == {"frontal"}


def test_ranks_count_ties_as_half_and_shuffling_moves_every_image():
    score = np.zeros((1, 3, 3))
    assert ranks(score).tolist() == [[1.0, 1.0, 1.0]]
    right = np.eye(6)[None]
    assert ranks(right).max() == 0 and (ranks(shuffled(right)) > 0).all()
    assert summarise(ranks(right), 10)["top-1"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    gain = difference(ranks(right), ranks(shuffled(right)), 50)
    assert gain["mean"] == 1.0


def test_a_decoder_is_asked_once_an_image_and_sees_the_lobes_it_is_left(seen, decoder):
    store, targets = seen
    people = read_people(store, targets)
    pool = pool_of(people)
    score = by_decoder(decoder, store, people, pool, targets)
    assert score.shape == (2, TEST, TEST) and np.abs(score).max() <= 1 + 1e-6
    back, front = (
        by_decoder(decoder, store, people, pool, targets, [x]) for x in ("occipital", "frontal")
    )
    assert not np.allclose(back, front) and not np.allclose(back, score)


def test_an_image_on_both_sides_and_nobody_at_all_are_refused(tmp_path, seen):
    store, targets = store_of(tmp_path, leak=True)
    with pytest.raises(DataError, match="image '7' and 0 more are shown in training and in test"):
        read_people(store, targets)
    with pytest.raises(DataError, match="nobody saw images both in training and in test"):
        read_people(seen[0], targets, "split == 'train'")


def test_the_command_writes_its_page_and_refuses_what_is_no_decoder(
    seen, decoder, tmp_path, capsys
):
    store, targets = seen
    folder = decoder.save_pretrained(tmp_path / "decoder")
    args = [f"--decoder={folder}", "--also", f"again={folder}", f"--store={store.root}"]
    args += [f"--table={targets.table}", f"--out={tmp_path}", "--resamples=20"]
    assert main(args) == 0
    assert "Without occipital parcels" in capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text())
    assert set(found["rows"]) == {"decoder", "again", "ridge", "decoder, shuffled pairs"}
    assert found["rows"]["decoder"] == found["rows"]["again"] and not found["simulated"]
    assert set(found["parts"]) == {"without occipital", "frontal alone", "occipital alone"}
    encoder = decoder.encoder.save_pretrained(tmp_path / "encoder")
    assert main([f"--decoder={encoder}", *args[3:]]) == 1
    assert "holds no decoder with head 'align'" in capsys.readouterr().err
