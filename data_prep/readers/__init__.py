"""Readers that are not one file: BIDS roots, arrays, trial sets. Files: `brainfm.signals.files`."""
