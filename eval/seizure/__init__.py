"""Seizure detectors scored as epileptologists score them: events, false alarms, latency."""
