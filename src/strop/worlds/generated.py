"""What worlds of single questions share: drawing until the split fits, levels as slices, tasks and demonstrations."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from strop.errors import RecipeError
from strop.types import Completion, Conversation, Json, Message, Preference, Task, ToolCall, Verdict
from strop.worlds.dials import check_dial
from strop.worlds.splits import check_split, row_random, split_of

Fits = Callable[[str], bool]
"""Whether a key belongs to the split that is drawn for."""
MAX_DRAWS = 20_000
"""After so many draws without a fitting one, a setting is refused."""


@dataclass(frozen=True, kw_only=True)
class Dial:
    """One setting of the difficulty: a whole number in ``low..high``."""

    default: int
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """One drawn problem with its answer."""

    question: str
    answer: str
    """As the assistant writes it."""
    keys: tuple[str, ...]
    """What the problem is made of, whatever its setting and wording; all of them lie in the task's split."""
    kind: str
    reference: Json
    """What the verifier needs."""
    steps: tuple[str, ...] = ()
    slices: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[Json, ...] = ()
    turns: tuple[Message, ...] = ()
    """What happened between the question and the answer: calls and what the tools said."""
    dialogue: tuple[Message, ...] = ()
    """All turns after the question as a demonstration shows them; without any, ``turns`` and the answer."""


@dataclass(frozen=True, kw_only=True)
class GeneratedWorld(ABC):
    """A world that draws puzzles: a subclass has ``dials``, ``levels``, a verifier, and says how one is drawn."""

    dials: ClassVar[Mapping[str, Dial]]

    name: str
    tools: tuple[Json, ...] = ()

    @property
    @abstractmethod
    def levels(self) -> tuple[Mapping[str, int], ...]:
        """The difficulty dial: settings for ``tasks(**level)``, from the easiest to the hardest."""

    @abstractmethod
    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One puzzle of the settings whose keys all fit; None where what was drawn holds none."""

    @abstractmethod
    def mutations(self, task: Task) -> list[str]:
        """Wrong answers that the verifier must reject: honest mistakes."""

    @abstractmethod
    def cheats(self, task: Task) -> list[str]:
        """Answers that try to pass without solving the task; the verifier must reject them."""

    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]:
        """Metric → which way is better."""
        return {"accuracy": "higher", "truncated": "lower"}

    def settings(self, dial: Mapping[str, int]) -> dict[str, int]:
        """The dial with its defaults. Raises: RecipeError for an unknown name or a number out of its bounds."""
        check_dial(self.name, dial, {name: (one.low, one.high) for name, one in self.dials.items()})
        return {**{name: one.default for name, one in self.dials.items()}, **dial}

    def level_of(self, settings: Mapping[str, int]) -> str:
        """The number of the level with these settings, as a slice; ``custom`` where none has them."""
        for number, level in enumerate(self.levels):
            if self.settings(level) == dict(settings):
                return str(number)
        return "custom"

    def puzzles(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Puzzle]:
        """``n`` puzzles of the split, each depending on split, seed, settings and its row only."""
        wanted, settings = check_split(split), self.settings(dial)

        def fits(key: str) -> bool:
            return split_of(f"{self.name}/{key}") == wanted

        found = []
        for row in range(n):
            rng = row_random(self.name, sorted(settings.items()), split, seed, row)
            for _ in range(MAX_DRAWS):
                puzzle = self.draw(rng, settings, fits)
                if puzzle is not None and all(fits(key) for key in puzzle.keys):
                    found.append(puzzle)
                    break
            else:
                raise RecipeError(
                    f"world:{self.name} has no task with {settings} in {split}",
                    why=f"none of {MAX_DRAWS:,} draws was one",
                    do="choose another setting, or one of the world's levels",
                )
        return found

    def tasks(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Task]:
        """``n`` tasks of the split; slices: level, kind and the world's own."""
        level = self.level_of(self.settings(dial))
        return [
            Task(
                id=f"{self.name}/{split}/{seed}/{row}",
                prompt=(Message(role="user", content=puzzle.question), *puzzle.turns),
                tools=puzzle.tools,
                reference={**puzzle.reference, "text": puzzle.answer, "steps": list(puzzle.steps)},
                slices={"level": level, "kind": puzzle.kind, **puzzle.slices},
                source=f"world:{self.name}#{row}",
            )
            for row, puzzle in enumerate(self.puzzles(split, n, seed, **dial))
        ]

    def demonstrations(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Conversation]:
        """``n`` dialogues with right answers."""
        rows = []
        for row, puzzle in enumerate(self.puzzles(split, n, seed, **dial)):
            dialogue = puzzle.dialogue or (*puzzle.turns, Message(role="assistant", content=puzzle.answer))
            rows.append(
                Conversation(
                    id=f"{self.name}-demonstration/{split}/{seed}/{row}",
                    messages=(Message(role="user", content=puzzle.question), *dialogue),
                    tools=puzzle.tools,
                    source=f"world:{self.name}/demonstrations#{row}",
                )
            )
        return rows

    def preferences(self, split: str, n: int, seed: int = 0) -> list[Preference]:
        """Not offered. Raises: RecipeError."""
        raise RecipeError(
            f"world:{self.name} has no preference pairs",
            why="its answers are right or wrong, not better or worse",
            do="train on it with method = 'grpo', or take world:finance/preferences",
        )

    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        """``accuracy`` over what could be graded; ``truncated``."""
        return {
            "accuracy": float(verdict.passed) if verdict.is_graded else None,
            "truncated": float(completion.is_truncated),
        }

    def reference_text(self, task: Task) -> str:
        """An answer that the verifier must accept, as the assistant would write it."""
        return str(task.reference["text"])

    def reference_steps(self, task: Task) -> tuple[str, ...]:
        """The steps of that answer; empty where it has none."""
        return tuple(task.reference["steps"])

    def execute(self, call: ToolCall, *, tenant: str = "bank_A") -> str:
        """There are no tools here."""
        return '{"error": "no tools"}'

    def opening(self, tenant: str = "bank_A") -> tuple[Message, ...]:
        """No system message."""
        return ()
