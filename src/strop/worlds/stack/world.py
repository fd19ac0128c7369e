"""Tasks of the stack world: a formula, or only examples of one, whose program must pass hidden tests."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from strop.types import Task, Verifier
from strop.verifiers.stack import ProgramError, StackProgram, read_program, run_program
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle
from strop.worlds.hidden_tests import choose_tests, is_told_apart
from strop.worlds.splits import row_random
from strop.worlds.stack.formulas import (
    OPERATORS,
    Choice,
    Formula,
    Repeated,
    draw_choice,
    draw_plain,
    draw_repeated,
    program_of,
    text_of,
    value_of,
)

NAMES = "abckmnxy"
NUM_TESTS = 6
_PROBES = ((0, 0), (1, 0), (0, 1), (2, 5), (7, 3), (4, 9), (9, 8), (6, 6))
_SIMPLE = tuple(range(-9, 21))
_COUNTS = tuple(range(0, 9))
_MAX_VALUE = 10**9


@dataclass(frozen=True, kw_only=True)
class StackWorld(GeneratedWorld):
    """Tasks ``Stack program for f(x) = (x + 3) * 2.`` whose answer is ``push x push 3 add push 2 mul``.

    ``ops``: operations of the formula. ``inputs``: 1 or 2. ``instructions``: 1 add and sub; 2 also mul; 3 also
    ``square`` and ``twice``, which dup computes; 4 a choice, which needs jumps; 5 a sum or product over a loop.
    ``examples``: how many values are shown. ``shown``: with 0 the formula is not, and the examples are all there is.
    """

    dials: ClassVar[Mapping[str, Dial]] = {
        "ops": Dial(default=2, low=1, high=8),
        "inputs": Dial(default=1, low=1, high=2),
        "instructions": Dial(default=2, low=1, high=5),
        "examples": Dial(default=0, low=0, high=6),
        "shown": Dial(default=1, low=0, high=1),
    }
    name: str = "stack"
    verifier: Verifier = field(default_factory=StackProgram)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"ops": 1, "instructions": 1},
            {"ops": 1},
            {"ops": 2},
            {"ops": 3, "inputs": 2, "instructions": 3},
            {"ops": 5, "inputs": 2, "instructions": 3},
            {"ops": 2, "inputs": 2, "instructions": 4},
            {"ops": 2, "inputs": 2, "instructions": 5},
            {"ops": 2, "inputs": 2, "examples": 5, "shown": 0},
        )

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One formula with its tests; None where it is constant, leaves an input out, or grows too large."""
        names = tuple(rng.sample(NAMES, settings["inputs"]))
        formula = _draw(rng, names, settings)
        program = program_of(formula)
        if any(f"push {name}" not in program for name in names):
            return None
        probes = [value_of(formula, dict(zip(names, probe, strict=False))) for probe in _PROBES]
        key = f"{len(names)}{' loop' if isinstance(formula, Repeated) else ''} {probes}"
        if len(set(probes)) == 1 or not fits(key):
            return None
        pool = _pool(rng, names, isinstance(formula, Repeated))
        values = [value_of(formula, one) for one in pool]
        if max(map(abs, values)) > _MAX_VALUE or len(set(values[settings["examples"] :])) == 1:
            return None
        run = _runner(" ".join(program))
        if any(run(one) != value for one, value in zip(pool, values, strict=True)):
            return None  # a number on the way is too large for the machine, though the value is not
        return _puzzle(rng, formula, names, pool, key, settings)

    def mutations(self, task: Task) -> list[str]:
        """An instruction left out, doubled or changed, operands exchanged; only what some input can tell apart."""
        pool = task.reference["pool"]
        right = self.reference_text(task)
        wrong = [text for text in _mutants(right) if is_told_apart(_runner(right), _runner(text), pool)]
        return [*wrong, "", right.replace("push", "put", 1)]

    def cheats(self, task: Task) -> list[str]:
        """The values themselves, an endless loop, an empty stack, reading what is expected, the verifier's words."""
        tests = task.reference["tests"]
        constants = [f"push {test['expect']}" for test in tests[:2]]
        everything = " ".join(f"push {test['expect']}" for test in tests)
        python = "def f(*inputs):\n    return expect"
        return [*constants, everything, "jump 0", "push e", "push expect", python, task.prompt[0].content, "PASSED"]


