"""The speech demonstration's page: made of what the stages wrote, SIMULATED wherever one looks."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from listeners import PREPROCESS, TARGETS, Oracle, listeners, trained

from brainfm.errors import DataError
from eval.demo import read_config
from eval.speech.__main__ import compare
from eval.speech.demo import bind, opening, section_of, side_by_side
from eval.speech.phonemes import UNIFORM
from eval.speech.windows import plan_windows
from eval.tables import share

ROOT = Path(__file__).parents[2]
CONFIG = {"stages": {"found": "python -m eval.speech", "said": "python -m eval.speech"}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What the stages leave behind; an oracle in the place of the decoders."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("demo")
    store = listeners(root / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.speech.phonemes.WEIGHTS", (0.7,))
        patch.setattr("eval.speech.phonemes.BONUSES", (0.0,))
        for stage, head in (("found", "align"), ("said", "ctc")):
            plan = plan_windows(store, TARGETS[head], PREPROCESS)
            oracle = trained(Oracle(plan, head), "BandEncoder")
            compare(store, [oracle], root / "runs" / stage, n_resamples=20)
    for run, columns in (("align", "loss,top1"), ("phonemes", "loss,per")):
        (root / "runs" / run).mkdir()
        for name in ("train", "val"):
            lines = (f"step,{columns}", "1,0.9,0.5", "2,0.4,0.7")
            (root / "runs" / run / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return root / "runs"


@pytest.fixture(scope="module")
def bound(runs):
    return bind(CONFIG, runs, {"found": 1.5})


def test_the_page_holds_both_questions_and_their_pictures(bound, runs):
    result, page = bound
    text = page.read_text()
    assert text.count("<figure>") == 2 + 3 + 1
    assert "Segments of speech found among others" in text and "Phonemes and words by CTC" in text
    assert "It is no evidence of what can be decoded from people." in text
    kept = json.loads((runs / "report.json").read_text())
    assert kept["verdicts"] == result["verdicts"] and kept["stage_seconds"] == {"found": 1.5}


def test_every_caption_says_simulated(bound):
    text = bound[1].read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>|<p class=\"caption\">(.*?)</p>", text)
    assert len(captions) >= 12
    for pair in captions:
        assert "Simulated data, not a recording" in "".join(pair)
    assert "SIMULATED: nobody was recorded" in text


def test_the_alignment_picture_is_the_one_that_was_drawn(runs):
    drawn = section_of(runs / "found")["pictures"]
    (one,) = [p for p in drawn if p["caption"].startswith("Brain segments (rows) against")]
    png = (runs / "found" / one["file"]).read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 5_000


def test_every_control_is_on_the_page(bound):
    text = bound[1].read_text()
    for system in (UNIFORM, "zero brain input", "shuffled pairs", "brain 10 s later",
                   "spectrogram + ridge", "spectrogram + logistic regression",
                   "ridge of whole segments, likelihood ratio"):  # fmt: skip
        assert system in text, system


def test_verdicts_name_the_pool_and_words_are_judged_by_their_error_rate(bound):
    found, said = (bound[0][k] for k in ("found", "said"))
    pool = found["facts"]["pool"]
    lines = opening(found)
    assert len(lines) == 2 and all(line.startswith("top-10: BandEncoder") for line in lines)
    assert all(line.endswith(f"Pool of {pool}, chance {share(10 / pool)}.") for line in lines)
    assert [line.split(":")[0] for line in opening(said)] == ["WER, lexicon + word 3-gram"] * 2
    assert len(bound[0]["verdicts"]) == 4


def test_transcripts_stand_side_by_side(bound):
    said = bound[0]["said"]
    rows = side_by_side(said)
    assert len(rows) == len(said["details"]["transcripts"]) > 3
    assert all(list(row) == ["said", "decoded", "language model alone"] for row in rows)
    assert all(row["decoded"] == row["said"] for row in rows), "the oracle knows"
    assert any(row["language model alone"] != row["said"] for row in rows)


@pytest.mark.parametrize("stage", ["found", "said"])
def test_without_scores_the_missing_stage_is_named(stage, runs, tmp_path):
    for other in {"found", "said"} - {stage}:
        (tmp_path / other).mkdir()
        content = (runs / other / "report.json").read_text()
        (tmp_path / other / "report.json").write_text(content)
    with pytest.raises(DataError, match=f"run the stage '{stage}' first"):
        bind(CONFIG, tmp_path, {})


def test_the_configuration_binds_here_and_trains_on_the_data_it_prepares():
    path = ROOT / "configs" / "finetune" / "speech_demo.yaml"
    config = read_config(path)
    assert config["report"] == bind.__module__
    prepared = config["stages"]["prepare"]
    assert all(name in prepared for name in config["datasets"])
    for stage in ("align", "phonemes"):
        words = config["stages"][stage].split()
        base = yaml.safe_load((ROOT / words[words.index("--config") + 1]).read_text())
        named = [n for n in config["datasets"] if n in base["data"]["recordings"]]
        assert (
            named == [config["datasets"][0]] if stage == "align" else "--data.recordings" in words
        )
    assert "simulated_speech_demo/sim01" in config["stages"]["phonemes"]
