"""May the candidate be released? Thresholds, paired tests against the baseline, and evidence: a pure decision.

The gate is apart from training: no reward enters it, and nothing here is descended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from strop.errors import MismatchError
from strop.evals.drift import drift_checks
from strop.evals.gating.companions import alone
from strop.evals.gating.config import GateConfig
from strop.evals.gating.evidence import BlockingTest, Evidence
from strop.evals.gating.keys import Place, drop_places, margins_by_place, threshold_places
from strop.evals.gating.pairs import one_digest, pair_suites
from strop.evals.gating.regression import Comparison, compare, corrected, judge
from strop.evals.gating.rules import check_dimensions, check_enough, check_evidence, sort_findings
from strop.evals.gating.thresholds import check_go_live, check_threshold
from strop.evals.judging import with_one_judge
from strop.evals.people.evidence import bind_people
from strop.evals.results import SuiteResult
from strop.types import Check, Decision, Outcome

_ABOUT_OTHERS = ("looks", "contamination", "overfitting", "judge", "drift")
"""How evidence is named whose checks speak of the held-out items, the judge, or what stands around the weights: they
decide like any other, and that they hold says nothing of the candidate. A ``BlockingTest`` beside them does."""
_ORDER: tuple[Outcome, ...] = ("BLOCK", "INSUFFICIENT", "PASS")


def gate(
    candidate: Mapping[str, SuiteResult],
    baseline: Mapping[str, SuiteResult] | None,
    config: GateConfig,
    evidence: Sequence[Evidence] = (),
) -> Decision:
    """PASS, BLOCK or INSUFFICIENT, with a reason and the deciding items for every check.

    Against the baseline a metric blocks on a proven regression: a one-sided exact test on paired items (McNemar, or
    sign flips of clusters), corrected by Holm over suites, slices with ``min_group_items`` and the tests of
    ``evidence``, so that an unchanged candidate is blocked with probability ``alpha`` at most. Where ``margins`` names
    it, it must also be shown that it fell by less: if neither is shown, INSUFFICIENT with the items needed. Where
    ``max_drop`` names it, the drop alone decides.

    Raises: MismatchError if the two runs cannot be paired, one is of several models, or evidence is given twice;
    RecipeError for a key that names nothing measured, rated or fit for a gate, and for a threshold that cannot be met.
    """
    for results in (candidate, baseline):
        one_digest("template", results)
    model, before_model = one_digest("model", candidate), one_digest("model", baseline)
    _require_keys(candidate, config)
    _require_once(evidence)
    heard = bind_people(config.people, evidence, candidate=model or "", baseline=before_model)
    of_it, tests = sort_findings([source for source in heard if not source.name.startswith(_ABOUT_OTHERS)])
    of_others, further = sort_findings([source for source in heard if source.name.startswith(_ABOUT_OTHERS)])
    tested = [
        check_threshold(place, threshold, candidate, config)
        for key, threshold in config.thresholds.items()
        for place in threshold_places(key, candidate)
    ]
    before: Mapping[str, SuiteResult] | None = None
    comparable, drifted = candidate, list[Check]()
    if baseline is not None:
        before = {name: pair_suites(name, result, baseline) for name, result in candidate.items()}
        comparable = {name: with_one_judge(result, before[name]) for name, result in candidate.items()}
        drifted = [check for name in candidate for check in drift_checks(candidate[name], before[name], config)]
    tested += [*_tested(comparable, before, config, [*tests, *further]), *of_it]
    tested += [check for rule in config.go_live for check in check_go_live(rule, candidate, config)]
    if not tested:
        reason = (
            "nothing was tested: no threshold was given and no metric could be compared with a baseline; "
            "give --baseline, or thresholds in the gate's configuration"
        )
        tested.append(Check(name="tested", outcome="INSUFFICIENT", reason=reason))
    checks = [*tested, *drifted, *of_others, *check_dimensions(candidate, config)]
    checks += [check for result in candidate.values() for check in check_enough(result, config)]
    return Decision(outcome=min((check.outcome for check in checks), key=_ORDER.index), checks=tuple(checks))


def _tested(
    candidate: Mapping[str, SuiteResult],
    before: Mapping[str, SuiteResult] | None,
    config: GateConfig,
    tests: Sequence[BlockingTest],
) -> list[Check]:
    """Everything that is compared with the baseline, and the tests of evidence, corrected together."""
    checks: list[Check] = []
    found: list[Comparison] = [] if before is None else compare(candidate, before, config)
    if before is None and (config.margins or config.max_drop):
        asked = ", ".join(sorted({*config.margins, *config.max_drop}))
        reason = f"no baseline was given, and {asked} asks for a comparison: give --baseline"
        checks.append(Check(name="baseline", outcome="INSUFFICIENT", reason=reason))
    tested = [one for one in found if one.is_tested]
    adjusted, num_tests = corrected(
        [*(one.p_value for one in tested), *(one.p_value for one in tests)],
        [*(one.least_p for one in tested), *(0.0 for _ in tests)],
        config.alpha,
    )
    by_place = {one.place: p for one, p in zip(tested, adjusted)}
    checks += _compared(candidate, found, by_place, num_tests, config)
    told = zip(tests, adjusted[len(tested) :], strict=True)
    return checks + [check_evidence(one, p, num_tests, config) for one, p in told]


def _require_keys(candidate: Mapping[str, SuiteResult], config: GateConfig) -> None:
    """Refuse keys that name nothing, also where there is no baseline to compare with. Raises: RecipeError."""
    margins_by_place(config.margins, candidate)
    for key in config.max_drop:
        drop_places(key, candidate, table="max_drop")


def _require_once(evidence: Sequence[Evidence]) -> None:
    """Refuse evidence that is given twice: its tests would count twice, and make every other correction harsher."""
    digests = [source.digest for source in evidence]
    for source in evidence:
        if digests.count(source.digest) > 1:
            raise MismatchError(
                f"the evidence `{source.name}` ({source.digest[:12]}) is given twice", do="give each evidence once"
            )


def _compared(
    candidate: Mapping[str, SuiteResult],
    found: Sequence[Comparison],
    adjusted: Mapping[Place, float],
    num_tests: int,
    config: GateConfig,
) -> list[Check]:
    """A check for every metric, one for every slice that was asked or did not hold, and one for the slices that did."""
    checks: list[Check] = []
    for name in candidate:
        held, num_slices = 0, 0
        for one in (one for one in found if one.place.suite == name):
            check = judge(one, adjusted.get(one.place, 1.0), num_tests, candidate, config)
            is_asked = one.margin is not None or one.max_drop is not None
            missing = alone(one.place, check.name, candidate) if is_asked and check.outcome != "BLOCK" else None
            is_quiet = one.place.where is not None and not is_asked
            num_slices += is_quiet
            held += is_quiet and check.outcome == "PASS"
            checks += [missing] if missing else [] if is_quiet and check.outcome == "PASS" else [check]
        if held:
            reason = f"{held} of {num_slices} comparisons of a metric on a slice show no regression"
            checks.append(Check(name=f"{name}: slices against the baseline", outcome="PASS", reason=reason))
    return checks
