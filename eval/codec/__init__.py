"""Rate against distortion: what codecs cost and what they keep, beside classical coders."""
