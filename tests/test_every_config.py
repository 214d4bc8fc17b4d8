"""Every configuration runs, shrunk, on simulated recordings; a wrong one says which key."""

from pathlib import Path

import pytest
import torch
import yaml

from brainfm.cli import main
from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.models.presets import MVPFORMER
from brainfm.signals.preprocess import Recipe
from data_prep.datasets.simulated_images import SimulatedImages

ROOT = Path(__file__).parents[1]
CONTENT = {p: yaml.safe_load(p.read_text()) for p in sorted((ROOT / "configs").rglob("*.yaml"))}
RUNS = [p for p, c in CONTENT.items() if "model" in c and "class_path" in c["model"]]
OVERLAYS = [p for p, c in CONTENT.items() if "trainer" in c and "model" not in c]

SMALL = {
    "CodecTask": ["--model.init_args.codec.init_args.config.preset=test"],
    "RateTask": ["--model.init_args.codec.init_args.config.block=64"],
    "MaskedCodes": ["--model.init_args.encoder.preset=test", "--model.init_args.tokenizer=random"],
    "NextSegment": [
        "--model.init_args.encoder.preset=test",
        "--model.init_args.encoder.window=32",
    ],
    "NextToken": ["--model.init_args.encoder.preset=test", "--model.init_args.tokenizer=random"],
    "MaskedRegions": [
        "--model.init_args.encoder.preset=test",
        "--model.init_args.tokenizer=random",
    ],
    "MaskedBands": ["--model.init_args.encoder.init_args.config={subjects: [], depth: 1}"],
    "MaskedStream": ["--model.init_args.encoder.init_args.config.preset=test"],
    "DecodeSpeech": [
        "--model.init_args.pretrained=null",
        "--model.init_args.encoder=BandEncoder",
        "--model.init_args.encoder.init_args.config={subjects: [], depth: 1}",
        "--data.patch_s=0.125",
    ],
    "DetectSeizures": [
        "--model.init_args.pretrained=null",
        "--model.init_args.encoder.preset=test",
        "--model.init_args.warmup_steps=0",
        "--data.patch_s=0.125",  # the segment of that preset at 256 Hz
    ],
}
"""How to shrink a run of each task; a new task needs a line here."""
TINY = """
--data.store=synthetic --data.window_s=0.5 --data.patch_s=0.25 --data.tokens_per_batch=48
--data.num_workers=0 --data.pin_memory=false --data.recordings= --trainer.fast_dev_run=2
--trainer.accelerator=cpu --trainer.devices=1 --trainer.num_nodes=1 --trainer.strategy=auto
--trainer.precision=auto
""".split()


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fit(tmp_path: Path, *configs: Path, extra: list[str] | None = None) -> int:
    torch.set_num_threads(1)
    task = next(CONTENT[c]["model"]["class_path"] for c in configs if "model" in CONTENT[c])
    argv = ["fit", *(a for c in configs for a in ("--config", str(c)))]
    small = SMALL[task]
    if any("images" in CONTENT[c].get("data", {}) for c in configs):
        small = seen_images(tmp_path)
    return main([*argv, f"--runs={tmp_path}", *TINY, *small, *(extra or [])])


def seen_images(tmp_path: Path) -> list[str]:
    """A store of one viewer and the vectors of what was seen, for runs on images."""
    pytest.importorskip("nilearn")
    viewer = SimulatedImages(subjects=1, images=6)
    viewer.fetch(tmp_path, lambda text: None)
    for job in viewer.jobs(tmp_path):
        path = tmp_path / "store" / job.dataset / f"{job.name}.safetensors"
        write_recording(viewer.load(job, Recipe()), path, recipe=Recipe())
    build_tables(tmp_path / "store")
    return [
        f"--data.store={tmp_path / 'store'}",
        f"--data.images.table={viewer.table(tmp_path)}",
        "--data.tokens_per_batch=328",
        "--model.init_args.encoder.init_args.config.preset=test",
    ]


@pytest.mark.parametrize("config", RUNS, ids=relative)
def test_a_run_trains_and_validates(config, tmp_path):
    assert fit(tmp_path, config) == 0


STARTS = {
    p: CONTENT[p]["model"]["init_args"]["pretrained"]
    for p in RUNS
    if "pretrained" in CONTENT[p]["model"]["init_args"]
}


