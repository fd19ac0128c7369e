"""What is measured of an answer: functions ``(task, completion, verdict) -> {metric: value}``, to be put together."""

from strop.evals.measures.actions import CallsRun, CodeRuns, measure_tools
from strop.evals.measures.concision import Concision, compare_length
from strop.evals.measures.confidence import Calibration, agreement_of, calibrate, calibration_of, measure_confidence
from strop.evals.measures.rules import check_rules, language_of, measure_rules
from strop.evals.measures.speech import echo, measure_speech, repetition
from strop.evals.measures.support import measure_support, with_calls
from strop.evals.measures.table import METRICS, described, metrics_of
from strop.evals.measures.together import Only, Together, only, together
from strop.evals.measures.tone import Tone, ToneAudit, ToneModel, audit_tone, fit_tone, fitted_tone

__all__ = [
    "METRICS",
    "Calibration",
    "CallsRun",
    "CodeRuns",
    "Concision",
    "Only",
    "Together",
    "Tone",
    "ToneAudit",
    "ToneModel",
    "agreement_of",
    "audit_tone",
    "calibrate",
    "calibration_of",
    "check_rules",
    "compare_length",
    "described",
    "echo",
    "fit_tone",
    "fitted_tone",
    "language_of",
    "measure_confidence",
    "measure_rules",
    "measure_speech",
    "measure_support",
    "measure_tools",
    "metrics_of",
    "only",
    "repetition",
    "together",
    "with_calls",
]
