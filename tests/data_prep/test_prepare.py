import errno
import os

import pytest
from prep_helpers import make_raw, write_edf

from brainfm.data import format as store_format
from brainfm.data.format import read_header
from brainfm.errors import ContractError, DataError
from brainfm.signals.preprocess import Recipe
from data_prep import prepare, state
from data_prep.prepare import Outcome, job_key, prepare_one, safe_name
from data_prep.user import UserOptions, user_jobs

RECIPE = Recipe()


@pytest.fixture
def job(tmp_path):
    (tmp_path / "in").mkdir()
    write_edf(tmp_path / "in" / "sub-01_eeg.edf", make_raw(seconds=10))
    return user_jobs(tmp_path / "in", UserOptions(line_freq=50.0), "mine")[0]


def published(store):
    return sorted(p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file())


def test_a_recording_is_published_under_its_name_and_key(job, tmp_path):
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert out.status == "done" and out.hours == pytest.approx(10 / 3600)
    assert published(tmp_path / "store") == list(out.files)
    header = read_header(tmp_path / "store" / out.files[0])
    assert (header["dataset"], header["subject"]) == ("mine", "01")


def test_doing_it_again_does_nothing(job, tmp_path):
    first = prepare_one(job, RECIPE, tmp_path / "store")
    time = (tmp_path / "store" / first.files[0]).stat().st_mtime_ns
    again = prepare_one(job, RECIPE, tmp_path / "store")
    assert again.status == "skipped" and again.files == first.files
    assert (tmp_path / "store" / first.files[0]).stat().st_mtime_ns == time


def test_a_changed_source_is_prepared_again_and_replaces_the_old(job, tmp_path):
    first = prepare_one(job, RECIPE, tmp_path / "store")
    write_edf(tmp_path / "in" / "sub-01_eeg.edf", make_raw(seconds=10, seed=3))
    os.utime(job.files[0], (1, 1))
    second = prepare_one(job, RECIPE, tmp_path / "store")
    assert second.status == "done" and second.files != first.files
    assert published(tmp_path / "store") == list(second.files)


def test_the_key_sees_source_recipe_and_options(job):
    other = type(job)(job.dataset, job.name, job.files, {**job.options, "unit": "uV"})
    keys = {job_key(job, RECIPE), job_key(job, Recipe(sfreq=200.0, lowpass_hz=80.0))}
    keys.add(job_key(other, RECIPE))
    assert len(keys) == 3 and job_key(job, RECIPE) in keys


def test_a_refusal_is_an_outcome_with_the_sentence(job, tmp_path):
    open(job.files[0], "wb").close()
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert out.status == "refused" and "sub-01_eeg.edf: is empty" in out.reason
    assert not (tmp_path / "store").exists() or published(tmp_path / "store") == []


def test_a_source_that_has_gone_is_an_outcome(job, tmp_path):
    os.unlink(job.files[0])
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert out.status == "refused" and "missing" in out.reason


def test_a_bug_is_an_outcome_with_a_traceback(job, tmp_path, monkeypatch):
    def broken(job, recipe):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(prepare, "load", broken)
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert out.status == "crashed" and "ZeroDivisionError: by nought" in out.reason
    assert "Traceback" in out.detail and Outcome.from_json(out.to_json()) == out


@pytest.mark.parametrize("where", ["save_file", "fsync"])
def test_a_full_disk_stops_with_one_sentence_and_leaves_nothing(job, tmp_path, monkeypatch, where):
    def full(*args, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = store_format if where == "save_file" else os
    monkeypatch.setattr(target, where, full)
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert out.status == "stopped" and "No space left on device" in out.reason
    assert "nothing was published" in out.reason and published(tmp_path / "store") == []


def test_very_long_recordings_come_in_parts_and_count_as_one(job, tmp_path, monkeypatch):
    from brainfm.data import parts

    monkeypatch.setattr(prepare, "split_into_parts", lambda r: parts.split_into_parts(r, 4 / 3600))
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert len(out.files) == 3 and "part001of003" in out.files[0]
    assert prepare_one(job, RECIPE, tmp_path / "store").status == "skipped"
    (tmp_path / "store" / out.files[1]).unlink()
    assert prepare_one(job, RECIPE, tmp_path / "store").status == "done"
    assert published(tmp_path / "store") == list(out.files)


@pytest.mark.parametrize("name", ["a/b", "../../etc/passwd", "x" * 300, "a*b", "été", ""])
def test_file_names_stay_in_their_folder(name):
    safe = safe_name(name)
    assert "/" not in safe and not safe.startswith(".") and 0 < len(safe) <= 80


def test_names_that_differ_stay_different():
    assert safe_name("a/b") != safe_name("a_b") != safe_name("a*b")


def test_a_store_keeps_to_one_recipe(tmp_path):
    state.claim_recipe(tmp_path, RECIPE)
    state.claim_recipe(tmp_path, RECIPE)
    with pytest.raises(ContractError, match="sfreq is 200.0 in this command but 256.0 in"):
        state.claim_recipe(tmp_path, Recipe(sfreq=200.0, lowpass_hz=80.0))


def test_two_preparations_of_one_store_do_not_meet(tmp_path):
    held = state.lock(tmp_path)
    with pytest.raises(DataError, match="another data_prep is at work there"):
        state.lock(tmp_path)
    held.close()
    state.lock(tmp_path).close()


def test_failures_are_kept_until_they_get_through(tmp_path):
    log = state.FailureLog(tmp_path)
    log.add(Outcome("d", "a", "a.edf", "refused", "why a"))
    log.add(Outcome("d", "b", "b.edf", "crashed", "why b"))
    log.tidy()
    assert [r["reason"] for r in state.read_failures(tmp_path)] == ["why a", "why b"]
    log = state.FailureLog(tmp_path)
    log.add(Outcome("d", "a", "a.edf", "done"))
    log.tidy()
    assert [r["name"] for r in state.read_failures(tmp_path)] == ["b"]


def test_a_half_written_line_of_a_killed_run_is_no_trouble(tmp_path):
    (tmp_path / "failures.jsonl").write_text('{"dataset": "d", "name": "a", "reason": "r"}\n{"da')
    assert len(state.read_failures(tmp_path)) == 1


def test_leftovers_of_killed_writers_are_swept(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".a.safetensors.123.tmp").write_text("half")
    (tmp_path / "d" / "b.safetensors").write_text("whole")
    assert state.clean_temporaries(tmp_path, ["d"]) == 1
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["b.safetensors"]
