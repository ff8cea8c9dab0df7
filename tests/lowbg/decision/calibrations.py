"""A calibration as a language's tables have one."""

from lowbg.decision.calibration import Calibration

CALIBRATION = Calibration(
    mean=-0.4,
    between=0.04,
    within=9.0,
    thresholds=(4.0, 3.5, 3.0, 2.5, 2.1, 1.7, 1.3, 0.8, 0.0),
    intercept=-4.0,
    slope=1.6,
    min_words=75,
)
