"""One recording from source to store: pure, idempotent, and never half done."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import time
import traceback
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from brainfm.data.stimulus import is_stimulus
from brainfm.data.store import split_into_parts, write_recording
from brainfm.errors import ContractError, DataError
from brainfm.signals.choice import best_contacts
from brainfm.signals.preprocess import SINCE, Recipe
from data_prep.dataset import Job

VERSION = 1
"""Raised when preparation gives other samples for the same source and recipe."""


@dataclass
class Outcome:
    """What became of a job.

    Attributes
    ----------
    status : "done", "skipped" (was there already), "refused" (one of our sentences), "crashed"
        (a reader broke; also isolated), "stopped" (the disk is full: no use in going on)
    reason : why, for everything but done and skipped
    files : names of published files, relative to the store
    """

    dataset: str
    name: str
    source: str
    status: str
    reason: str = ""
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    hours: float = 0.0
    detail: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        d = json.loads(text)
        return cls(**{**d, "files": tuple(d["files"])})


def job_key(job: Job, recipe: Recipe) -> str:
    """Hash of everything that decides the result: source path, size and time, options, recipe."""
    stats = []
    for name in job.files:
        for path in _all_files(Path(name)):
            s = path.stat()
            stats.append([str(path), s.st_size, s.st_mtime_ns])
    # A field younger than prepared files is no reason to prepare them again.
    done = {
        f.name: getattr(recipe, f.name)
        for f in fields(recipe)
        if f.name not in SINCE or getattr(recipe, f.name) != f.default
    }
    content = [VERSION, job.dataset, job.name, stats, job.options, done]
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def prepare_one(job: Job, recipe: Recipe, store: Path) -> Outcome:
    """Read, check, filter and publish one recording; every failure becomes an outcome.

    Parameters
    ----------
    job : from `DataSet.jobs`
    recipe : the store's
    store : folder; the recording goes to `<store>/<dataset>/<name>-<key>.safetensors`

    Returns
    -------
    Outcome; only `KeyboardInterrupt` and `SystemExit` pass through
    """
    started = time.monotonic()
    out = Outcome(job.dataset, job.name, job.files[0] if job.files else "", "crashed")
    try:
        folder = store / safe_name(job.dataset)
        key = job_key(job, recipe)
        stem = f"{safe_name(job.name)}-{key}"
        done = _published(folder, stem)
        if done:
            out.status, out.files = "skipped", tuple(f"{folder.name}/{p.name}" for p in done)
            return out
        recording = load(job, recipe)
        if "best_contacts" in job.options:
            recording = best_contacts(recording, job.options["best_contacts"])
        parts = split_into_parts(recording)
        out.hours = recording.duration_s / 3600
        files = []
        for k, part in enumerate(parts):
            # All parts but the last carry a mark; the last one published completes the set.
            tail = f".part{k + 1:03d}of{len(parts):03d}" if len(parts) > 1 else ""
            path = folder / f"{stem}{tail}.safetensors"
            write_recording(part, path, recipe=recipe)
            files.append(f"{folder.name}/{path.name}")
        _remove_older(folder, job.name, key)
        out.status, out.files = "done", tuple(files)
    except (DataError, ContractError) as e:
        out.status, out.reason = "refused", str(e)
        if _disk_full(e):
            out.status = "stopped"
    except MemoryError as e:
        out.status = "refused"
        out.reason = f"{out.source}: needs more memory than there is ({e}); cut it into parts"
    except Exception as e:
        out.status = "stopped" if _disk_full(e) else "crashed"
        out.reason = (
            f"{out.source}: {type(e).__name__}: {' '.join(str(e).split())[:200]}; leave the file "
            "out, or report it with the traceback in failures.jsonl"
        )
        out.detail = traceback.format_exc()[-4000:]
    finally:
        out.seconds = round(time.monotonic() - started, 3)
    return out


def load(job: Job, recipe: Recipe) -> Any:
    """The recording of a job: by its data set, or by the files a user named."""
    if "source_root" in job.options:
        from data_prep.user import load_user_job

        return load_user_job(job, recipe)
    from data_prep.datasets import get_dataset

    return get_dataset(job.dataset).load(job, recipe)


def _published(folder: Path, stem: str) -> list[Path]:
    whole = folder / f"{stem}.safetensors"
    if whole.is_file():
        return [whole]
    found = folder.glob(f"{stem}.part*of*.safetensors")
    parts = sorted(p for p in found if not is_stimulus(p))
    if not parts:
        return []
    expected = int(parts[0].name.rsplit("of", 1)[1].split(".")[0])
    return parts if len(parts) == expected else []


def _remove_older(folder: Path, name: str, key: str) -> None:
    """Files of the same recording under another key: its source or recipe has changed."""
    pattern = re.compile(
        re.escape(safe_name(name)) + r"-([0-9a-f]{12})(\.part\d+of\d+)?(\.stimulus)?\.safetensors"
    )
    for path in folder.iterdir():
        m = pattern.fullmatch(path.name)
        if m and m[1] != key:
            path.unlink(missing_ok=True)


def _all_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if not path.exists():
        raise DataError(f"{path}: missing; fetch the data set again")
    return [path]


def safe_name(name: str) -> str:
    """A name without what file systems or globs read as more than a name."""
    short = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "recording"
    if short == name and len(name) <= 80:
        return short
    # Two names must not become one.
    return f"{short[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # safetensors raises its own error with the text of the system's.
        if "os error 28" in str(error).lower() or "no space left" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False
