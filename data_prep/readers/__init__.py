"""Readers of recordings, one small module a family; `read_raw` in `raw.py` picks one."""
