"""What a gate asks beside the numbers: enough judged items, every required dimension, evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from strop.evals.gating.config import GateConfig
from strop.evals.gating.evidence import BlockingTest, Evidence
from strop.evals.gating.keys import dimensions_named
from strop.evals.gating.thresholds import NUM_NAMED
from strop.evals.results import SuiteResult
from strop.types import Check


def check_enough(result: SuiteResult, config: GateConfig) -> list[Check]:
    """Whether there are enough items, and whether they were judged; nothing where they are and were."""
    checks = []
    num_items, num_samples = len(result.items), sum(1 for _ in result.samples)
    if num_items < config.min_items:
        reason = (
            f"{num_items} items; at least {config.min_items} are asked for (`min_items`): "
            f"raise the suite's `limit` to {config.min_items}, or lower `min_items`"
        )
        checks.append(Check(name=f"{result.name}: items", outcome="INSUFFICIENT", reason=reason))
    if result.num_ungraded > config.max_ungraded * num_samples:
        reason = (
            f"{result.num_ungraded} of {num_samples} answers could not be judged, more than {config.max_ungraded:g} of "
            f"them (`max_ungraded`): mend the verifier or what it needs and evaluate again, or raise `max_ungraded`"
        )
        named = [item.id for item in result.items if not all(sample.is_graded for sample in item.samples)]
        numbers = {"items": named[:NUM_NAMED]}
        checks.append(Check(name=f"{result.name}: judged", outcome="INSUFFICIENT", reason=reason, numbers=numbers))
    return checks


def check_dimensions(candidate: Mapping[str, SuiteResult], config: GateConfig) -> list[Check]:
    """Whether every required dimension, and every one with a margin, was measured by a metric of some suite."""
    checks = []
    for dimension in dict.fromkeys([*config.dimensions, *dimensions_named(config.margins)]):
        rates = {
            f"{suite}.{metric}": result.rate(metric)
            for suite, result in sorted(candidate.items())  # sorted: results read back tell the same
            for metric, rule in sorted(result.metrics.items())
            if rule.dimension == dimension and rule.is_gate
        }
        values = {key: rate.value for key, rate in rates.items() if rate.value is not None}
        numbers = {"values": values, "undefined": sorted(rates.keys() - values.keys())}
        told = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        if values:
            check = Check(name=f"dimension {dimension}", outcome="PASS", reason=f"measured: {told}", numbers=numbers)
        else:
            undefined = f": {', '.join(numbers['undefined'])} applied to no answer" if rates else ""
            reason = f"no metric of {dimension} was measured{undefined}"
            check = Check(name=f"dimension {dimension}", outcome="INSUFFICIENT", reason=reason, numbers=numbers)
        checks.append(check)
    return checks


def sort_findings(evidence: Sequence[Evidence]) -> tuple[list[Check], list[BlockingTest]]:
    """What is decided already, and what is to be corrected together with the other tests.

    Raises: ValueError for a p-value that is no probability, and for what is neither.
    """
    findings = [finding for source in evidence for finding in source.findings()]
    tests = [finding for finding in findings if isinstance(finding, BlockingTest)]
    for finding in findings:
        if not isinstance(finding, Check | BlockingTest):
            raise ValueError(f"the evidence gives {finding!r}, which is neither a check nor a test")
    for test in tests:
        if not 0 <= test.p_value <= 1:
            raise ValueError(f"the evidence `{test.name}` gives {test.p_value} as a p-value")
    return [finding for finding in findings if isinstance(finding, Check)], tests


def check_evidence(test: BlockingTest, adjusted_p: float, num_tests: int, config: GateConfig) -> Check:
    """The check of one test of other evidence."""
    blocks = adjusted_p <= config.alpha
    verdict = "significantly worse" if blocks else "not shown to be worse"
    corrected = f"one-sided p = {test.p_value:.2g}, {adjusted_p:.2g} corrected for {num_tests} tests"
    numbers = {
        **test.numbers,
        "p_value": test.p_value,
        "adjusted_p": adjusted_p,
        "alpha": config.alpha,
        "num_tests": num_tests,
    }
    reason = f"{test.told}, {corrected}: {verdict}"
    return Check(name=test.name, outcome="BLOCK" if blocks else "PASS", reason=reason, numbers=numbers)
