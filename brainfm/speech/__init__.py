"""What was said: phonemes, text, search over probabilities, and decoders of speech."""
