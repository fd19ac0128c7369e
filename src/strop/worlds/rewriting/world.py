"""Tasks of the rewriting world: rules, a start and a goal; the dial sets steps, letters, decoys and narrowness."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from strop.types import Task, Verifier
from strop.verifiers.rewriting import RewritingProof, Rule, Step, check_proof, places, read_step, step_error
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle
from strop.worlds.rewriting.search import distances, luck, moves, neighbours, proof_along, shortest_paths

LETTERS = "abcd"
GAP = "?"


def spaced(text: str) -> str:
    """``a b c``: one word a letter, so that every tokenizer sees the letters."""
    return " ".join(text)


def written(proof: Sequence[Step]) -> str:
    """The proof as the assistant writes it: ``2: a b b; 1: a b``."""
    return "; ".join(step.text for step in proof)


def skeleton_of(proof: Sequence[Step], *, keep_every: int = 2) -> str:
    """The proof without its rules, and with every ``keep_every``-th string and the last one only: ``?; ?: a b``.

    What a hint can give away: the sub-goals, not how they are reached.
    """
    last = len(proof)
    lines = [
        f"{GAP}: {spaced(step.result)}" if number % keep_every == 0 or number == last else GAP
        for number, step in enumerate(proof, 1)
    ]
    return "; ".join(lines)


def question_of(rules: Sequence[Rule], start: str, goal: str) -> str:
    """``Rules: 1 a b > b a, 2 c > a. From c b to b a.``"""
    listed = ", ".join(f"{number} {spaced(left)} > {spaced(right)}" for number, (left, right) in enumerate(rules, 1))
    return f"Rules: {listed}. From {spaced(start)} to {spaced(goal)}."


@dataclass(frozen=True, kw_only=True)
class RewritingWorld(GeneratedWorld):
    """Tasks ``Rules: 1 a b > b a, 2 c > a. From c b to b a.`` whose answer is a proof: ``2: a b; 1: b a``.

    ``steps``: of the shortest proof. ``rules``: that are drawn first. ``letters``: of the alphabet. ``decoys``: rules
    added afterwards that apply somewhere on the way and lead to no shorter or other proof of the same length.
    ``narrow``: with 1 there is one shortest way only, and a wrong turn at every one of its strings.
    """

    dials: ClassVar[Mapping[str, Dial]] = {
        "steps": Dial(default=2, low=1, high=8),
        "rules": Dial(default=2, low=1, high=6),
        "letters": Dial(default=3, low=2, high=4),
        "decoys": Dial(default=0, low=0, high=4),
        "narrow": Dial(default=0, low=0, high=1),
    }
    name: str = "rewriting"
    verifier: Verifier = field(default_factory=RewritingProof)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"steps": 1, "rules": 1, "letters": 4},
            {"steps": 1, "rules": 2, "letters": 4},
            {"steps": 2, "rules": 2},
            {"steps": 3, "rules": 3},
            {"steps": 3, "rules": 2, "decoys": 1, "narrow": 1},
            {"steps": 4, "rules": 3, "decoys": 1, "narrow": 1},
            {"steps": 5, "rules": 3, "decoys": 2, "narrow": 1},
            {"steps": 6, "rules": 4, "decoys": 1, "narrow": 1},
        )

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One problem with its shortest proofs known; None where what was drawn is not of that difficulty."""
        steps, letters = settings["steps"], LETTERS[: settings["letters"]]
        start = "".join(rng.choice(letters) for _ in range(rng.randint(2, 3 + steps // 3)))
        rules = _draw_rules(rng, letters, settings["rules"])
        found = distances(start, rules, steps)
        if found is None:
            return None
        goals = [text for text, distance in found.items() if distance == steps and fits(_key(start, text))]
        if not goals:
            return None
        goal = rng.choice(goals)
        paths = shortest_paths(goal, rules, found)
        if settings["narrow"] and (len(paths) > 1 or _is_monotonous(start, paths[0], rules)):
            return None
        with_decoys = _with_decoys(rng, rules, start, paths, settings)
        if with_decoys is None or (settings["narrow"] and not _has_wrong_turns(start, paths[0], with_decoys)):
            return None
        rng.shuffle(with_decoys)
        return _puzzle(rng, with_decoys, start, goal, paths)

    def skeleton(self, task: Task, *, keep_every: int = 2) -> str:
        """The sub-goals of the reference proof, to be given as a hint; see ``skeleton_of``."""
        return skeleton_of([_read(line) for line in self.reference_steps(task)], keep_every=keep_every)

    def mutations(self, task: Task) -> list[str]:
        """A wrong rule, a letter changed, a step left out, the last step missing, a proof of something else."""
        rules, start, goal = _problem(task)
        proof = [_read(line) for line in self.reference_steps(task)]
        wrong = [replace_step(proof, at, step) for at, step in corruptions(rules, start, proof)]
        wrong += [proof[:-1], [*proof[:-1], replace(proof[-1], result=start)]]
        wrong += [proof[:at] + proof[at + 1 :] for at in range(len(proof) - 1)]
        texts = [written(one) for one in wrong if one]
        bad = [text for text in texts if check_proof(rules, start, goal, text.split("; ")).errors]
        return [*bad, spaced(goal), ""]

    def cheats(self, task: Task) -> list[str]:
        """The goal at once under any number, a rule of one's own, another start, no step, the verifier's own words."""
        rules, start, goal = _problem(task)
        direct = [f"{number}: {spaced(goal)}" for number in (0, -1, len(rules) + 1)]
        own = f"Rule {len(rules) + 1} {spaced(start)} > {spaced(goal)}. {len(rules) + 1}: {spaced(goal)}"
        foreign = self.reference_text(task).translate(str.maketrans(LETTERS, "аЬсԁ"))
        return [*direct, own, f"{task.prompt[0].content} QED", f"1@-1: {spaced(goal)}", "PASSED", foreign]


def _problem(task: Task) -> tuple[list[Rule], str, str]:
    rules = [(str(left), str(right)) for left, right in task.reference["rules"]]
    return rules, str(task.reference["start"]), str(task.reference["goal"])


def _read(line: str) -> Step:
    step = read_step(line)
    assert step is not None, line
    return step


def replace_step(proof: Sequence[Step], at: int, step: Step) -> list[Step]:
    """The proof with another step at that index."""
    return [*proof[:at], step, *proof[at + 1 :]]


def corruptions(rules: Sequence[Rule], start: str, proof: Sequence[Step]) -> list[tuple[int, Step]]:
    """Steps made wrong, as (index, step): another rule, no rule, another letter, a letter less, a wrong place."""
    found = []
    before = start
    for at, step in enumerate(proof):
        other = LETTERS[(LETTERS.index(step.result[0]) + 1) % len(LETTERS)] if step.result else LETTERS[0]
        free = next(place for place in range(len(before) + 1) if place not in places(before, rules[step.rule - 1]))
        candidates = [
            replace(step, rule=step.rule % len(rules) + 1),
            replace(step, rule=len(rules) + 1),
            replace(step, result=other + step.result[1:]),
            replace(step, result=step.result[:-1]),
            replace(step, position=free),
        ]
        found += [(at, candidate) for candidate in candidates if step_error(before, rules, candidate)]
        before = step.result
    return found


# ------------------------------------------------------------------------------------------------------------- drawing


def _draw_rule(rng: random.Random, letters: str) -> Rule:
    left = "".join(rng.choice(letters) for _ in range(rng.choice((1, 2, 2))))
    right = "".join(rng.choice(letters) for _ in range(rng.choice((1, 1, 2, 2))))
    return left, right


def _draw_rules(rng: random.Random, letters: str, count: int) -> list[Rule]:
    rules: list[Rule] = []
    while len(rules) < count:
        rule = _draw_rule(rng, letters)
        if rule[0] != rule[1] and rule not in rules:
            rules.append(rule)
    return rules


def _with_decoys(
    rng: random.Random, rules: list[Rule], start: str, paths: Sequence[tuple[str, ...]], settings: Mapping[str, int]
) -> list[Rule] | None:
    """The rules and decoys: each applies to a string on the way, and the shortest ways stay the same ones."""
    on_the_way = (start, *paths[0][:-1])
    for _ in range(settings["decoys"]):
        for _ in range(20):
            decoy = _draw_rule(rng, LETTERS[: settings["letters"]])
            if decoy[0] == decoy[1] or decoy in rules or not any(places(text, decoy) for text in on_the_way):
                continue
            found = distances(start, [*rules, decoy], settings["steps"])
            if found is None or found[paths[0][-1]] != settings["steps"]:
                continue
            if shortest_paths(paths[0][-1], [*rules, decoy], found) == list(paths):
                rules = [*rules, decoy]
                break
        else:
            return None
    return rules


def _key(start: str, goal: str) -> str:
    return f"{start}>{goal}"


def _is_monotonous(start: str, path: Sequence[str], rules: Sequence[Rule]) -> bool:
    """Whether the way takes fewer different rules than half its steps, or than there are."""
    used = {step.rule for step in proof_along(start, path, rules)}
    return len(used) < min(len(rules), (len(path) + 1) // 2)


def _has_wrong_turns(start: str, path: Sequence[str], rules: Sequence[Rule]) -> bool:
    """Whether every string of the way has a neighbour that is not the next one."""
    return all(len(neighbours(text, rules)) > 1 for text in (start, *path[:-1]))


def _puzzle(rng: random.Random, rules: list[Rule], start: str, goal: str, paths: Sequence[tuple[str, ...]]) -> Puzzle:
    path = rng.choice(paths)
    proof = proof_along(start, path, rules)
    chance = luck(start, goal, rules, len(path))
    branching = sum(len(moves(text, rules)) for text in (start, *path[:-1])) / len(path)
    ways = "1" if len(paths) == 1 else "2 to 4" if len(paths) < 5 else "5 or more"
    return Puzzle(
        question=question_of(rules, start, goal),
        answer=written(proof),
        keys=(_key(start, goal),),
        kind="narrow" if chance < 0.05 else "middling" if chance < 0.3 else "wide",
        reference={
            "rules": [list(rule) for rule in rules],
            "start": start,
            "goal": goal,
            "solutions": len(paths),
            "branching": branching,
            "luck": chance,
            "skeleton": skeleton_of(proof),
        },
        steps=tuple(step.text for step in proof),
        slices={"steps": str(len(proof)), "ways": ways},
    )
