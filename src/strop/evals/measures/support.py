"""How answers rest on evidence, claim by claim, with the counts that make shares of answers into shares of claims."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from strop.types import Completion, Task, Verdict
from strop.verifiers import measure_grounding
from strop.verifiers.calls import spoken
from strop.verifiers.grounding import check_claims, evidence_in

GROUNDING = (
    "grounded_claims",
    "unsupported_claims",
    "citation_coverage",
    "citation_precision",
    "evidence_consistency",
    "without_evidence",
)
COUNTS = ("num_claims", "num_citations", "num_known")


def measure_support(task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
    """``strop.verifiers.measure_grounding`` with ``num_claims``, ``num_citations`` and ``num_known``.

    They weigh the shares, so that a rate over a suite is supported claims over all claims: three claims in one answer
    count three times. ``num_known``: claims of which the evidence says something, for or against. All None for an
    answer that claims nothing, is truncated, calls a tool, or has no evidence to rest on.
    """
    evidence = evidence_in(task)
    if not evidence:
        return dict.fromkeys((*GROUNDING, *COUNTS))
    values = measure_grounding(task, completion)
    if values["grounded_claims"] is None:
        return {**values, **dict.fromkeys(COUNTS)}
    claims = check_claims(spoken(completion.text), evidence).claims
    return {
        **values,
        "num_claims": float(len(claims)),
        "num_citations": float(sum(claim.num_cited for claim in claims)),
        "num_known": float(sum(claim.relation in ("entailed", "contradicted") for claim in claims)),
    }


def with_calls(task: Task) -> Task:
    """The task with ``reference["evidence"]`` from the calls in its prompt: what was asked belongs to what was told.

    ``{"spent": 4503}`` alone does not say of whom; an answer that names the quarter would claim what no result holds.
    A tool that was called twice brings both, in order. A task without results, or with evidence of its own, stays.
    """
    found: dict[str, list[Any]] = {}
    asked = [call for turn in task.prompt for call in turn.tool_calls]
    results = [turn for turn in task.prompt if turn.role == "tool"]
    for call, turn in zip(asked, results, strict=False):  # the last call may still be open
        try:
            told = json.loads(turn.content)
        except ValueError:
            told = turn.content
        is_error = isinstance(told, Mapping) and "error" in told
        if call.name == turn.name and not is_error:
            joined = {**call.arguments, **told} if isinstance(told, Mapping) else {**call.arguments, "result": told}
            found.setdefault(call.name, []).append(joined)
    if not found or "evidence" in task.reference:
        return task
    evidence = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
    return replace(task, reference={**task.reference, "evidence": evidence})
