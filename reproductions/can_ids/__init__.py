"""Intrusion detection on a car's CAN bus: logs, windows, graphs, and detectors that may be distilled."""
