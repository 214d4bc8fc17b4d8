"""The command from folders of decoders to a report, and what it refuses."""

import json

import pytest
import torch
import yaml
from listeners import PREPROCESS, WORDS, listeners

from brainfm.errors import ContractError, DataError
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.speech.decoder import SpeechDecoder, SpeechDecoderConfig
from eval.speech import __main__ as command
from eval.speech.answers import first_of
from eval.speech.decoders import load_decoders

SPEECH = {"unit": "word", "stop_s": 0.625, "vocabulary": list(WORDS)}


def save(root, name, *, head="classify", preprocess=PREPROCESS, data=None, seed=0):
    """A decoder as its run leaves it: `<run>/export`, and beside it the run's config.yaml."""
    torch.manual_seed(seed)
    encoder = DuINEncoder(DuINEncoderConfig(preset="test"), preprocess)
    sizes = {"n_steps": 5} if head == "classify" else {"hidden": 8}
    words = WORDS if head == "classify" else ()
    model = SpeechDecoder(SpeechDecoderConfig(head=head, head_sizes=sizes, vocabulary=words),
                          encoder=encoder)  # fmt: skip
    folder = root / name / "export"
    model.save_pretrained(folder)
    if data is not False:
        run = {"data": {"recordings": "", "patch_s": 0.125, "speech": SPEECH, **(data or {})}}
        (root / name / "config.yaml").write_text(yaml.safe_dump(run))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    torch.set_num_threads(1)
    return listeners(tmp_path_factory.mktemp("listeners"))


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    one, other = save(root, "words"), save(root, "words_random", seed=1)
    out = root / "report"
    content = command.main(
        ["--store", str(store.root), "--decoder", f"ours={one}", f"ours={other}",
         "--decoder", str(other), "--resamples", "20", "--shift", "5", "--out", str(out)]
    )  # fmt: skip
    return content, out


def test_the_command_writes_page_numbers_and_table(run):
    content, out = run
    saved = json.loads((out / "report.json").read_text())
    assert saved["name"] == "speech" and saved["decoders"].keys() == {
        "ours#1", "ours#2", "words_random"
    }  # fmt: skip
    (section,) = saved["sections"]
    assert section["rows"] == json.loads(json.dumps(content["sections"][0]["rows"]))
    systems = {r["system"]: r for r in section["rows"]}
    assert systems["ours"]["seeds"] == 2 and systems["words_random"]["seeds"] == 1
    assert systems["words_random"]["sort"] == "twin without pretraining"
    assert "brain 5 s later" in systems
    assert section["windows"]["stop_s"] == 0.625 and section["n"]["windows"] == 64
    page = (out / "report.html").read_text()
    assert page.count("<figure>") == 1 and page.count("Simulated data, not a recording") >= 4
    table = (out / "table.md").read_text()
    assert "Words of a closed vocabulary (simulated)" in table and "| chance |" in table


def test_every_figure_lies_beside_the_page_too(run):
    content, out = run
    pictures = content["sections"][0]["pictures"]
    assert [p["file"] for p in pictures] == ["figures/classify_1.png"]
    assert (out / pictures[0]["file"]).read_bytes().startswith(b"\x89PNG")
    assert pictures[0]["caption"].startswith("top-1 of every system")


def test_a_decoder_without_its_run_needs_to_be_told_its_windows(store, tmp_path):
    folder = save(tmp_path, "alone", data=False)
    with pytest.raises(DataError, match="give --unit"):
        load_decoders([("alone", str(folder))], store)
    told = {"unit": "word", "start_s": 0.1, "stop_s": 0.5}
    (t,) = load_decoders([("alone", str(folder))], store, targets=told, patch_s=0.125)
    assert (t.targets.start_s, t.targets.stop_s, t.patch, t.query) == (0.1, 0.5, 16, None)
    given = save(tmp_path, "run")
    (t,) = load_decoders([("run", str(given))], store, targets={"stop_s": 0.75})
    assert t.targets.stop_s == 0.75 and t.patch == 16 and t.query == ""


def test_twins_are_known_by_name_or_by_option(store, tmp_path):
    folder = str(save(tmp_path, "a"))
    named = [("random", folder), ("other", folder), ("ours", folder)]
    found = load_decoders(named, store, twins=["other"])
    assert [t.twin for t in found] == [True, True, False] and first_of(found) == "ours"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"speech": {"unit": "word", "colour": "red"}}, "colour"),
        ({"speech": {"unit": "syllable"}}, "syllable"),
        ({"speech": None}, "give --unit"),
    ],
)
def test_settings_that_cut_no_windows_are_refused(data, says, store, tmp_path):
    folder = save(tmp_path, "odd", data=data)
    with pytest.raises(DataError, match=says):
        load_decoders([("odd", str(folder))], store)


def test_a_configuration_that_cannot_be_read_is_refused(store, tmp_path):
    folder = save(tmp_path, "odd")
    (tmp_path / "odd" / "config.yaml").write_text("model: 3\n")
    with pytest.raises(DataError, match="no configuration of a run"):
        load_decoders([("odd", str(folder))], store)


def test_what_is_no_speech_decoder_is_refused(store, tmp_path):
    DuINEncoder(DuINEncoderConfig(preset="test"), PREPROCESS).save_pretrained(tmp_path / "e")
    with pytest.raises(ContractError, match="DuINEncoder, which is no speech decoder"):
        load_decoders([("e", str(tmp_path / "e"))], store)


def test_signals_prepared_otherwise_are_refused(store, tmp_path):
    folder = save(tmp_path, "fast", preprocess=Preprocess(Recipe(sfreq=256.0)))
    with pytest.raises(ContractError, match="256"):
        load_decoders([("fast", str(folder))], store)


def test_segments_never_overlap_whatever_the_run_did(store, tmp_path):
    speech = {"unit": "segment", "segment_s": 1.0, "stride_s": 0.5, "phonemes": True}
    folder = save(tmp_path, "segments", head="ctc", data={"speech": speech})
    (t,) = load_decoders([("segments", str(folder))], store)
    assert t.targets.stride_s is None and t.targets.phonemes


def test_names_come_from_the_run():
    assert command.named("a=b/export") == ("a", "b/export")
    assert command.named("runs/words/export")[0] == "words"
    assert command.named("runs/words")[0] == "words"
