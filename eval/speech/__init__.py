"""Decoders of speech beside what needs no brain, the wrong brain, or no network."""
