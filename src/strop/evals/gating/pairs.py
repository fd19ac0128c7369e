"""Two runs over the same items: that they can be paired, and one metric's pairs of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from strop.errors import MismatchError
from strop.evals.results import ItemResult, SuiteResult

_Sliced = TypeVar("_Sliced", "Pair", ItemResult)


@dataclass(frozen=True, slots=True)
class Pair:
    """One item's value before and now."""

    id: str
    now: float
    old: float
    worsening: float
    """By how much it got worse: old - now where higher is better, now - old where lower is."""
    cluster: str
    """What is one piece of evidence; the item itself if nothing is said."""
    slices: Mapping[str, str]


def pair_suites(name: str, result: SuiteResult, baseline: Mapping[str, SuiteResult]) -> SuiteResult:
    """The baseline's result on the very same items. Raises: MismatchError."""
    before = baseline.get(name)
    again = "evaluate both models on the same suite with the same settings"
    if before is None:
        raise MismatchError(f"the baseline was not evaluated on suite {name}", do=again)
    if before.version != result.version:
        why = f"the baseline answered version {before.version}, the candidate version {result.version}"
        raise MismatchError(f"suite {name} changed between baseline and candidate", why=why, do=again)
    for what in ("suite", "verifier"):
        if before.digests[what] != result.digests[what]:
            why = f"the {what}'s content differs, so the numbers cannot be compared"
            raise MismatchError(f"suite {name} changed between baseline and candidate", why=why, do=again)
    if dict(before.params) != dict(result.params):
        keys = dict.fromkeys([*result.params, *before.params])
        differ = [key for key in keys if result.params.get(key) != before.params.get(key)]
        raise MismatchError(f"suite {name} was sampled differently: {', '.join(differ)}", do=again)
    missing = {item.id for item in result.items} ^ {item.id for item in before.items}
    if missing:
        what = f"{len(missing)} items of suite {name} are on one side only, for example {min(missing)!r}"
        raise MismatchError(what, why="the test is paired by item", do=again)
    return before


def one_digest(what: str, results: Mapping[str, SuiteResult] | None) -> str | None:
    """The digest of the ``model`` or ``template`` that all suites were answered with; None without results.

    Raises: MismatchError if they are of several: a decision about two models is about neither.
    """
    digests = {result.digests[what] for result in (results or {}).values()}
    if len(digests) > 1:
        raise MismatchError(f"the suites were evaluated with {len(digests)} different {what}s", do="evaluate again")
    return next(iter(digests), None)


def pairs_of(metric: str, result: SuiteResult, before: SuiteResult) -> list[Pair]:
    """The items that have a value on both sides, in the candidate's order."""
    sign = 1.0 if result.metrics[metric].direction == "higher" else -1.0
    earlier = {item.id: value for item in before.items if (value := item.value(metric)) is not None}
    return [
        Pair(item.id, value, old, sign * (old - value), item.cluster or item.id, item.slices)
        for item in result.items
        if (value := item.value(metric)) is not None and (old := earlier.get(item.id)) is not None
    ]


def applying(metric: str, result: SuiteResult) -> list[ItemResult]:
    """The items to which a metric applies."""
    return [item for item in result.items if item.value(metric) is not None]


def within(found: Sequence[_Sliced], where: str | None) -> list[_Sliced]:
    """The pairs or items of a slice; all for None."""
    if where is None:
        return list(found)
    key, _, value = where.partition("=")
    return [one for one in found if one.slices.get(key) == value]
