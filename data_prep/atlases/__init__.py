"""Atlases of the brain that ship in registry packages, read as data and never installed."""

from data_prep.atlases.atlas import Atlas, make_atlas, parcel_means
from data_prep.atlases.registry import atlas_files, atlas_names, fetch_atlas, load_atlas

__all__ = [
    "Atlas",
    "atlas_files",
    "atlas_names",
    "fetch_atlas",
    "load_atlas",
    "make_atlas",
    "parcel_means",
]
