"""The fixed sample set of a session: which items are compared, which are asked twice, and where attention is checked.

All of it follows from the seed and the items' ids by counters: the same results and seed give the same set, and an item
more changes only what it must.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from strop.errors import MismatchError, RecipeError
from strop.evals.results import ItemResult, SuiteResult

ATTENTION_NOTE = "(A check of attention: whatever you think of the two answers, please choose this one.)"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a session's sample set is drawn. Raises: RecipeError for shares and numbers that cannot be."""

    num_pairs: int = 200
    """Items compared; fewer where the suite has fewer independent ones."""
    repeat: float = 0.1
    """The share of pairs that every annotator sees a second time, seats changed."""
    attention: float = 0.05
    """Attention checks, as a share of the pairs; at least one if not 0."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_pairs < 1:
            raise RecipeError(f"a session of {self.num_pairs} pairs", do="ask for at least one")
        for name in ("repeat", "attention"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise RecipeError(f"`{name}` is {getattr(self, name)}", why="it is a share of the pairs, up to 0.5")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One comparison as it is stored: two answers to one prompt."""

    number: int
    role: Literal["pair", "repeat", "attention", "identical"]
    """``identical`` answers are shown to nobody: the pair is a tie."""
    item: str
    slices: Mapping[str, str]
    prompt: tuple[dict[str, Any], ...]
    """The turns as ``dataclasses.asdict`` writes a ``Message``."""
    tools: tuple[dict[str, Any], ...]
    candidate: str
    baseline: str
    is_cut: bool
    """Whether one of the answers did not end by itself."""
    original: int | None = None
    """Of a repeat: the pair that it repeats."""
    expected: Literal["candidate", "baseline"] | None = None
    """Of an attention check: the side that says it must be chosen."""


def draw(seed: int, *counters: int | str) -> float:
    """A number in [0, 1) that follows from its arguments alone."""
    content = json.dumps([seed, *counters]).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48


def sample_set(candidate: SuiteResult, baseline: SuiteResult, plan: Plan) -> tuple[Pair, ...]:
    """The pairs, repeats and attention checks. Raises: MismatchError where the two cannot be compared."""
    before = _paired(candidate, baseline)
    chosen, rest = _stratified(candidate.items, plan)
    pairs: list[Pair] = []
    for item in chosen:
        role: Literal["pair", "identical"] = "identical" if _text(item) == _text(before[item.id]) else "pair"
        pairs.append(_pair(len(pairs), role, item, before[item.id], candidate))
    shown = [pair for pair in pairs if pair.role == "pair"]
    if not shown:
        raise MismatchError(
            f"both models give the same answer to all {len(pairs)} items",
            why="there is nothing that people could tell apart",
            do="sample more items, or at a temperature",
        )
    repeated = sorted(shown, key=lambda pair: draw(plan.seed, "repeat", pair.item))[: round(plan.repeat * len(shown))]
    for pair in repeated:
        twin = {**asdict(pair), "number": len(pairs), "role": "repeat", "original": pair.number}
        pairs.append(Pair(**twin))
    num_checks = math.ceil(round(plan.attention * len(shown), 9))  # 0.07 of 100 is 7, not 7.000000000000001
    sources = [*rest, *sorted(chosen, key=lambda item: draw(plan.seed, "attention", item.id))]
    for check in range(num_checks):
        pairs.append(_attention(len(pairs), sources[check % len(sources)], before, candidate, plan.seed, check))
    return tuple(pairs)


def _paired(candidate: SuiteResult, baseline: SuiteResult) -> dict[str, ItemResult]:
    """The baseline's items by id. Raises: MismatchError."""
    again = "evaluate both models on the same suite"
    if candidate.digests["suite"] != baseline.digests["suite"]:
        raise MismatchError(f"suite {candidate.name} differs between candidate and baseline", do=again)
    before = {item.id: item for item in baseline.items}
    odd = {item.id for item in candidate.items} ^ before.keys()
    if odd:
        raise MismatchError(f"{len(odd)} items are on one side only, for example {min(odd)!r}", do=again)
    bare = [item.id for item in (*candidate.items, *baseline.items) if not item.prompt or not item.samples]
    if bare:
        why = f"item {bare[0]!r} has no turns or no answer; people must read the whole of both"
        raise MismatchError(f"the results of {candidate.name} do not hold what was asked", why=why, do="evaluate again")
    return before


def _stratified(items: Sequence[ItemResult], plan: Plan) -> tuple[list[ItemResult], list[ItemResult]]:
    """The chosen items, and the others: one a cluster, each combination of slices by its share (largest remainders)."""
    order = sorted(items, key=lambda item: draw(plan.seed, "item", item.id))
    firsts: dict[str, ItemResult] = {}
    for item in order:
        firsts.setdefault(item.cluster or item.id, item)
    strata: dict[tuple[tuple[str, str], ...], list[ItemResult]] = defaultdict(list)
    for item in firsts.values():
        strata[tuple(sorted(item.slices.items()))].append(item)
    total = min(plan.num_pairs, len(firsts))
    quotas = {key: total * len(members) / len(firsts) for key, members in strata.items()}
    counts = {key: math.floor(quota) for key, quota in quotas.items()}
    places = sorted(quotas, key=lambda key: (counts[key] - quotas[key], draw(plan.seed, "stratum", json.dumps(key))))
    for key in places[: total - sum(counts.values())]:
        counts[key] += 1
    chosen = {item.id for key, members in strata.items() for item in members[: counts[key]]}
    return [item for item in order if item.id in chosen], [item for item in order if item.id not in chosen]


def _text(item: ItemResult) -> str:
    return item.samples[0].text.strip()


def _pair(
    number: int, role: Literal["pair", "identical"], item: ItemResult, before: ItemResult, result: SuiteResult
) -> Pair:
    contracts = result.surroundings.get("tools", {})
    return Pair(
        number=number,
        role=role,
        item=item.id,
        slices=dict(item.slices),
        prompt=tuple(json.loads(json.dumps([asdict(turn) for turn in item.prompt]))),
        tools=tuple(contracts[name] for name in item.tools if name in contracts),
        candidate=item.samples[0].text,
        baseline=before.samples[0].text,
        is_cut=any(one.samples[0].finish_reason != "stop" for one in (item, before)),
    )


def _attention(
    number: int, item: ItemResult, before: Mapping[str, ItemResult], result: SuiteResult, seed: int, check: int
) -> Pair:
    """A pair of real answers, one of which ends by saying that it must be chosen."""
    plain = asdict(_pair(number, "pair", item, before[item.id], result))
    expected = "candidate" if draw(seed, "expected", check) < 0.5 else "baseline"
    noted = f"{plain[expected]}\n\n{ATTENTION_NOTE}".strip()
    return Pair(**{**plain, "role": "attention", "expected": expected, expected: noted})
