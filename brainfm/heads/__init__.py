"""Heads: from features to predictions and named losses."""
