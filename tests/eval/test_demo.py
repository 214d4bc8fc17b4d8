import shlex
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from brainfm.errors import ContractError
from brainfm.types import Channels
from eval.demo import filled, main, read_config, run_stage
from eval.pictures import loss_curves, sensor_map

ROOT = Path(__file__).parents[2]


@pytest.fixture
def console():
    from rich.console import Console

    return Console(file=open("/dev/null", "w"))


def test_every_stage_names_a_command_and_files_that_exist():
    stages = read_config(ROOT / "configs" / "demo.yaml")["stages"]
    assert list(stages) == ["prepare", "codec", "encoder", "probe"]
    for command in stages.values():
        words = shlex.split(command)
        assert words[0] == "python"
        module = words[2].replace(".", "/") if words[1] == "-m" else words[1]
        assert (ROOT / module).exists() or (ROOT / f"{module}.py").exists()
        for word in words:
            if word.startswith("configs/"):
                assert (ROOT / word).exists()


def test_pretraining_never_reads_the_test_split():
    for name in ("codec", "encoder"):
        words = shlex.split(read_config(ROOT / "configs" / "demo.yaml")["stages"][name])
        run = yaml.safe_load((ROOT / words[words.index("--config") + 1]).read_text())
        assert "test" not in str(run["data"])


def test_a_config_with_a_wrong_key_is_refused_by_name(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text("datasets: []\nstagess: {}\n")
    with pytest.raises(ContractError, match="stages"):
        read_config(path)


def test_a_failing_stage_stops_the_demonstration_and_is_named(tmp_path, capfd):
    path = tmp_path / "demo.yaml"
    stages = {"first": "python -c 'raise SystemExit(3)'", "second": "python -c 'print(99)'"}
    path.write_text(yaml.safe_dump({"datasets": [], "stages": stages}))
    assert main(["--config", str(path), "--runs", str(tmp_path)]) == 3
    out = capfd.readouterr()
    assert "stage 'first'" in out.err
    assert "99" not in out.out.replace("print(99)", "")


def test_a_stage_is_timed_and_keeps_its_exit_code(console):
    code, seconds = run_stage("python -c 'raise SystemExit(5)'", console)
    assert code == 5
    assert seconds >= 0


def channels(pos):
    n = len(pos)
    return Channels(
        tuple(f"c{i}" for i in range(n)), np.zeros(n), pos, np.zeros((n, 3)), ("V",) * n, "head"
    )


def test_a_sensor_map_shows_known_positions_and_says_when_there_are_none():
    known = channels(np.array([[0.0, 0.08, 0.0], [0.05, 0.0, 0.1]]))
    unknown = channels(np.full((2, 3), np.nan))
    fig = sensor_map({"known": known, "unknown": unknown})
    drawn, empty = fig.axes
    points = np.concatenate([c.get_offsets() for c in drawn.collections if len(c.get_offsets())])
    assert [0.0, 0.08] in np.round(points, 6).tolist()
    assert "no positions" in empty.texts[0].get_text()


def test_a_sensor_map_of_electrodes_draws_without_a_warning():
    fig = sensor_map({"EEG": channels(np.array([[0.0, 0.08, 0.0], [0.05, 0.0, 0.1]]))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig.canvas.draw()


def test_curves_show_training_and_validation():
    train = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    val = pd.DataFrame({"step": [2], "val/loss": [2.5], "val/extra": [1.0]})
    fig = loss_curves(train, val, {"loss": ["loss", "extra"]}, smooth=1)
    lines = {line.get_label(): line.get_ydata().tolist() for line in fig.axes[0].lines}
    assert lines == {"loss": [3, 2, 1], "loss, validation": [2.5], "extra, validation": [1.0]}


def test_more_curves_than_colours_are_all_drawn():
    names = [f"part_{i}" for i in range(12)]
    train = pd.DataFrame({"step": [1, 2], **{n: [1.0, 2.0] for n in names}})
    fig = loss_curves(train, None, {"loss": names}, smooth=1)
    assert {line.get_label() for line in fig.axes[0].lines} == set(names)


def seizure_config():
    return read_config(ROOT / "configs" / "finetune" / "seizure_demo.yaml")


def test_every_stage_of_the_seizure_demonstration_names_files_and_modules_that_exist():
    config = seizure_config()
    assert set(config["needs"]) <= set(config["stages"])
    for command in config["stages"].values():
        words = shlex.split(filled(command, Path("runs/x")))
        assert words[0] == "python"
        module = words[2].replace(".", "/") if words[1] == "-m" else words[1]
        assert (ROOT / module).exists() or (ROOT / f"{module}.py").exists()
        assert all((ROOT / w).exists() for w in words if w.startswith("configs/"))


def test_both_detectors_of_the_seizure_demonstration_differ_in_pretraining_alone():
    stages = {n: shlex.split(filled(c, Path("r"))) for n, c in seizure_config()["stages"].items()}
    own = ("--name", "--model.init_args.pretrained", "--model.init_args.encoder")

    recipes = [stages["finetune"], stages["random"]]
    configs = [w[w.index("--config") + 1] for w in recipes]
    stores = [w[w.index("--data.store") + 1] for w in recipes]
    assert len(set(configs)) == len(set(stores)) == 1
    pretrain = yaml.safe_load((ROOT / "configs/pretrain/mvpformer_simulated.yaml").read_text())
    fresh = yaml.safe_load(stages["random"][stages["random"].index(own[2]) + 1])
    assert fresh == pretrain["model"]["init_args"]["encoder"]


def test_the_real_recording_is_never_trained_on():
    for name in ("pretrain", "finetune", "random"):
        words = shlex.split(filled(seizure_config()["stages"][name], Path("r")))
        run = yaml.safe_load((ROOT / words[words.index("--config") + 1]).read_text())
        table = pd.DataFrame(
            {
                "dataset": ["simulated_seizures", "umich_seizure"],
                "split": ["train", "train"],
                "subject": ["sim001", "01"],
            }
        )
        found = table.query(run["data"]["recordings"])
        assert list(found["dataset"]) == ["simulated_seizures"]


def test_baselines_of_the_seizure_demonstration_learn_from_whom_the_detectors_do():
    stages = {n: shlex.split(filled(c, Path("r"))) for n, c in seizure_config()["stages"].items()}
    taught = yaml.safe_load((ROOT / "configs/finetune/seizure_simulated.yaml").read_text())
    taught = taught["data"]["recordings"]
    score, real = stages["score"], stages["real"]
    assert score[score.index("--recordings") + 1] == taught
    assert real[real.index("--train") + 1] == taught


def test_a_stage_without_its_data_is_left_out_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path))
    module = tmp_path / "binder_of_a_test.py"
    module.write_text(
        "def bind(config, runs, seconds):\n    return {'verdicts': [str(sorted(seconds))]}, runs\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    stages = {"one": "python -c 'pass'", "two": "python -c 'raise SystemExit(5)'"}
    content = {
        **{"datasets": [], "stages": stages, "needs": {"two": "not/there"}},
        "report": "binder_of_a_test",
    }
    path = tmp_path / "demo.yaml"
    path.write_text(yaml.safe_dump(content))
    assert main(["--config", str(path), "--runs", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert "left out" in out and "['one']" in out
    (tmp_path / "not" / "there").mkdir(parents=True)
    assert main(["--config", str(path), "--runs", str(tmp_path / "runs")]) == 5
