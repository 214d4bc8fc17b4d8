"""What an encoder knows: probes, fine-tunes, controls and baselines on one split."""
