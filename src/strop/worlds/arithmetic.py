"""Chains of additions and subtractions modulo a number; the dial is the number of steps and the operands' size."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from strop.errors import RecipeError
from strop.types import Completion, Conversation, Json, Message, Preference, Task, ToolCall, Verdict, Verifier
from strop.worlds.dials import check_dial
from strop.worlds.scratchpad import WorkedNumber, read_question, routes
from strop.worlds.splits import check_split, row_random, split_of


@dataclass(frozen=True, kw_only=True)
class Chain:
    """``first ± operand ± operand ... mod modulus``."""

    first: int
    steps: tuple[tuple[Literal["+", "-"], int], ...]
    modulus: int

    @property
    def expression(self) -> str:
        """``34 + 17 - 9``."""
        return " ".join([str(self.first), *(f"{sign} {operand}" for sign, operand in self.steps)])

    @property
    def values(self) -> tuple[int, ...]:
        """The running value after each step."""
        value, found = self.first, []
        for sign, operand in self.steps:
            value = (value + operand if sign == "+" else value - operand) % self.modulus
            found.append(value)
        return tuple(found)

    @property
    def question(self) -> str:
        """What the user asks."""
        return f"Compute {self.expression} mod {self.modulus}."

    @property
    def worked(self) -> str:
        """The answer with its steps: ``34+17=51; 51-9=42. Answer: 42``."""
        before = (self.first, *self.values[:-1])
        lines = [
            f"{start}{sign}{operand}={value}"
            for start, (sign, operand), value in zip(before, self.steps, self.values, strict=True)
        ]
        return f"{'; '.join(lines)}. Answer: {self.values[-1]}"


def draw_chain(rng: random.Random, *, steps: int, max_operand: int = 99, modulus: int = 100) -> Chain:
    """A random chain of ``steps`` operations with operands in 1..max_operand."""
    return Chain(
        first=rng.randint(1, max_operand),
        steps=tuple((rng.choice(("+", "-")), rng.randint(1, max_operand)) for _ in range(steps)),
        modulus=modulus,
    )


@dataclass(frozen=True, kw_only=True)
class ArithmeticWorld:
    """Tasks ``Compute 34 + 17 - 9 mod 100.`` with the exact answer; pass rates fall with ``steps``."""

    name: str = "arithmetic"
    tools: tuple[Json, ...] = ()
    verifier: Verifier = field(default_factory=WorkedNumber)

    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]:
        return {"accuracy": "higher", "worked": "higher", "truncated": "lower"}

    def _chains(self, split: str, n: int, seed: int, dial: Mapping[str, int]) -> list[Chain]:
        wanted = check_split(split)
        check_dial("arithmetic", dial, {"steps": (1, None), "max_operand": (1, None), "modulus": (1, None)})
        settings = {"steps": 3, **dial}
        chains = []
        for row in range(n):
            rng = row_random("arithmetic", sorted(settings.items()), split, seed, row)
            chain = draw_chain(rng, **settings)
            while split_of(chain.question) != wanted:
                chain = draw_chain(rng, **settings)
            chains.append(chain)
        return chains

    def tasks(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Task]:
        """``n`` chains; ``dial``: ``steps`` (3), ``max_operand`` (99), ``modulus`` (100)."""
        return [
            Task(
                id=f"arithmetic/{split}/{seed}/{row}",
                prompt=(Message(role="user", content=chain.question),),
                reference={"answer": str(chain.values[-1]), "worked": chain.worked, "modulus": chain.modulus},
                slices={"steps": str(len(chain.steps))},
                source=f"world:arithmetic#{row}",
            )
            for row, chain in enumerate(self._chains(split, n, seed, dial))
        ]

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        return (
            {"steps": 1, "max_operand": 9},
            {"steps": 1},
            {"steps": 2},
            {"steps": 3},
            {"steps": 5},
            {"steps": 8},
            {"steps": 8, "max_operand": 999, "modulus": 1000},
        )

    def demonstrations(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Conversation]:
        """``n`` chains with right answers, half worked, half terse: what is learnt from the terse ones is to guess."""
        rows = []
        for row, chain in enumerate(self._chains(split, n, seed, dial)):
            is_worked = row_random("arithmetic-style", split, seed, row).random() < 0.5
            answer = chain.worked if is_worked else f"Answer: {chain.values[-1]}"
            rows.append(
                Conversation(
                    id=f"arithmetic-demonstration/{split}/{seed}/{row}",
                    messages=(
                        Message(role="user", content=chain.question),
                        Message(role="assistant", content=answer),
                    ),
                    source=f"world:arithmetic/demonstrations#{row}",
                )
            )
        return rows

    def preferences(self, split: str, n: int, seed: int = 0) -> list[Preference]:
        """Not offered. Raises: RecipeError."""
        raise RecipeError(
            "world:arithmetic has no preference pairs",
            why="its answers are right or wrong, not better or worse",
            do="train on it with method = 'grpo', or take world:finance/preferences",
        )

    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        """``accuracy``; ``worked``: whether steps are shown; ``truncated``."""
        return {
            "accuracy": float(verdict.passed) if verdict.is_graded else None,
            "worked": float("=" in completion.text),
            "truncated": float(completion.is_truncated),
        }

    def reference_text(self, task: Task) -> str:
        """The worked answer."""
        return str(task.reference["worked"])

    def reference_steps(self, task: Task) -> tuple[str, ...]:
        """``34+17=51``, ``51-9=42`` ..."""
        return tuple(str(task.reference["worked"]).split(". ")[0].split("; "))

    def routes(self, task: Task) -> tuple[str, ...]:
        """Different worked answers that are all right, the reference first; see ``strop.worlds.scratchpad.routes``."""
        asked = read_question(task.prompt[-1].content)
        assert asked is not None
        return routes(*asked)

    def mutations(self, task: Task) -> list[str]:
        """Off by one, off by ten, no answer, and the right number too early."""
        modulus = int(task.reference["modulus"])
        right = int(task.reference["answer"])
        wrong = [(right + 1) % modulus, (right + 10) % modulus]
        return [*(f"Answer: {value}" for value in wrong), "", f"{right}. Answer: {wrong[0]}"]

    def cheats(self, task: Task) -> list[str]:
        """Every residue at once, the question again, the verifier's own words."""
        modulus = min(int(task.reference["modulus"]), 200)
        every = " ".join(map(str, range(modulus)))
        right = int(task.reference["answer"])
        last = (right + 1) % modulus
        return [f"{every} Answer: {last}", task.prompt[-1].content + f" Answer: not {last}", "correct", "PASSED"]

    def execute(self, call: ToolCall, *, tenant: str = "bank_A") -> str:
        """There are no tools here."""
        return '{"error": "no tools"}'

    def opening(self, tenant: str = "bank_A") -> tuple[Message, ...]:
        """No system message."""
        return ()
