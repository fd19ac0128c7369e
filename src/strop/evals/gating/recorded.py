"""A decision as its report keeps it, and made again from the report and the results that it rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from strop.digests import digest_json
from strop.errors import MismatchError
from strop.evals.gating.config import GateConfig, parse_gate_config
from strop.evals.gating.decide import gate
from strop.evals.gating.evidence import BlockingTest, Evidence
from strop.evals.gating.pairs import one_digest
from strop.evals.people.evidence import bind_people
from strop.evals.results import SuiteResult
from strop.types import Check, Decision, Json


@dataclass(frozen=True, kw_only=True)
class RecordedEvidence:
    """Evidence as a gate report tells it: the findings, without what they were computed from."""

    name: str
    digest: str
    """Of the evidence as it was."""
    kept: tuple[Check | BlockingTest, ...]

    def findings(self) -> Sequence[Check | BlockingTest]:
        """See ``Evidence``."""
        return self.kept


def check_record(check: Check) -> dict[str, Any]:
    """A check as the report keeps it."""
    return {"name": check.name, "outcome": check.outcome, "reason": check.reason, "numbers": dict(check.numbers)}


def evidence_record(evidence: Evidence) -> dict[str, Any]:
    """The evidence as the report keeps it."""
    return {"name": evidence.name, "digest": evidence.digest, "findings": list(map(_finding, evidence.findings()))}


def _finding(found: Check | BlockingTest) -> dict[str, Any]:
    if isinstance(found, Check):
        return check_record(found)
    return {"name": found.name, "p_value": found.p_value, "told": found.told, "numbers": dict(found.numbers)}


def evidence_heard(
    candidate: Mapping[str, SuiteResult],
    baseline: Mapping[str, SuiteResult] | None,
    config: GateConfig,
    evidence: Sequence[Evidence],
) -> list[Evidence]:
    """The evidence as the gate hears it: sessions of people held to the rule and to the two models."""
    model, before = one_digest("model", candidate), one_digest("model", baseline)
    return bind_people(config.people, evidence, candidate=model or "", baseline=before)


def evidence_of(report: Json) -> tuple[RecordedEvidence, ...]:
    """The evidence that a gate report keeps; none in a report of format 1."""
    return tuple(
        RecordedEvidence(name=one["name"], digest=one["digest"], kept=tuple(map(_found, one["findings"])))
        for one in report.get("evidence", ())
    )


def _found(record: Json) -> Check | BlockingTest:
    return BlockingTest(**record) if "p_value" in record else Check(**record)


def content_digest(result: SuiteResult) -> str:
    """Identity of everything that a result holds, timings too: what a decision can be repeated from."""
    metrics = {name: asdict(metric) for name, metric in result.metrics.items()}
    items = [asdict(item) for item in result.items]
    return digest_json([result.name, result.version, dict(result.digests), dict(result.params), metrics, items])


def repeat(report: Json, candidate: Mapping[str, SuiteResult], baseline: Mapping[str, SuiteResult] | None) -> Decision:
    """The decision of a gate report, made again from its configuration and evidence and from these results.

    Raises: MismatchError if the results are not those that the report names, or if it comes out otherwise: then a check
    is named whose outcome, reason or numbers differ.
    """
    if report.get("format") == 1:
        raise MismatchError(
            "a gate report of format 1 cannot be repeated",
            why="it does not hold the evidence and the content of its results",
            do="run the gate again",
        )
    _require_same("candidate", report["candidate"], candidate)
    if (report["baseline"] is None) != (baseline is None):
        raise MismatchError("the baseline is " + ("not in the report" if baseline is not None else "missing"))
    if baseline is not None:
        _require_same("baseline", report["baseline"], baseline)
    if digest_json(report["config"]) != report["config_digest"]:
        raise MismatchError("the report's configuration is not what its digest says")
    # what people said is in the report as it was heard then: their rule speaks of how old it may be
    config = parse_gate_config(report["config"]).model_copy(update={"people": None})
    decision = gate(candidate, baseline, config, evidence_of(report))
    _require_decision(report, decision)
    return decision


def _require_same(side: str, identities: Json, results: Mapping[str, SuiteResult]) -> None:
    if set(identities["suites"]) != set(results):
        odd = sorted(set(identities["suites"]) ^ set(results))
        raise MismatchError(f"the {side}'s results and the report differ in suites: {', '.join(odd)}")
    for name, result in results.items():
        said, found = identities["suites"][name]["content"], content_digest(result)
        if said != found:
            why = f"their content has the digest {found[:12]}, the report says {said[:12]}"
            raise MismatchError(f"the {side}'s results on {name} are not those that were decided on", why=why)


def _require_decision(report: Json, decision: Decision) -> None:
    found = json.loads(json.dumps(list(map(check_record, decision.checks))))
    # tables and folders are read back in the order of their names
    if decision.outcome == report["outcome"] and sorted(map(digest_json, found)) == sorted(
        map(digest_json, report["checks"])
    ):
        return
    told = {check["name"]: check for check in report["checks"]}
    odd = next((check for check in found if check != told.get(check["name"])), None)
    what = f"for example `{odd['name']}`: now {odd['outcome']}, {odd['reason']}" if odd else "some checks are missing"
    raise MismatchError(
        f"the decision was {report['outcome']} and is {decision.outcome} when it is made again",
        why=what,
        do=f"the report was made by strop {report['strop_version']}; repeat it with that version",
    )
