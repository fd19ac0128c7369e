"""What stands around the weights, and whether it is still what the baseline had: template, tokenizer, tools, index."""

from strop.evals.drift.checks import CHECKS, Drift, DriftCheck, drift, drift_checks
from strop.evals.drift.replay import Probe, lock_index, replay_index, with_index
from strop.evals.drift.surroundings import Surroundings, surroundings_of

__all__ = [
    "CHECKS",
    "Drift",
    "DriftCheck",
    "Probe",
    "Surroundings",
    "drift",
    "drift_checks",
    "lock_index",
    "replay_index",
    "surroundings_of",
    "with_index",
]
