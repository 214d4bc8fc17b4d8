"""Readers, data sets and the preparation of a store: `python -m data_prep --help`."""
