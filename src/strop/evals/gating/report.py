"""The gate report: the decision with every digest it rests on, so that a promotion can check them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.gating.config import GateConfig
from strop.evals.results import SuiteResult
from strop.files import write_json
from strop.types import Decision, Json

_FORMAT = 1


def gate_report(
    decision: Decision,
    candidate: Mapping[str, SuiteResult],
    baseline: Mapping[str, SuiteResult] | None,
    config: GateConfig,
) -> dict[str, Any]:
    """The report as a JSON object; ``digest`` is of all the rest. Raises: MismatchError if models are mixed."""
    settings = config.model_dump(mode="json")
    report: dict[str, Any] = {
        "format": _FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "outcome": decision.outcome,
        "exit_code": decision.exit_code,
        "checks": [
            {"name": c.name, "outcome": c.outcome, "reason": c.reason, "numbers": dict(c.numbers)}
            for c in decision.checks
        ],
        "candidate": _identities(candidate),
        "baseline": None if baseline is None else _identities(baseline),
        "config": settings,
        "config_digest": digest_json(settings),
    }
    return {**report, "digest": digest_json(report)}


def _identities(results: Mapping[str, SuiteResult]) -> dict[str, Any]:
    """One model and template digest, and per suite its digests, items and outcome."""
    found: dict[str, Any] = {}
    for what in ("model", "template"):
        digests = {result.digests[what] for result in results.values()}
        if len(digests) > 1:
            raise MismatchError(f"the suites were evaluated with {len(digests)} different {what}s", do="evaluate again")
        found[what] = next(iter(digests), None)
    found["suites"] = {
        name: {**result.digests, "result": result.digest, "num_items": len(result.items), "params": dict(result.params)}
        for name, result in results.items()
    }
    return found


def write_gate_report(
    folder: Path | str,
    decision: Decision,
    candidate: Mapping[str, SuiteResult],
    baseline: Mapping[str, SuiteResult] | None,
    config: GateConfig,
) -> Path:
    """Write ``gate_report.json`` into ``folder``, atomically. Raises: OutputError, MismatchError."""
    path = Path(folder) / "gate_report.json"
    write_json(path, gate_report(decision, candidate, baseline, config))
    return path


def read_gate_report(path: Path | str) -> Json:
    """A gate report as it was written. Raises: MismatchError if it is missing, torn or was edited."""
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text())
        check_gate_report(report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MismatchError(
            f"cannot use the gate report {path}", where=str(path), why=str(error), do="run the gate again"
        ) from error
    return report


def check_gate_report(report: Json) -> None:
    """Raises ValueError if the report's content is not what its digest says."""
    rest = {key: value for key, value in report.items() if key != "digest"}
    if report.get("format") != _FORMAT or digest_json(rest) != report.get("digest"):
        raise ValueError("its content does not match its digest")
