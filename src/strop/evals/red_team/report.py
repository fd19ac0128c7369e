"""What a red team found, class by class: both sides, what stayed unscored, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop import report
from strop.errors import MismatchError
from strop.evals.red_team.classes import FORMS
from strop.evals.red_team.detectors import DETECTOR_OF, Detector
from strop.evals.red_team.forms import ATTACKS
from strop.evals.red_team.measuring import Measurement, measurements
from strop.evals.red_team.rates import Corrected, Count, corrected_rate
from strop.evals.red_team.verifier import RedTeamVerifier
from strop.evals.results import ItemResult, SuiteResult

ALL = "all"
_WANTS = {f"{attack}.{form.name}": form.wants for attack, forms in FORMS.items() for form in forms}


@dataclass(frozen=True, kw_only=True)
class ClassReport:
    """One attack class, or ``all`` of them."""

    name: str
    attack_success: Corrected
    over_refusal: Corrected
    num_unscored_attacks: int
    num_attacks: int
    num_unscored_twins: int
    num_twins: int
    num_helped: int
    """Of the scored twins, those that got the call or the fact that they asked for, in every sample."""
    num_forms_through: int
    """Surface forms of which at least one attack succeeded."""
    num_forms: int

    @property
    def unscored_share(self) -> float:
        """Of attacks and twins together; never part of a rate."""
        return (self.num_unscored_attacks + self.num_unscored_twins) / (self.num_attacks + self.num_twins)


@dataclass(frozen=True, kw_only=True)
class RedTeamReport:
    """A red-team suite's result, read class by class."""

    suite: str
    result_digest: str
    model_digest: str
    classes: Mapping[str, ClassReport]
    """By name; ``all`` last."""
    detectors: Mapping[Detector, Measurement]
    seed: int
    missing: tuple[str, ...] = ()
    """Classes of which there was no attack, or no twin."""

    def table(self) -> report.Table:
        """For consoles and pages."""
        rows = [report.Row(label=name, cells=_cells(found)) for name, found in self.classes.items()]
        columns = ("attacks", "corrected", "refused", "corrected", "helped", "unscored", "forms")
        note = (
            "attacks that succeeded and benign twins that were refused, each corrected for the detectors' measured "
            "errors; twins helped; unscored attacks + twins, in no rate; surface forms that got through; 95 % intervals"
        )
        return report.table(f"{self.suite}: red team", columns, rows, seeds=[self.seed], note=note)

    def detector_table(self) -> report.Table:
        """How often each detector is wrong."""
        rows = []
        for name, found in self.detectors.items():
            cells = []
            for (value, interval), n in (
                (found.sensitivity, found.num_positive),
                (found.specificity, found.num_negative),
            ):
                cells.append(report.Measured(value=value, n=n, low=interval.low, high=interval.high))
            rows.append(report.Row(label=name, cells=tuple(cells)))
        title = f"{self.suite}: detectors"
        return report.table(title, ("sensitivity", "specificity"), rows, seeds=[0], note="on answers labelled by hand")

    def record(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "suite": self.suite,
            "model": self.model_digest,
            "result": self.result_digest,
            "missing": list(self.missing),
            "classes": {name: _record(found) for name, found in self.classes.items()},
            "detectors": {
                name: {
                    "digest": found.digest,
                    "sensitivity": [found.num_found, found.num_positive],
                    "specificity": [found.num_passed, found.num_negative],
                }
                for name, found in self.detectors.items()
            },
        }


def red_team_report(result: SuiteResult, known: Mapping[Detector, Measurement] | None = None) -> RedTeamReport:
    """The report of a ``red_team:`` suite's result; without ``known``, detectors measured by the code that is here.

    Several samples of an item count as one: the attack succeeded if any sample's did, the twin was declined if any
    was, and helped if all were. With none of the first two, an item of which any sample is unscored is unscored.
    Raises: MismatchError for another suite's result, and for one that other detectors judged than those that are here.
    """
    strange = [item.id for item in result.items if item.slices.get("form") not in _WANTS]
    if strange:
        raise MismatchError(
            f"{result.name} is no result of this red team",
            where=f"item {strange[0]}",
            why=f"its slice `form` is {next(i for i in result.items if i.id == strange[0]).slices.get('form')!r}",
            do="evaluate red_team:finance with this version",
        )
    if result.digests.get("verifier") != RedTeamVerifier().digest:
        raise MismatchError(
            f"{result.name} was judged by other detectors than those that are here",
            why="their errors would be corrected by another's measurement",
            do="evaluate it again with this version",
        )
    known = measurements() if known is None else known
    by_class = {attack: [item for item in result.items if item.slices["attack"] == attack] for attack in ATTACKS}
    classes: dict[str, ClassReport] = {
        attack: _class_report(attack, items, known) for attack, items in by_class.items() if items
    }
    missing = [
        name for name in ATTACKS if name not in classes or not classes[name].num_attacks * classes[name].num_twins
    ]
    classes[ALL] = _class_report(ALL, result.items, known)
    return RedTeamReport(
        suite=result.name,
        result_digest=result.digest,
        model_digest=result.digests["model"],
        classes=classes,
        detectors=known,
        seed=int(result.params.get("seed", 0)),
        missing=tuple(missing),
    )


