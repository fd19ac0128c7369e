"""Evaluation: metrics, suites, results with intervals, and the gate.

A name is loaded when it is used: a process that only grades needs one verifier and not the gate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.evals.asking import row_seed
    from strop.evals.contamination import Contamination, find_contamination
    from strop.evals.gating.config import GateConfig, Threshold, parse_gate_config, read_gate_config
    from strop.evals.gating.decide import gate
    from strop.evals.gating.go_live import GoLive, go_live, is_releasable
    from strop.evals.gating.report import check_gate_report, gate_report, read_gate_report, write_gate_report
    from strop.evals.looks import Looks, read_looks, record_looks
    from strop.evals.metrics import Confusion, Price, confusion, percentile
    from strop.evals.overfitting import Overfitting, measure_gap
    from strop.evals.results import ItemResult, Rate, SampleResult, SuiteResult
    from strop.evals.run import evaluate
    from strop.evals.suite import Metric, Suite, task_suite, world_suite

__all__ = [
    "Confusion",
    "Contamination",
    "GateConfig",
    "GoLive",
    "ItemResult",
    "Looks",
    "Metric",
    "Overfitting",
    "Price",
    "Rate",
    "SampleResult",
    "Suite",
    "SuiteResult",
    "Threshold",
    "check_gate_report",
    "confusion",
    "evaluate",
    "find_contamination",
    "gate",
    "gate_report",
    "go_live",
    "is_releasable",
    "measure_gap",
    "parse_gate_config",
    "percentile",
    "read_gate_config",
    "read_gate_report",
    "read_looks",
    "record_looks",
    "row_seed",
    "task_suite",
    "world_suite",
    "write_gate_report",
]

_HOMES = {
    "Confusion": "metrics",
    "Contamination": "contamination",
    "GateConfig": "gating.config",
    "GoLive": "gating.go_live",
    "ItemResult": "results",
    "Looks": "looks",
    "Metric": "suite",
    "Overfitting": "overfitting",
    "Price": "metrics",
    "Rate": "results",
    "SampleResult": "results",
    "Suite": "suite",
    "SuiteResult": "results",
    "Threshold": "gating.config",
    "check_gate_report": "gating.report",
    "confusion": "metrics",
    "evaluate": "run",
    "find_contamination": "contamination",
    "gate": "gating.decide",
    "gate_report": "gating.report",
    "go_live": "gating.go_live",
    "is_releasable": "gating.go_live",
    "measure_gap": "overfitting",
    "parse_gate_config": "gating.config",
    "percentile": "metrics",
    "read_gate_config": "gating.config",
    "read_gate_report": "gating.report",
    "read_looks": "looks",
    "record_looks": "looks",
    "row_seed": "asking",
    "task_suite": "suite",
    "world_suite": "suite",
    "write_gate_report": "gating.report",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"strop.evals.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
