"""Evaluation: metrics, suites, results with intervals, and the gate."""

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
