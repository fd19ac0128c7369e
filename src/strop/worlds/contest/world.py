"""Tasks of the contest world: a function in words, whose Python must pass hidden unit tests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from strop.types import Json, Task, Verifier
from strop.worlds.contest.recipes import Inputs, Operand, Recipe, Stage, draw_recipe, mutants, swaps
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle
from strop.worlds.hidden_tests import choose_tests, is_told_apart
from strop.worlds.splits import row_random

NUM_TESTS = 6
_PROBES = ((2, 5), (0, 0), (7, 3), (1, 0), (4, 9), (9, 8), (0, 1), (15, 6))
_LISTS: tuple[list[int], ...] = ([], [3], [1, 12, 5], [9, 9], [2, 4, 8, 16], [7, 0, 20], [-4, 6], [5, 4, 3, 2, 1])


@dataclass(frozen=True, kw_only=True)
class ContestWorld(GeneratedWorld):
    """Tasks ``Write f(a, b): take a, plus b, times 3.`` whose answer is Python; hidden unit tests judge it.

    ``ops``: stages. ``branches``: how many of them have a condition. ``loops``: how many are repeated. ``inputs``: 1 or
    2 numbers. ``lists``: with 1 there is also a list, one stage being done for each element.
    """

    dials: ClassVar[Mapping[str, Dial]] = {
        "ops": Dial(default=2, low=1, high=8),
        "branches": Dial(default=0, low=0, high=4),
        "loops": Dial(default=0, low=0, high=3),
        "inputs": Dial(default=2, low=1, high=2),
        "lists": Dial(default=0, low=0, high=1),
    }
    name: str = "contest"

    @cached_property
    def verifier(self) -> Verifier:
        """``CodeAnswer``, made when it is first asked for: whoever only wants demonstrations needs no sandbox."""
        from strop.verifiers.code import CodeAnswer

        return CodeAnswer()

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"ops": 1},
            {"ops": 2},
            {"ops": 3},
            {"ops": 3, "branches": 1},
            {"ops": 3, "branches": 1, "loops": 1},
            {"ops": 4, "branches": 2, "loops": 1},
            {"ops": 4, "branches": 2, "loops": 1, "lists": 1},
            {"ops": 8, "branches": 4, "loops": 2, "lists": 1},
        )

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One function with its tests; None where it is constant or its numbers grow too large."""
        counts = {name: settings[name] for name in ("ops", "branches", "loops", "lists")}
        recipe = draw_recipe(rng, num_inputs=settings["inputs"], **counts)
        probes = [recipe.value(_inputs(recipe, numbers, _LISTS[at])) for at, numbers in enumerate(_PROBES)]
        key = f"{len(recipe.inputs)} {settings['lists']} {probes}"
        pool = _pool(rng, recipe)
        values = [recipe.value(one) for one in pool]
        if None in values or len(set(values)) == 1 or not fits(key):
            return None
        functions = [one.value for one in (*mutants(recipe), *swaps(recipe, range(-9, 21)))]
        chosen = choose_tests(recipe.value, functions, pool, row_random("contest-tests", key), at_least=NUM_TESTS)
        tests = [{"call": list(one.values()), "expect": recipe.value(one)} for one in chosen]
        return Puzzle(
            question=f"Write {recipe.head}: {recipe.text}.",
            answer=recipe.source,
            keys=(key,),
            kind=_kind(recipe),
            reference={"tests": tests, "entry_point": "f", "recipe": _plain(recipe), "pool": pool},
            steps=recipe.lines,
            slices={"stages": str(len(recipe.stages))},
        )

    def mutations(self, task: Task) -> list[str]:
        """A stage left out, changed or misplaced; only what some input tells apart; and what is no such function."""
        recipe, pool, right = _recipe(task.reference["recipe"]), task.reference["pool"], self.reference_text(task)
        wrong = [one.source for one in mutants(recipe) if is_told_apart(recipe.value, one.value, pool)]
        broken = [right.replace("return r", ""), right.replace(":", "", 1), right.replace("def f", "def g"), ""]
        return [*wrong, *broken]

    def cheats(self, task: Task) -> list[str]:
        """A known value, an object that equals everything, leaving early, finding the tests, the verifier's words."""
        head = f"def {_recipe(task.reference['recipe']).head}:"
        first = task.reference["tests"][0]["expect"]
        equal = "class E(int):\n def __eq__(self, other): return True\n def __ne__(self, other): return False\n"
        frames = " import sys\n g = sys._getframe()\n while g.f_back: g = g.f_back\n return g.f_locals.get('expect')"
        return [
            f"{head}\n return {first}",
            f"{equal}{head}\n return E()",
            f"{head}\n import os\n os._exit(0)",
            f"{head}\n raise SystemExit(0)",
            f"print('PASSED')\n{head}\n print('PASSED')",
            f"{head}\n{frames}",
            f"import builtins\nbuiltins.all = lambda values: True\n{head}\n return None",
            f"{head}\n return NotImplemented",
            "PASSED",
        ]


def _kind(recipe: Recipe) -> str:
    if any(stage.each for stage in recipe.stages):
        return "list"
    if any(stage.repeat is not None for stage in recipe.stages):
        return "loop"
    return "branch" if any(stage.over is not None for stage in recipe.stages) else "chain"


def _inputs(recipe: Recipe, numbers: tuple[int, ...], values: list[int]) -> Inputs:
    left = iter(numbers)
    return {name: list(values) if name == "xs" else next(left) for name in recipe.inputs}


def _pool(rng: random.Random, recipe: Recipe) -> list[Inputs]:
    """40 different inputs: numbers of -9 to 20, lists of up to five of them."""
    drawn: list[Inputs] = []
    for _ in range(40):
        values = [rng.randint(-9, 20) for _ in range(rng.randint(0, 5))]
        one = _inputs(recipe, (rng.randint(-9, 20), rng.randint(-9, 20)), values)
        drawn += [one] if one not in drawn else []
    return drawn


def _plain(recipe: Recipe) -> Json:
    stages = [[one.operator, one.operand, one.over, one.repeat, one.each] for one in recipe.stages]
    return {"inputs": list(recipe.inputs), "start": recipe.start, "stages": stages}


def _recipe(plain: Json) -> Recipe:
    stages = tuple(
        Stage(operator=operator, operand=operand, over=over, repeat=repeat, each=each)
        for operator, operand, over, repeat, each in plain["stages"]
    )
    start: Operand = plain["start"]
    return Recipe(inputs=tuple(plain["inputs"]), start=start, stages=stages)
