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


def test_presets_that_info_lists_weigh_what_it_says():
    from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
    from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
    from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig

    makers = {
        "BrainTokenizer": lambda p: BrainTokenizer(BrainTokenizerConfig(preset=p)),
        "BrainOmni": lambda p: BrainOmni(BrainOmniConfig(preset=p)),
        "MVPFormer": lambda p: MVPFormer(MVPFormerConfig(preset=p)),
    }
    for (model, preset), n in PARAMETERS.items():
        # Only the codec's library needs real weights; MVPFormer M would take 5 GB.
        with torch.device("meta" if model == "MVPFormer" else "cpu"):
            built = makers[model](preset)
        assert built.n_parameters == n, (model, preset)


def test_info_lists_every_preset_but_those_of_tests():
    from brainfm.codecs.presets import BRAINTOKENIZER
    from brainfm.models.presets import BRAINOMNI, MVPFORMER

    presets = {"BrainTokenizer": BRAINTOKENIZER, "BrainOmni": BRAINOMNI, "MVPFormer": MVPFORMER}
    wanted = {(model, p) for model, known in presets.items() for p in known}
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
