"""What every world offers: data, tasks, a verifier, and the references and mutations that audit the verifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from strop.types import Completion, Conversation, Json, Message, Preference, Task, ToolCall, Verdict, Verifier


class World(Protocol):
    """A generator of tasks whose answers can be checked, deterministic from a seed, with hash-disjoint splits."""

    @property
    def name(self) -> str:
        """As in ``world:NAME``."""

    @property
    def tools(self) -> tuple[Json, ...]:
        """The tools that its assistant may call."""

    @property
    def verifier(self) -> Verifier:
        """Judges one completion of one task."""

    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]:
        """Metric → which way is better."""

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        """The difficulty dial: settings for ``tasks(**level)``, from the easiest to the hardest."""

    def demonstrations(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Conversation]:
        """``n`` good dialogues of the split."""

    def preferences(self, split: str, n: int, seed: int = 0) -> list[Preference]:
        """``n`` preference pairs of the split. Raises: RecipeError where the world has none."""

    def tasks(self, split: str, n: int, seed: int = 0, **dial: int) -> list[Task]:
        """``n`` tasks of the split; ``dial`` sets the difficulty."""

    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        """The item's share of each metric; None where the metric does not apply."""

    def reference_text(self, task: Task) -> str:
        """An answer that the verifier must accept, as the assistant would write it."""

    def reference_steps(self, task: Task) -> tuple[str, ...]:
        """The steps of that answer, for process rewards and hints; empty where the task has none."""

    def mutations(self, task: Task) -> list[str]:
        """Wrong answers that the verifier must reject: honest mistakes."""

    def cheats(self, task: Task) -> list[str]:
        """Answers that try to pass without solving the task; the verifier must reject them."""

    def execute(self, call: ToolCall, *, tenant: str = "bank_A") -> str:
        """What the world's mock service answers to the call."""

    def opening(self, tenant: str = "bank_A") -> tuple[Message, ...]:
        """The turns that stand before the user's first one: the system message, if the world has one."""
