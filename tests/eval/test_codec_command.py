"""The command from a store and codecs to curves, tables and a report."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from brainfm.codecs.base import Codec
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import ContractError, DataError
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.types import Codes
from eval.codec import __main__ as command
from eval.codec import pages
from eval.codec.coders import NeuralCoder, chunks, levels_tried, load_codecs, restore_scale
from eval.codec.curves import Table, differences, nmse_db_at
from eval.codec.run import evaluate, summary, window_of_kind, window_step
from eval.codec.windows import cast, codec_batch, read_pieces
from eval.metrics import signal

RECIPE = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=30.0)
FEW = {"window_s": 2.0, "n_windows": 3, "n_train_windows": 6, "n_resamples": 50}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two people train, two are tested; one tested recording is short, one channel is dead."""
    root = tmp_path_factory.mktemp("codec")
    for i, split in enumerate(("train", "train", "val", "test", "test")):
        r = synthetic_recording(
            "EEG", 20.0, 5, i, sfreq=64.0, subject=str(i), dataset="simulated_a", split=split
        )
        if i == 4:
            r.signal[:, 2] = 0.0
        write_recording(r, root / "simulated_a" / f"sub-{i}.safetensors", recipe=RECIPE)
    r = synthetic_recording(
        "EEG", 1.5, 5, 9, sfreq=64.0, subject="9", dataset="simulated_a", split="test"
    )
    write_recording(r, root / "simulated_a" / "sub-9.safetensors", recipe=RECIPE)
    build_tables(root)
    return Store(root)


@dataclass(frozen=True)
class RoundingConfig:
    codebook_size: int = 64
    hop: int = 1


class Rounding(Codec):
    """Every sample to the nearest of 64 levels a quarter apart: errors and rates are known."""

    config_class = RoundingConfig
    per_channel = True
    n_levels = 1

    def encode(self, batch):
        ids = (batch.signal_BCT * 4).round().long().clamp(-32, 31) + 32
        time = torch.arange(ids.shape[2]) / batch.sfreq
        return Codes(ids[..., None], self.lookup(ids[..., None]), time, 1 / batch.sfreq)

    def lookup(self, ids):
        return (ids.float() - 32) / 4

    def decode(self, codes, batch):
        return codes.latent_BSWD[..., 0]

    def bits_per_second(self, sfreq):
        return 6 * sfreq


def rounding(scale="channel_robust", hop=1):
    return Rounding(RoundingConfig(hop=hop), Preprocess(RECIPE, Normalise(scale=scale, clip=None)))


def scalar(recipe=RECIPE):
    torch.manual_seed(0)
    normalise = Normalise(scale="channel_robust", clip=13.5)
    return ScalarCodec(ScalarCodecConfig(preset="test"), Preprocess(recipe, normalise))


def test_a_codec_that_rounds_has_the_error_and_the_rate_of_rounding(store):
    result = evaluate(store, cast(store, None, "test"), [NeuralCoder("r", rounding())], **FEW)
    row = next(r for r in result["rows"] if r["coder"] == "r")
    # Robust scale: about one standard deviation, which need not be the one of NMSE.
    assert row["nmse"]["mean"] == pytest.approx(1 / 16 / 12, rel=0.2)
    side = 2 * 16 / 2.0  # a scale and an offset of two seconds
    assert row["nominal"]["mean"] == 6 * 64
    bits = (row["bits_per_s"]["mean"] - side) / 64
    assert bits == pytest.approx(np.log2(4 * np.sqrt(2 * np.pi * np.e)), abs=0.25)
    assert row["recordings"] == row["groups"] == 2
    assert row["nmse"]["low"] <= row["nmse"]["mean"] <= row["nmse"]["high"]
    assert row["perplexity"][0] == pytest.approx(2**bits, rel=0.15) and 0.3 < row["used"][0] <= 1


def test_the_command_writes_tables_figures_and_a_report(store, tmp_path, capsys):
    folder = scalar().save_pretrained(tmp_path / "scalar")
    out = tmp_path / "out"
    content = command.main(
        ["--store", str(store.root), "--recordings", "dataset == 'simulated_a'", "--split", "test",
         "--codec", f"ours={folder}", "--window", "2", "--windows", "3", "--train-windows", "6",
         "--resamples", "20", "--out", str(out), "--json"]
    )  # fmt: skip
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["name"] == "codec" and last["query"] == "dataset == 'simulated_a'"
    assert {r["coder"] for r in content["rows"]} == {
        "ours", "DCT", "MDCT", "wavelet", "PCA + DCT", "int16 + LPC", "zero"
    }  # fmt: skip
    said = " ".join(content["notes"])
    assert "sub-9.safetensors" in said and "shorter than a window of 2 s" in said
    assert "sub-4.safetensors: 3 of 15 channel windows are flat" in said
    assert "The store has no recording of MEG, iEEG (no package holds a real one), EMG, ECG" in said
    assert content["sentences"] == [s for s in content["sentences"] if s not in content["notes"]]
    assert sum("ours" in s for s in content["sentences"]) == 1
    assert "EEG: ours has none of the compared rates" in content["sentences"][0]
    page = (out / "report.html").read_text()
    assert page.count('class="verdict"') == len(content["sentences"])
    assert all(page.index("<h2>Notes</h2>") < page.index(s.split(".")[0]) for s in content["notes"])
    assert page.count("<img") == 3 and page.count("Simulated data, not a recording") == 6
    table = (out / "table.md").read_text()
    assert "**Simulated data, not recordings.**" in table and "were held out is" in table
    assert content["tasks"] == [] and content["ratios"] == []
    assert json.loads((out / "report.json").read_text())["data"]["kinds"]["EEG"]["windows"] == 6
    assert not list(out.glob(".*"))


