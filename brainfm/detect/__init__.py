"""From an encoder and a head to alarms: detectors, live engines, events and their pictures."""
