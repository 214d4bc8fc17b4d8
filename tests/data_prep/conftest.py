import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def edf_bytes(tmp_path_factory):
    from prep_helpers import write_edf

    path = tmp_path_factory.mktemp("edf") / "made.edf"
    write_edf(path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def fif_bytes(tmp_path_factory):
    from prep_helpers import write_fif

    path = tmp_path_factory.mktemp("fif") / "made_raw.fif"
    write_fif(path)
    return path.read_bytes()
