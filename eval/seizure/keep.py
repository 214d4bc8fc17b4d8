"""The chosen threshold travels with the weights: written into the folders of the detectors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brainfm.data.format import publish
from brainfm.detect.alarms import AlarmRule
from brainfm.errors import DataError
from brainfm.hub import CARD, CONFIG
from eval.seizure.points import POINTS

KEPT = POINTS[1:]
"""Operating points that are chosen on validation patients, and so can be kept."""


def require_keepable(point: str, folders: Mapping[str, str], validation: Sequence[int]) -> None:
    """Refuse before hours of scoring what could not be kept after them.

    Parameters
    ----------
    point : of `KEPT`
    folders : run -> folder of its detector
    validation : rows of the validation recordings

    Raises
    ------
    DataError
        If there is no validation patient, no detector, or a folder that cannot be written to.
    """
    if not folders:
        raise DataError(f"--keep '{point}': there is no detector to keep it; give --checkpoint")
    if not validation:
        raise DataError(
            f"--keep '{point}': no validation patients to choose a threshold on; give --train a "
            "query that also matches annotated recordings of split 'val'"
        )
    for folder in folders.values():
        if not (os.access(folder, os.W_OK) and os.access(Path(folder, CONFIG), os.W_OK)):
            raise DataError(
                f"--keep '{point}': {Path(folder, CONFIG)} cannot be written to; check its "
                "permissions, or copy the folder and give the copy"
            )


def keep(point: str, folders: Mapping[str, str], result: Mapping[str, Any]) -> list[str]:
    """Write each run's threshold, the rule it was chosen with, and how, into its folder.

    Parameters
    ----------
    point : of `KEPT`
    folders : run -> folder of its detector
    result : of `evaluate`

    Returns
    -------
    one sentence a folder

    Raises
    ------
    DataError
        If no threshold met the condition of the point for one of the runs (nothing is written
        then), or the disk refuses.
    """
    chosen = {run: result["points"][run][point] for run in folders}
    for run, found in chosen.items():
        if not found["chosen"]:
            raise DataError(
                f"--keep '{point}': '{run}' has no such threshold ({found['how']}); nothing was "
                "kept, choose another point or more validation patients"
            )
    simulated = " (simulated)" if result["data"]["validation"]["simulated"] else ""
    said = []
    for run, folder in folders.items():
        how = f"{point}: {chosen[run]['how']}{simulated}"
        rule = AlarmRule(chosen[run]["threshold"], **result["rule"])
        write_rule(Path(folder), rule, how)
        said.append(f"{Path(folder, CONFIG)}: threshold {rule.threshold:g} is kept ({how})")
    return said


def write_rule(folder: Path, rule: AlarmRule, how: str) -> None:
    """Into configuration and model card; each appears whole or not at all."""
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    before = content["config"]["alarm"]
    content["config"] |= {"alarm": asdict(rule), "threshold_from": how}
    with publish(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    card = folder / CARD
    if card.is_file():
        text = card.read_text(encoding="utf-8")
        with publish(card) as temporary:
            temporary.write_text(text.replace(f"`{before}`", f"`{asdict(rule)}`"), encoding="utf-8")
