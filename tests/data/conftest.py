"""A finished simulated store that no test changes, and one that each test may break."""

import shutil

import pytest

from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_store


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    """EEG and MEG, four subjects each, two layouts each, 20 s at 256 Hz."""
    return synthetic_store(tmp_path_factory.mktemp("simulated") / "store")


@pytest.fixture
def broken(store, tmp_path):
    """A copy of the store's folder, to damage."""
    shutil.copytree(store.root, tmp_path / "store")
    return tmp_path / "store"
