"""The red team: attacks with benign twins, detectors whose errors are measured, and two-sided rates.

A name is loaded when it is used: a grading process needs the verifier alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.evals.red_team.attacks import red_team_tasks
    from strop.evals.red_team.evidence import (
        RedTeamEvidence,
        RedTeamLimits,
        read_red_team_evidence,
        red_team_evidence,
        write_red_team_evidence,
    )
    from strop.evals.red_team.measuring import Measurement, measure_detector, measurements
    from strop.evals.red_team.report import RedTeamReport, red_team_report
    from strop.evals.red_team.suite import red_team_suite
    from strop.evals.red_team.verifier import RedTeamVerifier

__all__ = [
    "Measurement",
    "RedTeamEvidence",
    "RedTeamLimits",
    "RedTeamReport",
    "RedTeamVerifier",
    "measure_detector",
    "measurements",
    "read_red_team_evidence",
    "red_team_evidence",
    "red_team_report",
    "red_team_suite",
    "red_team_tasks",
    "write_red_team_evidence",
]

_HOMES = {
    "Measurement": "measuring",
    "RedTeamEvidence": "evidence",
    "RedTeamLimits": "evidence",
    "RedTeamReport": "report",
    "RedTeamVerifier": "verifier",
    "measure_detector": "measuring",
    "measurements": "measuring",
    "read_red_team_evidence": "evidence",
    "red_team_evidence": "evidence",
    "red_team_report": "report",
    "red_team_suite": "suite",
    "red_team_tasks": "attacks",
    "write_red_team_evidence": "evidence",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"strop.evals.red_team.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
