"""From features to a verdict: calibrated score, thresholds for a target rate, and policies."""
