"""Images found again in fMRI: `python -m eval.images`."""
