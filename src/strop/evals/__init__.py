"""Evaluation: metrics, suites, results with intervals, and the gate.

A name is loaded when it is used: a process that only grades needs one verifier and not the gate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.evals.asking import row_seed
    from strop.evals.gating.config import GateConfig, Threshold, parse_gate_config, read_gate_config
    from strop.evals.gating.decide import gate
    from strop.evals.gating.go_live import GoLive, go_live, is_releasable
    from strop.evals.gating.report import check_gate_report, gate_report, read_gate_report, write_gate_report
    from strop.evals.metrics import Confusion, Price, confusion, percentile
    from strop.evals.results import ItemResult, Rate, SampleResult, SuiteResult
    from strop.evals.run import evaluate
    from strop.evals.suite import Metric, Suite, task_suite, world_suite

__all__ = [
    "Confusion",
    "GateConfig",
    "GoLive",
    "ItemResult",
    "Metric",
    "Price",
    "Rate",
    "SampleResult",
    "Suite",
    "SuiteResult",
    "Threshold",
    "check_gate_report",
    "confusion",
    "evaluate",
    "gate",
    "gate_report",
    "go_live",
    "is_releasable",
    "parse_gate_config",
    "percentile",
    "read_gate_config",
    "read_gate_report",
    "row_seed",
    "task_suite",
    "world_suite",
    "write_gate_report",
]

_HOMES = {
    "Confusion": "metrics",
    "GateConfig": "gating.config",
    "GoLive": "gating.go_live",
    "ItemResult": "results",
    "Metric": "suite",
    "Price": "metrics",
    "Rate": "results",
    "SampleResult": "results",
    "Suite": "suite",
    "SuiteResult": "results",
    "Threshold": "gating.config",
    "check_gate_report": "gating.report",
    "confusion": "metrics",
    "evaluate": "run",
    "gate": "gating.decide",
    "gate_report": "gating.report",
    "go_live": "gating.go_live",
    "is_releasable": "gating.go_live",
    "parse_gate_config": "gating.config",
    "percentile": "metrics",
    "read_gate_config": "gating.config",
    "read_gate_report": "gating.report",
    "row_seed": "asking",
    "task_suite": "suite",
    "world_suite": "suite",
    "write_gate_report": "gating.report",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"strop.evals.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
