"""What a function is to do, stage by stage: in words, as Python, and as a value."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Operator = Literal["plus", "minus", "times"]
OPERATORS: tuple[Operator, ...] = ("plus", "minus", "times")
_SIGNS: Mapping[str, str] = {"plus": "+", "minus": "-", "times": "*"}
Operand = int | str
Inputs = Mapping[str, int | list[int]]
MAX_VALUE = 10**9


@dataclass(frozen=True, kw_only=True)
class Stage:
    """``times 3``, ``if over 9 minus b``, ``b times plus 2``, ``for each x of xs over 4 plus x``."""

    operator: Operator
    operand: Operand
    over: Operand | None = None
    """Only where the value, or in a list its element, is greater than this."""
    repeat: Operand | None = None
    """So many times one after the other; a negative number of times is none."""
    each: str = ""
    """The list whose elements ``x`` it is done for."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A function: its inputs, what it starts from, and the stages."""

    inputs: tuple[str, ...]
    start: Operand
    stages: tuple[Stage, ...]

    @property
    def head(self) -> str:
        """``f(a, b)``."""
        return f"f({', '.join(self.inputs)})"

    @property
    def text(self) -> str:
        """``take a, plus b, if over 9 times 3``."""
        return ", ".join([f"take {self.start}", *map(_stage_text, self.stages)])

    @property
    def lines(self) -> tuple[str, ...]:
        """The body in Python, one line a stage, indented by one space; a list takes two."""
        inside = [line for stage in self.stages for line in _stage_lines(stage)]
        return (f"r = {self.start}", *inside, "return r")

    @property
    def source(self) -> str:
        """The whole function."""
        return "\n".join([f"def {self.head}:", *(f" {line}" for line in self.lines)])

    def value(self, inputs: Inputs) -> int | None:
        """What it returns; None where a number grows beyond ``MAX_VALUE``."""
        result = _number(self.start, inputs)
        for stage in self.stages:
            for element in _elements(stage, inputs):
                inner = inputs if element is None else {**inputs, "x": element}
                measured = result if element is None else element
                if stage.over is None or measured > _number(stage.over, inner):
                    operand = _number(stage.operand, inner)
                    result = {"plus": result + operand, "minus": result - operand, "times": result * operand}[
                        stage.operator
                    ]
                if abs(result) > MAX_VALUE:
                    return None
        return result


def _number(operand: Operand, inputs: Inputs) -> int:
    value = inputs[operand] if isinstance(operand, str) else operand
    assert isinstance(value, int)
    return value


def _elements(stage: Stage, inputs: Inputs) -> Sequence[int | None]:
    """The elements that the stage is done for; None for each time without one."""
    if stage.each:
        values = inputs[stage.each]
        assert isinstance(values, list)
        return values
    return [None] * (1 if stage.repeat is None else max(0, _number(stage.repeat, inputs)))


def _stage_text(stage: Stage) -> str:
    done = f"{stage.operator} {stage.operand}"
    if stage.each:
        return f"for each x of {stage.each}{'' if stage.over is None else f' over {stage.over}'} {done}"
    done = done if stage.over is None else f"if over {stage.over} {done}"
    return done if stage.repeat is None else f"{stage.repeat} times {done}"


def _stage_lines(stage: Stage) -> list[str]:
    done = f"r {_SIGNS[stage.operator]}= {stage.operand}"
    measured = "x" if stage.each else "r"
    done = done if stage.over is None else f"if {measured} > {stage.over}: {done}"
    loop = f"for x in {stage.each}:" if stage.each else f"for i in range({stage.repeat}):"
    if not stage.each and stage.repeat is None:
        return [done]
    return [loop, f" {done}"] if stage.over is not None else [f"{loop} {done}"]


# ------------------------------------------------------------------------------------------- drawing and going wrong


def draw_recipe(rng: random.Random, *, ops: int, branches: int, loops: int, num_inputs: int, lists: int) -> Recipe:
    """A recipe of ``ops`` stages, of which so many have a condition and so many are repeated."""
    names = tuple(rng.sample("abckmny", num_inputs))
    guarded, repeated = rng.sample(range(ops), min(branches, ops)), rng.sample(range(ops), min(loops, ops))
    walked = rng.randrange(ops) if lists else -1
    stages = []
    for at in range(ops):
        operator = rng.choice(OPERATORS)
        constant = rng.randint(2, 9 if operator == "times" else 99)
        stage = Stage(operator=operator, operand=rng.choice(names) if rng.random() < 0.4 else constant)
        if at == walked:
            stage = Stage(operator=rng.choice(OPERATORS[:2]), operand="x", each="xs")
        if at in guarded:
            limits: list[Operand] = [rng.randint(1, 20), *names]
            stage = replace(stage, over=rng.choice(limits))
        if at in repeated and at != walked:
            again: Operand = rng.choice(names) if rng.random() < 0.5 else rng.randint(2, 5)
            stage = replace(stage, repeat=again, operator=rng.choice(OPERATORS[:2]))
        stages.append(stage)
    inputs = ("xs", *names) if lists else names
    start: Operand = rng.choice(names) if rng.random() < 0.7 or not lists else 0
    return Recipe(inputs=inputs, start=start, stages=tuple(stages))


def mutants(recipe: Recipe) -> list[Recipe]:
    """Recipes one honest mistake away; some may do the same."""
    starts: list[Operand] = [0, 1, *(name for name in recipe.inputs if name != "xs")]
    found = [replace(recipe, start=start) for start in starts if start != recipe.start]
    for at, stage in enumerate(recipe.stages):
        changed = [replace(stage, operator=other) for other in OPERATORS if other != stage.operator]
        if isinstance(stage.operand, int):
            changed += [replace(stage, operand=stage.operand + 1), replace(stage, operand=stage.operand - 1)]
        if isinstance(stage.over, int):
            changed.append(replace(stage, over=stage.over + 1))
        if stage.over is not None:
            changed.append(replace(stage, over=None))
        if stage.repeat is not None:
            changed.append(replace(stage, repeat=None))
        before, after = recipe.stages[:at], recipe.stages[at + 1 :]
        found += [replace(recipe, stages=(*before, one, *after)) for one in changed]
        found.append(replace(recipe, stages=(*before, *after)))
        if after:
            found.append(replace(recipe, stages=(*before, after[0], stage, *after[1:])))
    return found


def swaps(recipe: Recipe, numbers: Sequence[int]) -> list[Recipe]:
    """Recipes with one of these numbers, or another input, in the place of an operand or a limit; some may do the same.

    What a stage does that is rarely reached: a test must tell it from a constant.
    """
    others: list[Operand] = [*numbers, *(name for name in recipe.inputs if name != "xs")]
    found = []
    for at, stage in enumerate(recipe.stages):
        changed = [replace(stage, operand=other) for other in others if other != stage.operand]
        if stage.over is not None:
            changed += [replace(stage, over=other) for other in others if other != stage.over]
        found += [replace(recipe, stages=(*recipe.stages[:at], one, *recipe.stages[at + 1 :])) for one in changed]
    return found
