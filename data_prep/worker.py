"""A reader process: takes jobs as JSON lines, answers with outcomes; its death costs one job.

Run as `python -m data_prep.worker RECIPE_JSON STORE`, not by hand.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

READY = "ready"
"""First line of every worker: the interpreter is up, the clock of the first job may run."""


def main(argv: list[str]) -> int:
    """Serve until standard input closes."""
    # Answers go to the real standard output; whatever a reader prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from brainfm.signals.preprocess import Recipe
    from data_prep.dataset import Job
    from data_prep.prepare import prepare_one

    answers.write(READY + "\n")
    answers.flush()
    recipe, store = Recipe(**json.loads(argv[0])), Path(argv[1])
    for line in sys.stdin:
        d = json.loads(line)
        job = Job(d["dataset"], d["name"], tuple(d["files"]), d["options"])
        answers.write(prepare_one(job, recipe, store).to_json() + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
