"""The gate report: the decision with every digest it rests on, so that a promotion can check them and repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.gating.config import GateConfig
from strop.evals.gating.evidence import Evidence
from strop.evals.gating.page import gate_page
from strop.evals.gating.pairs import one_digest
from strop.evals.gating.recorded import check_record, content_digest, evidence_heard, evidence_of, evidence_record
from strop.evals.results import SuiteResult
from strop.files import write_json, write_text
from strop.types import Decision, Json

_FORMAT = 2
_READABLE = (1, 2)
"""Format 1 knew no evidence, no person and no content of the results: it is read, and cannot be repeated."""


def gate_report(
    decision: Decision,
    candidate: Mapping[str, SuiteResult],
    baseline: Mapping[str, SuiteResult] | None,
    config: GateConfig,
    evidence: Sequence[Evidence] = (),
    *,
    who: str = "",
) -> dict[str, Any]:
    """The report as a JSON object; ``digest`` is of all the rest. Raises: MismatchError if models are mixed.

    ``who`` ran the gate. The evidence's findings stand in it whole, so that the decision can be made again from the
    report and the saved results (``recorded.repeat``).
    """
    settings = config.model_dump(mode="json")
    heard = evidence_heard(candidate, baseline, config, evidence)
    report: dict[str, Any] = {
        "format": _FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "strop_version": version("strop"),
        "who": who,
        "outcome": decision.outcome,
        "exit_code": decision.exit_code,
        "checks": list(map(check_record, decision.checks)),
        "candidate": _identities(candidate),
        "baseline": None if baseline is None else _identities(baseline),
        "evidence": list(map(evidence_record, heard)),
        "config": settings,
        "config_digest": digest_json(settings),
    }
    report = json.loads(json.dumps(report))  # as it will be read back: tuples become lists
    return {**report, "digest": digest_json(report)}


def _identities(results: Mapping[str, SuiteResult]) -> dict[str, Any]:
    """One model and template digest, and per suite its digests, items and outcome."""
    found: dict[str, Any] = {what: one_digest(what, results) for what in ("model", "template")}
    found["suites"] = {
        name: {
            **result.digests,
            "version": result.version,
            "result": result.digest,
            "content": content_digest(result),
            "num_items": len(result.items),
            "params": dict(result.params),
        }
        for name, result in results.items()
    }
    return found


def write_gate_report(
    folder: Path | str,
    decision: Decision,
    candidate: Mapping[str, SuiteResult],
    baseline: Mapping[str, SuiteResult] | None,
    config: GateConfig,
    evidence: Sequence[Evidence] = (),
    *,
    who: str = "",
) -> Path:
    """Write ``gate_report.html`` and then ``gate_report.json``, each whole or not at all, and return the latter.

    Raises: OutputError, MismatchError.
    """
    path = Path(folder) / "gate_report.json"
    report = gate_report(decision, candidate, baseline, config, evidence, who=who)
    write_text(path.with_suffix(".html"), gate_page(report, decision, candidate, baseline, evidence_of(report)))
    write_json(path, report)
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
    if report.get("format") not in _READABLE or digest_json(rest) != report.get("digest"):
        raise ValueError("its content does not match its digest")
