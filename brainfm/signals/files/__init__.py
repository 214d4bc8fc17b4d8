"""Files into MNE Raw objects: the header is held against the file before a sample is decoded."""
