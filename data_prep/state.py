"""What happened to each recording, kept beside the store: `failures.jsonl` and `runs.jsonl`.

Both are rewritten whole and renamed into place, so a killed run leaves the last good state.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brainfm.data.format import publish
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe, require_same
from data_prep.prepare import Outcome

FAILURES = "failures.jsonl"
RECIPE = "recipe.json"


def read_failures(store: Path) -> list[dict[str, Any]]:
    """Recordings that did not get through, one dict each; unreadable lines are left out."""
    path = store / FAILURES
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            # The last line of a run that was killed while it appended.
            continue
    return rows


class FailureLog:
    """Failures of a run, appended as they come and tidied at the end.

    A recording that gets through later disappears from the file.
    """

    def __init__(self, store: Path) -> None:
        self.path = store / FAILURES
        store.mkdir(parents=True, exist_ok=True)
        self.rows = {(r["dataset"], r["name"]): r for r in read_failures(store)}

    def add(self, outcome: Outcome) -> None:
        key = (outcome.dataset, outcome.name)
        if outcome.status in ("done", "skipped"):
            self.rows.pop(key, None)
            return
        row = {k: v for k, v in asdict(outcome).items() if k not in ("files", "hours")}
        row["when"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self.rows[key] = row
        try:
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(json.dumps(row) + "\n")
        except OSError:
            # The disk that is full cannot take the note either; it is still shown and counted.
            return

    def tidy(self) -> None:
        """Write one line a failure, the latest."""
        if not self.rows:
            self.path.unlink(missing_ok=True)
            return
        text = "".join(json.dumps(r) + "\n" for r in self.rows.values())
        with publish(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def claim_recipe(store: Path, recipe: Recipe) -> None:
    """Note the recipe of a store before its first recording, or compare it.

    Raises
    ------
    ContractError
        If the store was begun with another recipe.
    DataError
        If the folder cannot be written.
    """
    path = store / RECIPE
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"{store}: cannot be made ({e}); give another --store") from e
    if path.exists():
        try:
            known = Recipe(**json.loads(path.read_text()))
        except (ValueError, TypeError) as e:
            raise DataError(f"{path}: damaged ({e}); delete it and run again") from e
        require_same(
            recipe, known, my_name="this command", their_name=f"{store} (give another --store)"
        )
        return
    with publish(path) as temporary:
        temporary.write_text(json.dumps(asdict(recipe), indent=1) + "\n")


def lock(store: Path) -> Any:
    """An exclusive lock on a store for the life of the returned file object.

    Raises
    ------
    DataError
        If another preparation holds it. The lock dies with its process, however that ends.
    """
    import fcntl

    store.mkdir(parents=True, exist_ok=True)
    handle = open(store / ".lock", "a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        handle.close()
        raise DataError(f"{store}: another data_prep is at work there; wait for it") from e
    handle.seek(0)
    handle.truncate()
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def clean_temporaries(store: Path, folders: Iterable[str]) -> int:
    """Delete what killed writers left in these data sets' folders; call under the lock."""
    n = 0
    for name in folders:
        for path in (store / name).glob(".*.tmp"):
            path.unlink(missing_ok=True)
            n += 1
    return n
