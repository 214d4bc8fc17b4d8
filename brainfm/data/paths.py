"""Where data lie: one root, named by the environment."""

import os
from pathlib import Path

ROOT_VARIABLE = "BRAINFM_DATA"
DEFAULT_ROOT = "~/brainfm_data"


def data_root() -> Path:
    """Folder of downloads and the store: `$BRAINFM_DATA`, else `~/brainfm_data`."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser()


def store_root() -> Path:
    """Folder of the prepared recordings: `store` under the data root."""
    return data_root() / "store"
