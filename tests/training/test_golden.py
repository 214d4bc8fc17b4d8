"""Twenty steps of each objective: a refactor may not move the losses.

To write them anew after a change that is meant: `BRAINFM_WRITE_GOLDEN=1 pytest <this file>`.
"""

import os
from pathlib import Path

import pandas as pd
import pytest

from brainfm.training.metrics import read_metrics

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 20
# Columns and how far each may move: four digits, but angles near +-pi wrap on rounding alone.
COLUMNS = {
    "codec": {"loss": 1.2e-2, "time": 5e-4, "pcc": 5e-4, "amp": 5e-4, "phase": 2e-2, "lr": 1e-7},
    "masked": {"loss": 5e-3, "lr": 1e-7},
}


@pytest.mark.parametrize("task", COLUMNS)
def test_losses_stay_where_they_were(runs, task):
    config = runs.config(task, trainer={"max_steps": STEPS, "val_check_interval": 100})
    assert runs.main("fit", "--config", config) == 0
    now = read_metrics(runs.run("run"))[["step", *COLUMNS[task]]]
    path = GOLDEN / f"losses_{task}.txt"
    if os.environ.get("BRAINFM_WRITE_GOLDEN"):
        path.write_text(now.to_string(index=False, float_format=lambda v: f"{v:.7g}") + "\n")
    known = pd.read_csv(path, sep=r"\s+")
    assert now.step.tolist() == known.step.tolist() == list(range(1, STEPS + 1))
    for column, tolerance in COLUMNS[task].items():
        worst = (now[column] - known[column]).abs().max()
        assert worst <= tolerance, f"{column} moved by {worst}"
