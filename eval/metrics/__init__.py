"""Scores: one file a task, plain functions on arrays."""
