"""One module a data set; `all_datasets` finds them, there is no list to edit."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from brainfm.errors import DataError
from data_prep.dataset import DataSet


@lru_cache(maxsize=1)
def all_datasets() -> dict[str, DataSet]:
    """Name to data set, sorted by name.

    Raises
    ------
    DataError
        If two modules give one name.
    """
    found: dict[str, DataSet] = {}
    for module in pkgutil.iter_modules(__path__):
        content = vars(importlib.import_module(f"{__name__}.{module.name}"))
        for value in content.values():
            if isinstance(value, DataSet):
                if value.name in found and found[value.name] is not value:
                    raise DataError(f"two data sets are called '{value.name}'; rename one")
                found[value.name] = value
    return dict(sorted(found.items()))


def get_dataset(name: str) -> DataSet:
    """The data set of that name.

    Raises
    ------
    DataError
        If there is none; names the known ones.
    """
    known = all_datasets()
    if name not in known:
        raise DataError(f"data set '{name}' is unknown; known: {', '.join(known)}")
    return known[name]
