"""The red team: attacks with benign twins, detectors whose errors are measured, and two-sided rates."""

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