def _draw(rng: random.Random, names: Sequence[str], settings: Mapping[str, int]) -> Formula:
    ops, level = settings["ops"], settings["instructions"]
    operators = OPERATORS[:2] if level == 1 else (*OPERATORS, *OPERATORS[:2])
    if level == 4:
        return draw_choice(rng, names, ops, operators=operators)
    if level == 5:
        return draw_repeated(rng, names, ops)
    return draw_plain(rng, names, ops, operators=operators, doubled=level == 3)


def _pool(rng: random.Random, names: Sequence[str], counts: bool) -> list[dict[str, int]]:
    """40 different inputs; the first name counts a loop where there is one."""
    drawn: list[dict[str, int]] = []
    wide = [_COUNTS if counts and name == names[0] else _SIMPLE for name in names]
    for _ in range(40):
        one = {name: rng.choice(values) for name, values in zip(names, wide, strict=True)}
        drawn += [one] if one not in drawn else []
    return drawn


def _runner(text: str) -> Callable[[Mapping[str, int]], object]:
    """What the program gives for inputs; what is wrong with it where it gives nothing."""
    try:
        program = read_program(text)
    except ProgramError as error:
        told = str(error)
        return lambda inputs: told

    def run(inputs: Mapping[str, int]) -> object:
        try:
            return run_program(program, inputs)[0]
        except ProgramError as error:
            return str(error)

    return run


def _mutants(right: str) -> list[str]:
    """Programs one honest mistake away; some may do the same."""
    lines = re.findall(r"(?:push|set|jump|jzero|jneg) \S+|\S+", right)
    found = []
    for at, line in enumerate(lines):
        word, _, operand = line.partition(" ")
        other = {"add": "sub", "sub": "add", "mul": "add", "dup": "over", "jneg": f"jzero {operand}"}.get(word)
        if word == "push":
            other = f"push {int(operand) + 1}" if operand.lstrip("-").isdigit() else "push 1"
        if other is not None:
            found.append([*lines[:at], other, *lines[at + 1 :]])
        if word == "sub":
            found.append([*lines[:at], "swap", *lines[at:]])
        found.append([*lines[:at], *lines[at + 1 :]])
    return [" ".join(one) for one in found if one]


def _halves(formula: Formula, pool: Sequence[Mapping[str, int]]) -> list[Callable[[Mapping[str, int]], object]]:
    """A choice with a constant in the place of one of its answers, for every value that the answer takes."""
    if not isinstance(formula, Choice):
        return []
    sides = [(value_of(replace(formula, then=0, other=1), one), value_of(formula, one)) for one in pool]
    wrong = [
        replace(formula, then=value) if side == 0 else replace(formula, other=value)
        for side, value in dict.fromkeys(sides)
    ]
    return [partial(value_of, one) for one in wrong]


def _puzzle(
    rng: random.Random,
    formula: Formula,
    names: Sequence[str],
    pool: list[dict[str, int]],
    key: str,
    settings: Mapping[str, int],
) -> Puzzle:
    shown, hidden = pool[: settings["examples"]], pool[settings["examples"] :]
    answer = " ".join(program_of(formula))
    mutants = [*(_runner(text) for text in _mutants(answer)), *_halves(formula, hidden)]
    chosen = choose_tests(
        lambda inputs: value_of(formula, inputs), mutants, hidden, row_random("stack-tests", key), at_least=NUM_TESTS
    )
    head = f"f({', '.join(names)})"
    said = f"Stack program for {head} = {text_of(formula)}." if settings["shown"] else f"Stack program for {head}."
    examples = ", ".join(f"f({', '.join(map(str, one.values()))}) = {value_of(formula, one)}" for one in shown)
    kind = "loop" if isinstance(formula, Repeated) else "choice" if isinstance(formula, Choice) else "formula"
    return Puzzle(
        question=f"{said} {examples}." if examples else said,
        answer=answer,
        keys=(key,),
        kind=kind if settings["shown"] else "examples",
        reference={
            "tests": [{"inputs": one, "expect": value_of(formula, one)} for one in chosen],
            "pool": hidden,
        },
        steps=tuple(program_of(formula)),
        slices={"inputs": str(len(names))},
    )
