"""The commands, end to end on small files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prep_helpers import make_raw, write_edf

from brainfm.data.store import Store
from data_prep.cli import main
from data_prep.commands import parse_subjects

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """Four people; the fourth file is damaged."""
    for k in range(1, 5):
        (tmp_path / "in" / f"sub-{k:02d}").mkdir(parents=True)
        path = tmp_path / "in" / f"sub-{k:02d}" / f"sub-{k:02d}_eeg.edf"
        write_edf(path, make_raw(seconds=8, seed=k))
    path.write_bytes(path.read_bytes()[:-7])
    return tmp_path / "in"


def prep(tmp_path, capsys, *words, command="run"):
    code = main([command, "--data-root", str(tmp_path / "root"), "--json", *map(str, words)])
    out, err = capsys.readouterr()
    last = out.strip().splitlines()[-1] if out.strip() else "{}"
    return code, (json.loads(last) if last.startswith("{") else {}), out, err


def run(tmp_path, capsys, folder, *words):
    return prep(
        tmp_path,
        capsys,
        "--source",
        folder,
        "--line-freq",
        50,
        "--jobs",
        0,
        "--name",
        "mine",
        *words,
    )


def test_good_files_enter_and_the_bad_one_is_named(tmp_path, capsys, folder):
    code, result, out, err = run(tmp_path, capsys, folder)
    assert code == 0 and (result["done"], result["refused"]) == (3, 1)
    assert "sub-04_eeg.edf: the header announces" in err.replace("\n", " ")
    store = Store(tmp_path / "root" / "store")
    assert sorted(store.recordings["subject"]) == ["01", "02", "03"]
    (failure,) = [json.loads(x) for x in (store.root / "failures.jsonl").read_text().splitlines()]
    assert failure["source"].endswith("sub-04_eeg.edf") and "truncated" in failure["reason"]


def test_running_again_does_what_is_missing(tmp_path, capsys, folder):
    run(tmp_path, capsys, folder)
    _, result, _, _ = run(tmp_path, capsys, folder)
    assert (result["done"], result["skipped"], result["refused"]) == (0, 3, 1)
    write_edf(folder / "sub-04" / "sub-04_eeg.edf", make_raw(seconds=8, seed=4))
    _, result, _, _ = run(tmp_path, capsys, folder)
    assert (result["done"], result["skipped"], result["refused"]) == (1, 3, 0)
    assert not (tmp_path / "root" / "store" / "failures.jsonl").exists()


def test_exit_code_follows_the_failure_rate(tmp_path, capsys, folder):
    assert run(tmp_path, capsys, folder, "--max-failure-rate", 0.2)[0] == 1
    assert run(tmp_path, capsys, folder, "--max-failure-rate", 0.3)[0] == 0


def test_nothing_got_through_is_a_failure(tmp_path, capsys, folder):
    for path in folder.rglob("*.edf"):
        path.write_bytes(b"")
    code, result, _, _ = run(tmp_path, capsys, folder, "--max-failure-rate", 1)
    assert code == 1 and result["refused"] == 4


def test_status_and_report_say_the_same(tmp_path, capsys, folder):
    run(tmp_path, capsys, folder)
    code, result, out, _ = prep(tmp_path, capsys, command="status")
    assert code == 0 and result["recordings"] == 3 and len(result["failures"]) == 1
    assert "mine/sub-04/sub-04_eeg.edf" in out
    html = Path(prep(tmp_path, capsys, command="report")[1]["report"]).read_text()
    assert "the header announces" in html and "image/png;base64" in html and "mine" in html
    assert "&lt;" in html or "<script" not in html


def test_status_before_anything(tmp_path, capsys):
    code, result, out, _ = prep(tmp_path, capsys, command="status")
    assert code == 0 and result["recordings"] == 0 and "no tables yet" in " ".join(out.split())


def test_finalize_leaves_damaged_recordings_out_and_says_so(tmp_path, capsys, folder):
    run(tmp_path, capsys, folder)
    victim = next((tmp_path / "root" / "store" / "mine").glob("*.safetensors"))
    content = bytearray(victim.read_bytes())
    content[-50] ^= 1
    victim.write_bytes(content)
    code, result, _, err = prep(tmp_path, capsys, "--verify", "all", command="finalize")
    assert code == 1 and len(result["damaged"]) == 1 and victim.name in err.replace("\n", "")
    assert len(Store(tmp_path / "root" / "store")) == 2


def test_recipe_of_a_store_cannot_be_changed_on_the_way(tmp_path, capsys, folder):
    run(tmp_path, capsys, folder)
    code, _, _, err = run(tmp_path, capsys, folder, "--sfreq", 128)
    assert code == 1 and err.startswith("brainfm: sfreq is 128.0 in this command but 256.0 in")


def test_recipe_options_reach_the_store(tmp_path, capsys, folder):
    code, _, _, _ = run(
        tmp_path, capsys, folder, "--sfreq", 100, "--highpass", "none", "--lowpass", 40
    )
    recipe = Store(tmp_path / "root" / "store").recipe
    assert code == 0 and (recipe.sfreq, recipe.highpass_hz, recipe.lowpass_hz) == (100, None, 40)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing to do: give --dataset NAME"),
        (("--dataset", "nonsense"), "data set 'nonsense' is unknown; known: aeon_blink"),
        (("--source", "/nowhere/at/all"), "/nowhere/at/all: missing; check --source"),
        (("--dataset", "eegmmidb", "--subjects", "one"), "--subjects is 'one'"),
        (("--dataset", "aeon_hmd", "--no-fetch"), "nothing of it lies under"),
    ],
)
def test_refusals_are_one_sentence(tmp_path, capsys, words, says):
    code, _, _, err = prep(tmp_path, capsys, *words)
    assert code == 1 and says in " ".join(err.split()) and "Traceback" not in err


def test_list_shows_every_data_set_and_what_is_refused(tmp_path, capsys):
    code, result, out, _ = prep(tmp_path, capsys, command="list")
    names = {d["name"] for d in result["datasets"]}
    assert code == 0 and {"aeon_hmd", "aeon_blink", "bsnb_s001r02", "eegmmidb"} <= names
    refused = {d["name"] for d in result["datasets"] if d["refused"]}
    assert refused == {"aeon_scp1", "aeon_scp2", "aeon_fingers"}


def test_subjects_as_people_write_them():
    assert parse_subjects("1,3-5,4") == (1, 3, 4, 5)


def start(tmp_path, folder, *words):
    command = [sys.executable, "-m", "data_prep", "run", "--source", str(folder), "--name", "mine"]
    command += ["--data-root", str(tmp_path / "root"), "--line-freq", "50", *words]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ,
        # Shells start background jobs deaf to Ctrl-C, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_leaves_whole_files_and_can_go_on(tmp_path, capsys, sign):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(30):
        write_edf(folder / f"r{k:02d}.edf", make_raw(seconds=8, seed=k, events=False))
    process = start(tmp_path, folder, "--jobs", "0")
    store = tmp_path / "root" / "store"
    deadline = time.monotonic() + 120
    while len(list(store.glob("mine/*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    before = len(list(store.glob("mine/*.safetensors")))
    assert 3 <= before < 30
    if sign == signal.SIGINT:
        assert process.returncode == 130 and b"run the same command again" in err
    code, result, _, _ = prep(tmp_path, capsys, command="finalize")
    assert code == 0 and result["recordings"] == before
    code, result, _, _ = run(tmp_path, capsys, folder)
    assert code == 0 and (result["skipped"], result["done"]) == (before, 30 - before)
    assert not list(store.rglob("*.tmp")) and len(Store(store)) == 30


def test_the_table_says_where_no_high_pass_was_applied(tmp_path, capsys):
    for name, seconds in (("short", 8), ("long", 40)):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_edf(tmp_path / "in" / f"{name}.edf", make_raw(seconds=seconds))
    run(tmp_path, capsys, tmp_path / "in")
    table = Store(tmp_path / "root" / "store").recordings.set_index("name")["highpass_hz"]
    assert table["long.edf"] == 0.1 and table.isna()["short.edf"]