@pytest.mark.parametrize("config", STARTS, ids=relative)
def test_a_fine_tuning_starts_from_a_run_that_a_config_makes(config):
    name = STARTS[config].split("/")[1]
    (start,) = [c for c in CONTENT.values() if c.get("name") == name and "model" in c]
    assert start["name"] != CONTENT[config]["name"]
    mine = CONTENT[config]["data"]
    shared = ("patch_s",) if "speech" in mine else ("window_s", "patch_s")
    assert [start["data"][k] for k in shared] == [mine[k] for k in shared]
    if "speech" in mine:  # windows are those of words and sentences
        assert start["data"]["preprocess"] == mine["preprocess"]
        return
    encoder = start["model"]["init_args"]["encoder"]
    window = encoder.get("window") or MVPFORMER[encoder["preset"]]["window"]
    assert window / mine["patch_s"] in (256, 512), "the rate its first line says"
    band = encoder.get("band") or mine["window_s"] / mine["patch_s"]
    assert CONTENT[config]["model"]["init_args"]["context"] == band


@pytest.mark.parametrize("overlay", OVERLAYS, ids=relative)
def test_a_cluster_overlay_fits_a_run(overlay, tmp_path):
    assert fit(tmp_path, RUNS[0], overlay) == 0


@pytest.mark.parametrize("config", RUNS, ids=relative)
def test_a_config_is_a_whole_run_on_one_page(config):
    lines = config.read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("#"), "the first line says what the run is"
    settings = CONTENT[config]["model"]["init_args"]
    assert {"warmup_steps", "decay_steps", "lr"} <= set(settings), "resume depends on them"
    assert "seed_everything" in CONTENT[config]


WRONG = [
    ("max_steps:", "max_stepz:", "trainer.max_stepz"),
    ("lr:", "lrr:", "model.lrr"),
    ("warmup_steps: ", "warmup_steps: 40 s  # ", "warmup_steps must be a whole number"),
    ("window_s: 2", "window_s: 2000 ms", "data.window_s must be a number, but is '2000 ms'"),
    ("window_s: 2", "window_s: 2 s", "give it in seconds"),
    ("CodecTask", "CodecTsk", "did you mean 'CodecTask'"),
    ("class_path: BrainTokenizer", "class_path: BrainTokenizr", "model.codec.class_path"),
    ("preset: demo", "preset: demi", "preset is 'demi'"),
    ("preset: demo", "pre: demo", "model.codec.config.pre"),
    ("lr: 1.0e-3", "lr: 10", "lr is 10"),
    ("warmup_steps: ", "warmup_steps: 4000  # ", "warmup_steps is 4000"),
    ("save_every: ", "save_every: 0  # ", "save_every is 0"),
    ("name: codec_demo", "nam: codec_demo", "unknown key 'nam'"),
    ("data:", "dat:", "unknown key 'dat."),
    ("recordings: ", "recordings: nokind == 1 # ", "nokind"),
    ("tokens_per_batch: ", "tokens_per_batch: many  # ", "data.tokens_per_batch"),
    ("seed_everything: 7", "seed_everything: [7", "config"),
    ("trainer: {", "trainer: {strategy: ddpp, ", "ddpp"),
    ("trainer: {", "trainer: {precision: bf17, ", "trainer.precision"),
]


@pytest.mark.parametrize(("right", "wrong", "named"), WRONG, ids=[w for _, w, _ in WRONG])
def test_a_wrong_key_class_or_unit_is_named_in_one_sentence(right, wrong, named, tmp_path, capsys):
    demo = ROOT / "configs/codec/braintokenizer_demo.yaml"
    text = demo.read_text()
    assert right in text
    config = tmp_path / "wrong.yaml"
    config.write_text(text.replace(right, wrong, 1))
    argv = ["fit", "--config", str(config), f"--runs={tmp_path}", "--data.store=synthetic"]
    assert main([*argv, "--trainer.accelerator=cpu"]) in (1, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("brainfm: ")]
    assert len(said) == 1
    assert named in said[0]
    assert "wrong.yaml" in said[0]
    assert "Traceback" not in said[0]


def test_a_missing_codec_is_refused_before_anything_is_read(tmp_path, capsys):
    config = ROOT / "configs/pretrain/brainomni_demo.yaml"
    argv = ["fit", "--config", str(config), f"--runs={tmp_path}"]
    assert main([*argv, "--model.init_args.tokenizer=nowhere/export"]) in (1, 2)
    assert "no folder 'nowhere/export'" in capsys.readouterr().err


def test_a_config_that_does_not_exist_is_named(capsys):
    assert main(["fit", "--config", "configs/none.yaml"]) == 2
    assert "none.yaml" in capsys.readouterr().err