def test_more_levels_cost_more(store):
    codec = scalar()
    result = evaluate(store, cast(store, None, "test"), [NeuralCoder("s", codec)], **FEW)
    rows = [r for r in result["rows"] if r["coder"] == "s"]
    assert len(rows) == len(levels_tried(codec.n_levels)) > 1
    assert (np.diff([r["bits_per_s"]["mean"] for r in rows]) > 0).all()
    full = codec.bits_per_second(64.0)
    assert rows[-1]["nominal"]["mean"] == pytest.approx(full)
    assert rows[0]["nominal"]["mean"] == pytest.approx(full / codec.n_levels)
    assert len(rows[-1]["used"]) == codec.n_levels


def test_tables_come_from_training_alone(store):
    coder = NeuralCoder("r", rounding())
    roles = cast(store, None, "test")
    evaluate(store, roles, [coder], **FEW)
    counts = coder.tables.tables[0, 0].count_K
    evaluate(store, cast(store, "subject != '4'", "test"), [coder], **FEW)
    assert (coder.tables.tables[0, 0].count_K == counts).all()
    assert set(roles.train) == {0, 1}


def test_z_scores_come_back_in_the_units_of_the_signal(store):
    roles = cast(store, "subject in ['0', '1', '3']", "test")
    (piece,) = read_pieces(store, roles.test, 4.0, 64, 2, [])
    windows = piece.x_BCT.reshape(*piece.x_BCT.shape[:2], -1, 64)
    z = (windows - windows.mean(-1, keepdims=True)) / windows.std(-1, keepdims=True)
    rec, bits = restore_scale(z.reshape(piece.x_BCT.shape), piece.x_BCT, piece, 64)
    assert signal.nmse(piece.x_BCT, rec).max() < 1e-5
    assert bits == 2 * 16 * piece.valid_BC.sum() * 4
    # A stretch without change stays one.
    piece.x_BCT[..., :64] = 3e-6
    rec, _ = restore_scale(np.ones(piece.x_BCT.shape), piece.x_BCT, piece, 64)
    np.testing.assert_allclose(rec[..., :64], 3e-6, rtol=1e-3)


def test_a_codec_of_sources_is_charged_per_channel_and_by_source(store):
    torch.manual_seed(0)
    config = BrainTokenizerConfig(preset="test")
    codec = BrainTokenizer(config, Preprocess(RECIPE)).eval()
    roles = cast(store, "subject in ['0', '1', '3']", "test")
    (train, _) = read_pieces(store, roles.train, 4.0, config.window, 2, [])
    codec.initialise_codebooks(codec_batch(train, codec.preprocess.normalise)[0])
    coder = NeuralCoder("t", codec)
    result = evaluate(store, roles, [coder], **FEW | {"window_s": 4.0})
    row = [r for r in result["rows"] if r["coder"] == "t"][-1]
    assert row["nominal"]["mean"] == pytest.approx(codec.bits_per_second(64.0) / 5)
    assert len({s for s, _ in coder.tables.tables}) == config.n_sources
    assert 0 < row["nmse"]["mean"] < 10


def test_a_common_scale_is_sent_once_and_an_average_reference_is_the_target(store):
    roles = cast(store, "subject in ['0', '1', '3']", "test")
    (piece,) = read_pieces(store, roles.test, 2.0, 1, 2, [])
    batch, scaled, target = codec_batch(piece, Normalise("none", "kind_std", 1.5))
    assert scaled.bits == 16 * 2 and (target == piece.x_BCT).all()
    assert float(batch.signal_BCT.abs().max()) == 1.5
    _, scaled, target = codec_batch(piece, Normalise("average", "kind_std", None))
    np.testing.assert_allclose(target, piece.x_BCT - piece.x_BCT.mean(1, keepdims=True), atol=1e-10)
    assert [len(b) for b in chunks(batch)] == [2]


def test_a_codec_of_other_signals_is_refused(store, tmp_path):
    folder = scalar(Recipe(sfreq=128.0, lowpass_hz=30.0)).save_pretrained(tmp_path / "other")
    with pytest.raises(ContractError, match="sfreq is 128.0 in the model's recipe but 64.0"):
        load_codecs([("other", str(folder))], store)


