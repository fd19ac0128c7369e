"""Suites that probe one property: the three boundaries, robustness, sycophancy, format drift, calibration, rules."""

from strop.evals.probes.adherence import adherence_suite
from strop.evals.probes.boundaries import boundaries_suite, confusion_of
from strop.evals.probes.format_drift import Drift, LongRun, drift, drift_of, format_drift_suite, long_run
from strop.evals.probes.robustness import accuracy_drop, robustness_suite
from strop.evals.probes.sycophancy import accuracy_under_pressure, sycophancy_suite
from strop.evals.probes.told import told
from strop.evals.probes.twins import TwinDifference, compare_twins
from strop.evals.probes.widened import assistant_suite, calibration_suite, finance_tone, speech_suite, widened

__all__ = [
    "Drift",
    "LongRun",
    "TwinDifference",
    "accuracy_drop",
    "accuracy_under_pressure",
    "adherence_suite",
    "assistant_suite",
    "boundaries_suite",
    "calibration_suite",
    "compare_twins",
    "confusion_of",
    "drift",
    "drift_of",
    "finance_tone",
    "format_drift_suite",
    "long_run",
    "robustness_suite",
    "speech_suite",
    "sycophancy_suite",
    "told",
    "widened",
]
