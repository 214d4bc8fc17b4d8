import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from brainfm.__main__ import collect_info, main
from brainfm.models.sizes import PARAMETERS

ROOT = Path(__file__).parents[1]


def test_info_prints_versions_device_and_sizes(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"versions", "device", "presets"} == set(found)
    assert found["versions"]["python"].count(".") == 2
    assert found["device"]["cores"] >= 1


def test_info_is_readable(capsys):
    main(["info"])
    out = capsys.readouterr().out
    assert "torch" in out
    assert "5.05 M" in out
    assert "base" in out


def test_info_answers_without_loading_torch():
    code = (
        "import sys; from brainfm.__main__ import main; main(['info', '--json']); "
        "sys.exit('torch' in sys.modules or 'mne' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True).returncode == 0
    )


MODELS = {
    "BrainTokenizer": ("brainfm.codecs.braintokenizer", "brainfm.codecs.presets:BRAINTOKENIZER"),
    "BioCodec": ("brainfm.codecs.biocodec", "brainfm.codecs.presets:BIOCODEC"),
    "ScalarCodec": ("brainfm.codecs.scalar", "brainfm.codecs.presets:SCALAR"),
    "DuIN": ("brainfm.codecs.duin", "brainfm.codecs.duin:DUIN"),
    "EphysTokenizer": ("brainfm.codecs.meggpt", "brainfm.codecs.meggpt:EPHYS"),
    "BrainOmni": ("brainfm.models.brainomni", "brainfm.models.presets:BRAINOMNI"),
    "DuINEncoder": ("brainfm.models.duin", "brainfm.codecs.duin:DUIN"),
    "MEGGPT": ("brainfm.models.meggpt", "brainfm.models.meggpt:SIZES"),
    "UnifiedEncoder": ("brainfm.models.unified", "brainfm.models.presets:UNIFIED"),
    "MVPFormer": ("brainfm.models.mvpformer", "brainfm.models.presets:MVPFORMER"),
}
"""Model -> where it is, and where its presets are."""


@pytest.mark.parametrize(("model", "preset"), PARAMETERS)
def test_presets_that_info_lists_weigh_what_it_says(model, preset):
    module = importlib.import_module(MODELS[model][0])
    # Only the codec's library needs real weights; MVPFormer M would take 5 GB.
    with torch.device("meta" if model == "MVPFormer" else "cpu"):
        built = getattr(module, model)(getattr(module, f"{model}Config")(preset=preset))
    assert built.n_parameters == PARAMETERS[model, preset]


def test_info_lists_every_preset_but_those_of_tests():
    wanted = set()
    for model, (_, place) in MODELS.items():
        module, name = place.split(":")
        wanted |= {(model, p) for p in getattr(importlib.import_module(module), name)}
    assert {k for k in wanted if k[1] != "test"} == set(PARAMETERS)
    assert len(collect_info()["presets"]) == len(PARAMETERS)


def test_encode_refuses_a_missing_recording_in_one_sentence(tmp_path, capsys):
    code = main(["encode", str(tmp_path / "no.edf"), "--checkpoint", str(tmp_path)])
    err = capsys.readouterr().err
    assert code == 1
    assert err.startswith("brainfm: ")
    assert err.count("\n") == 1


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["inform"])
    assert "inform" in capsys.readouterr().err
