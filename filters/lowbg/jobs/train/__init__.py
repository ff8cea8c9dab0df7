"""Text → tables, thresholds and figures: the code behind `lowbg train`, `calibrate` and `eval`."""
