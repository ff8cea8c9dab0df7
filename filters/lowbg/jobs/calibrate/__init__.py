"""Thresholds for a target false-positive rate on the user's own human text."""
