"""What the keys of a gate's tables name: metrics of suites, over all items or slices; and which may not be asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from strop.errors import RecipeError
from strop.evals.results import SuiteResult
from strop.evals.suite import DIMENSIONS

_KEY = re.compile(r"(?P<suite>.+)\.(?P<metric>[^.\[]+)(\[(?P<where>[^\]]+)\])?")
_DIMENSION = "dimension:"
_HOW = "write suite.metric, suite.metric[key=value], or suite.metric[key] for every value of the key"
_COUNTS_OF_CALLS = ("mean_calls", "call_rate", "num_calls")
"""Measures that no gate may ask, whether or not a suite rates them."""


class Place(NamedTuple):
    """A metric of a suite, over all its items (None) or those of the slice ``key=value``."""

    suite: str
    metric: str
    where: str | None

    @property
    def key(self) -> str:
        """As it is written in the configuration."""
        return f"{self.suite}.{self.metric}" + (f"[{self.where}]" if self.where else "")


def threshold_places(key: str, candidate: Mapping[str, SuiteResult]) -> list[Place]:
    """What a threshold is asked of: one place, or for ``suite.metric[key]`` one a value of the slice key.

    Raises: RecipeError, naming the nearest, for what was not measured, and for what says nothing of quality.
    """
    suite, metric, where = parts_of(key)
    result = _suite(key, suite, candidate)
    known = [*result.metric_names(), *result.runtime()]
    if metric not in known:
        raise unknown(f"the gate's `{key}` names no metric of suite {suite}", metric, known)
    require_gate(f"the gate's `{key}`", metric, result)
    if where is not None and metric in result.runtime() and metric not in result.metric_names():
        raise RecipeError(f"the gate's `{key}` asks a slice of {metric}", why="it is measured over whole suites only")
    return [Place(suite, metric, found) for found in _applying(key, metric, where, result)]


def drop_places(key: str, candidate: Mapping[str, SuiteResult], *, table: str) -> list[Place]:
    """What a margin or a tolerated drop is asked of; a margin may also say ``suite.*`` or ``dimension:NAME``.

    A dimension means its metrics over the whole of every suite, and may be empty. Raises: as ``threshold_places``, and
    for a measure that the suite does not rate: whether more of it is better is not known.
    """
    if key.startswith(_DIMENSION) and table == "margins":
        return _dimension_places(key, candidate)
    suite, metric, where = parts_of(key)
    result = _suite(key, suite, candidate)
    if metric == "*" and table == "margins":
        rated = [name for name, rule in result.metrics.items() if rule.is_gate]
        return [Place(suite, name, found) for name in rated for found in _applying(key, name, where, result)]
    if metric not in result.metrics:
        known = [*result.metric_names(), *result.runtime()]
        if metric not in known:
            raise unknown(f"the gate's `{key}` names no metric of suite {suite}", metric, known)
        raise RecipeError(
            f"the gate's {table} asks `{key}`, a measure without a direction",
            why=f"suite {suite} measures {metric} and does not rate it: whether less of it is worse is not said",
            do=f"rated: {', '.join(result.metrics) or 'none'}; for others give a threshold with `min` or `max`",
        )
    require_gate(f"the gate's `{key}`", metric, result)
    return [Place(suite, metric, found) for found in _applying(key, metric, where, result)]


def margins_by_place(margins: Mapping[str, float], candidate: Mapping[str, SuiteResult]) -> dict[Place, float]:
    """Each place's margin: what is said of the metric outdoes ``*``, and that a dimension; a slice outdoes its key.

    Raises: as ``drop_places``.
    """
    found: dict[Place, float] = {}
    for key in sorted(margins, key=_precedence):
        found |= dict.fromkeys(drop_places(key, candidate, table="margins"), margins[key])
    return found


def dimensions_named(margins: Iterable[str]) -> list[str]:
    """The dimensions that keys of margins name."""
    return [key.removeprefix(_DIMENSION) for key in margins if key.startswith(_DIMENSION)]


def suite_named(key: str) -> str | None:
    """The suite of a key; None for a dimension, which is asked of every suite. For checks before anything is run."""
    if key.startswith(_DIMENSION):
        return None
    parts = _KEY.fullmatch(key)
    return parts["suite"] if parts else key


def slices_of(what: str, where: str, result: SuiteResult) -> list[str]:
    """``key=value`` itself, or all values of a bare ``key``. Raises: RecipeError if no item is in it."""
    names = result.slice_names()
    keys = list(dict.fromkeys(name.partition("=")[0] for name in names))
    if where in names:
        return [where]
    if where in keys:
        return [name for name in names if name.partition("=")[0] == where]
    raise unknown(f"{what} names no slice of suite {result.name}: no item is in it", where, [*names, *keys])


def require_gate(what: str, metric: str, result: SuiteResult) -> None:
    """Refuse a measure that says nothing of quality. Raises: RecipeError."""
    rule = result.metrics.get(metric)
    if (rule is not None and not rule.is_gate) or (rule is None and metric in _COUNTS_OF_CALLS):
        beside = ", ".join(rule.beside) if rule is not None and rule.beside else "tool_precision, tool_recall"
        raise RecipeError(
            f"{what} asks {metric}, which is not a measure that a gate can decide by",
            why="it says how much was done and not how well: more of it is neither better nor worse",
            do=f"ask what it achieves instead: {beside}; {metric} stays in the report",
        )


def unknown(what: str, word: str, known: Iterable[str]) -> RecipeError:
    """The error that names the nearest known word."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    do = f"did you mean `{near[0]}`? " if near else ""
    return RecipeError(what, do=f"{do}known: {', '.join(known) or 'none'}; {_HOW}")


def parts_of(key: str) -> tuple[str, str, str | None]:
    """The suite, the metric and the slice that a key names; no suite if it is not one."""
    parts = _KEY.fullmatch(key)
    return (parts["suite"], parts["metric"], parts["where"]) if parts else ("", key, None)


def _suite(key: str, suite: str, candidate: Mapping[str, SuiteResult]) -> SuiteResult:
    result = candidate.get(suite)
    if result is None:
        raise unknown(f"the gate's `{key}` names no suite that was evaluated", suite or key, candidate)
    return result


def _dimension_places(key: str, candidate: Mapping[str, SuiteResult]) -> list[Place]:
    name = key.removeprefix(_DIMENSION)
    if name not in DIMENSIONS:
        raise unknown(f"the gate's `{key}` names no dimension", name, DIMENSIONS)
    return [
        Place(suite, metric, None)
        for suite, result in candidate.items()
        for metric, rule in result.metrics.items()
        if rule.dimension == name and rule.is_gate
    ]


def _applying(key: str, metric: str, where: str | None, result: SuiteResult) -> list[str | None]:
    """The slices meant; of all values of a key only those where the metric applies or something was not judged."""
    if where is None:
        return [None]
    named = slices_of(f"the gate's `{key}`", where, result)
    used = [one for one in named if _applies(metric, one, result)]
    return list(used or named)


def _applies(metric: str, where: str, result: SuiteResult) -> bool:
    return any(
        not sample.is_graded or sample.measures.get(metric) is not None
        for item in result.within(where)
        for sample in item.samples
    )


def _precedence(key: str) -> tuple[bool, bool, bool]:
    """What comes later outdoes what came before."""
    _, metric, where = parts_of(key)
    return (not key.startswith(_DIMENSION), metric != "*", "=" in (where or "="))
