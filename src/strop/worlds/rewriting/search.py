"""Exhaustive search over rewriting: shortest proofs, how many there are, and how many wrong turns they pass."""

from __future__ import annotations

from collections.abc import Sequence

from strop.verifiers.rewriting import Rule, Step, apply_rule, places

MAX_LETTERS = 8
"""Longer strings are not looked at."""
MAX_STRINGS = 800
"""A search that meets more strings gives up."""


def moves(text: str, rules: Sequence[Rule]) -> list[Step]:
    """Every step that can be made from ``text``, by rule and place, with its place."""
    return [
        Step(rule=number, result=apply_rule(text, rule, at), position=at)
        for number, rule in enumerate(rules, 1)
        for at in places(text, rule)
        if len(text) - len(rule[0]) + len(rule[1]) <= MAX_LETTERS
    ]


def neighbours(text: str, rules: Sequence[Rule]) -> set[str]:
    """The strings that one step leads to."""
    room = MAX_LETTERS - len(text)
    found = set()
    for left, right in rules:
        at = text.find(left) if len(right) - len(left) <= room else -1
        while at >= 0:
            found.add(text[:at] + right + text[at + len(left) :])
            at = text.find(left, at + 1)
    return found


def distances(start: str, rules: Sequence[Rule], depth: int) -> dict[str, int] | None:
    """Every string within ``depth`` steps and how many it takes; None where they are too many."""
    found = {start: 0}
    frontier = [start]
    for distance in range(1, depth + 1):
        frontier = sorted({other for text in frontier for other in neighbours(text, rules)} - found.keys())
        found |= dict.fromkeys(frontier, distance)
        if len(found) > MAX_STRINGS:
            return None
    return found


def shortest_paths(goal: str, rules: Sequence[Rule], found: dict[str, int], limit: int = 100) -> list[tuple[str, ...]]:
    """The shortest ways to ``goal`` as the strings they pass, without the start; at most ``limit``, in order."""
    paths: list[tuple[str, ...]] = [(goal,)]
    by_distance: dict[int, list[str]] = {}
    for text, distance in found.items():
        by_distance.setdefault(distance, []).append(text)
    for distance in range(found[goal] - 1, 0, -1):
        leads = {text: neighbours(text, rules) for text in by_distance[distance]}
        paths = [(text, *path) for path in paths for text in sorted(leads) if path[0] in leads[text]][:limit]
    return paths


def proof_along(start: str, path: Sequence[str], rules: Sequence[Rule]) -> tuple[Step, ...]:
    """The steps that pass these strings, each with the first rule that does it."""
    proof, text = [], start
    for result in path:
        step = next(step for step in moves(text, rules) if step.result == result)
        proof.append(Step(rule=step.rule, result=result))
        text = result
    return tuple(proof)


def luck(start: str, goal: str, rules: Sequence[Rule], steps: int) -> float:
    """The probability that ``steps`` random steps, each drawn evenly from the moves, end at the goal."""
    chances = {start: 1.0}
    for _ in range(steps):
        later: dict[str, float] = {}
        for text, chance in chances.items():
            possible = moves(text, rules)
            for step in possible:
                later[step.result] = later.get(step.result, 0.0) + chance / len(possible)
        chances = later
    return chances.get(goal, 0.0)