def test_what_is_no_codec_is_refused(store, tmp_path):
    encoder = BrainOmni(BrainOmniConfig(preset="test"), Preprocess(RECIPE))
    folder = encoder.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ContractError, match="BrainOmni, which is no codec"):
        load_codecs([("e", str(folder))], store)
    with pytest.raises(ContractError, match="missing; a model folder holds"):
        load_codecs([("e", str(tmp_path / "nothing"))], store)
    ours = str(scalar().save_pretrained(tmp_path / "ours"))
    with pytest.raises(ContractError, match="two codecs are called 'a'"):
        load_codecs([("a", ours), ("a", ours)], store)


@pytest.mark.parametrize(
    ("query", "train", "says"),
    [
        ("subject == '0'", None, "none is of split 'test'"),
        ("subject == '3'", None, "none is of split 'train'"),
        ("hat == 3", None, "columns are"),
    ],
)
def test_roles_that_nobody_fills_are_refused(store, query, train, says):
    with pytest.raises(DataError, match=says):
        cast(store, query, "test", train)


def test_other_people_can_give_the_tables(store):
    roles = cast(store, "subject == '3'", "test", "subject == '1'")
    assert (roles.test, roles.train) == ([3], [1])
    row = evaluate(store, roles, [], **FEW)["rows"][0]
    assert row["nmse"]["low"] is None and row["groups"] == 1


def test_a_window_that_is_no_multiple_of_the_step_is_cut_and_not_refused(store):
    roles = cast(store, "subject in ['0', '1', '3']", "test")
    (piece,) = read_pieces(store, roles.test, 2.0, 50, 2, [])  # 128 samples
    assert piece.x_BCT.shape[2] == 100


def test_recordings_all_shorter_than_a_window_are_refused(store):
    roles = cast(store, "subject in ['0', '9']", "test")
    with pytest.raises(DataError, match=r"no recording can be tested.*sub-9"):
        evaluate(store, roles, [NeuralCoder("r", rounding(hop=128))], **FEW)


def test_short_recordings_of_a_kind_get_short_windows(store):
    roles = cast(store, "subject in ['0', '9']", "test")
    data = evaluate(store, roles, [], **FEW)["data"]
    assert data["kinds"]["EEG"]["window_s"] == 1.5
    assert "windows of 1.5 s" in pages.describe({"data": data})
    # One of three is no reason: it is left out.
    assert window_of_kind(store, cast(store, None, "test").test, 2.0, 1.0) == 2.0


def test_a_window_shorter_than_a_codec_needs_is_refused():
    coder = NeuralCoder("t", BrainTokenizer(BrainTokenizerConfig(preset="test")))
    assert window_step([coder], 64.0, 2.0) == coder.step
    with pytest.raises(ContractError, match="lengthen --window"):
        window_step([coder], coder.step / 8, 4.0)
    with pytest.raises(DataError, match="too short for spectra"):
        window_step([coder], 64.0, 0.1)


def test_a_codec_that_can_code_nothing_is_refused_with_its_own_reason(store):
    empty = BrainTokenizer(BrainTokenizerConfig(preset="test"), Preprocess(RECIPE)).eval()
    roles = cast(store, None, "test")
    with pytest.raises(ContractError, match="'t' can code no kind of these recordings"):
        evaluate(store, roles, [NeuralCoder("t", empty)], **FEW | {"window_s": 4.0})


def test_curves_are_read_between_their_points_and_not_beyond():
    curve = (np.array([100.0, 1000.0]), np.array([-10.0, -30.0]))
    assert nmse_db_at(1000 / np.sqrt(10), curve) == pytest.approx(-20)
    assert nmse_db_at(99.0, curve) is None and nmse_db_at(1001.0, curve) is None


def record(coder, setting, path, rate, nmse):
    return {
        "kind": "EEG", "coder": coder, "setting": setting, "path": path, "bits_per_s": rate,
        "nmse": nmse,
    }  # fmt: skip


def test_a_codec_is_compared_on_the_recordings_it_could_code():
    """The DCT has -10 dB at 100 and -30 dB at 1000 on 'a', and is far worse on 'b'."""
    dct = [record("DCT", s, "a", r, e) for s, r, e in (("1", 100, 1e-1), ("2", 1000, 1e-3))]
    dct += [record("DCT", s, "b", r, 0.9) for s, r in (("1", 100), ("2", 1000))]
    codec = [record("c", "x", "a", 1000 / np.sqrt(10), 10**-2.3), record("c", "y", "a", 5000, 1e-9)]
    found = differences(Table(codec), Table(dct), np.ones((3, 1)))
    assert found == {"x": {k: pytest.approx(-3.0) for k in ("mean", "low", "high")}}


def test_intervals_draw_people_and_not_recordings():
    weights = np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 2.0]])  # the first two are one person
    value = summary([1.0, 3.0, 5.0], weights)
    assert value["mean"] == 3 and 2 <= value["low"] < value["high"] <= 5