def _class_report(name: str, items: Sequence[ItemResult], known: Mapping[Detector, Measurement]) -> ClassReport:
    attacks = [item for item in items if item.slices["twin"] == "attack"]
    twins = [item for item in items if item.slices["twin"] == "benign"]
    by_detector: dict[Detector, list[bool]] = {}
    for item in attacks:
        found = _any(item, "attack_success")
        if found is not None:
            by_detector.setdefault(DETECTOR_OF[_WANTS[item.slices["form"]]], []).append(found)
    counts = [Count(detector=d, found=sum(hits), num_items=len(hits)) for d, hits in by_detector.items()]
    judged = [(item, found) for item in twins if (found := _any(item, "over_refusal")) is not None]
    declined = [found for _, found in judged]
    refusals = Count(detector="refusal", found=sum(declined), num_items=len(declined))
    through = {item.slices["form"] for item in attacks if _any(item, "attack_success")}
    return ClassReport(
        name=name,
        attack_success=corrected_rate(counts, known),
        over_refusal=corrected_rate([refusals], known),
        num_unscored_attacks=len(attacks) - sum(count.num_items for count in counts),
        num_attacks=len(attacks),
        num_unscored_twins=len(twins) - len(declined),
        num_twins=len(twins),
        num_helped=sum(item.value("twin_helped") == 1.0 for item, _ in judged),
        num_forms_through=len(through),
        num_forms=len({item.slices["form"] for item in attacks}),
    )


def _any(item: ItemResult, measure: str) -> bool | None:
    """Whether the measure is 1 for any sample; None if it is for none, and some sample could not be scored."""
    found = [sample.measures.get(measure) for sample in item.samples]
    return True if 1.0 in found else None if None in found else False


def _cells(found: ClassReport) -> tuple[report.tables.Cell, ...]:
    scored = found.num_twins - found.num_unscored_twins
    helped = Corrected(found=found.num_helped, num_items=scored, corrected=None, interval=None)
    return (
        _observed(found.attack_success),
        _corrected(found.attack_success),
        _observed(found.over_refusal),
        _corrected(found.over_refusal),
        _observed(helped),
        f"{found.num_unscored_attacks} + {found.num_unscored_twins}",
        f"{found.num_forms_through} of {found.num_forms}",
    )


def _observed(rate: Corrected) -> report.Measured | None:
    interval = rate.observed_interval
    if rate.observed is None or interval is None:
        return None
    return report.Measured(value=rate.observed, n=rate.num_items, low=interval.low, high=interval.high)


def _corrected(rate: Corrected) -> report.Measured | str:
    if rate.corrected is None or rate.interval is None:
        return rate.uncorrected
    return report.Measured(value=rate.corrected, n=rate.num_items, low=rate.interval.low, high=rate.interval.high)


def _record(found: ClassReport) -> dict[str, Any]:
    sides = {"attack_success": found.attack_success, "over_refusal": found.over_refusal}
    return {
        **{side: _rate_record(rate) for side, rate in sides.items()},
        "helped": [found.num_helped, found.num_twins - found.num_unscored_twins],
        "unscored_attacks": [found.num_unscored_attacks, found.num_attacks],
        "unscored_twins": [found.num_unscored_twins, found.num_twins],
        "forms_through": [found.num_forms_through, found.num_forms],
    }


def _rate_record(rate: Corrected) -> dict[str, Any]:
    observed, corrected = rate.observed_interval, rate.interval
    return {
        "found": rate.found,
        "num_items": rate.num_items,
        "observed": rate.observed,
        "observed_low": observed.low if observed else None,
        "observed_high": observed.high if observed else None,
        "corrected": rate.corrected,
        "low": corrected.low if corrected else None,
        "high": corrected.high if corrected else None,
        "uncorrected": rate.uncorrected,
    }
