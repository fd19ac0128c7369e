"""Training rows and suite items as dialogues that can be compared, whatever their shape."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.digests import digest_bytes
from strop.evals.suite import Suite, task_digest
from strop.types import Conversation, Document, Message, Preference, Task


def plain(text: str) -> str:
    """The text without differences of case, Unicode form and spacing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, kw_only=True)
class RowText:
    """A training row as it is compared."""

    label: str
    """``stage: id (place)``."""
    prompts: frozenset[str]
    """Digests of the dialogue before each of its answers, without the system message."""
    whole_prompts: frozenset[str]
    """The same with it; empty where the row has none."""
    texts: tuple[str, ...]
    """What the user and the assistant say, or the document."""
    cluster: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """A suite's item as it is compared."""

    id: str
    question: str
    """All that the user says, behind the system message where that differs between items; empty where tool results
    stand in the prompt: there the question alone is not what is asked."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A suite's items, and how they are found again."""

    items: tuple[Item, ...]
    task_digests: tuple[str, ...]
    prompts: Mapping[str, tuple[int, ...]]
    """Digest of the dialogue without its system message → the items that ask it."""
    whole_prompts: Mapping[str, tuple[int, ...]]
    """With it; empty where all items have the same, which then says nothing of what is asked."""
    clusters: Mapping[str, tuple[int, ...]]

    def asked_in(self, row: RowText) -> Iterator[int]:
        """The items whose dialogue the row holds."""
        by_system = bool(self.whole_prompts) and bool(row.whole_prompts)
        index, asked = (self.whole_prompts, row.whole_prompts) if by_system else (self.prompts, row.prompts)
        for prompt in asked:
            yield from index.get(prompt, ())


def read_row(stage: str, row: Any) -> RowText:
    """A conversation, a pair, a task or a document."""
    if isinstance(row, Document):
        dialogues: list[Sequence[Message]] = []
        texts = [row.text]
    elif isinstance(row, Preference):
        dialogues = [(*row.prompt, *row.chosen), (*row.prompt, *row.rejected)]
    elif isinstance(row, Conversation):
        dialogues = [row.messages]
    else:
        assert isinstance(row, Task), type(row)
        dialogues = [(*row.prompt, Message(role="assistant"))]
    if dialogues:
        texts = [_asked(turns, with_system=True) for turns in dialogues]
        said = dict.fromkeys(
            turn.content for turns in dialogues for turn in turns if turn.role in ("user", "assistant")
        )
        texts = list(dict.fromkeys([*texts, *filter(None, said)]))
    has_system = any(turn.role == "system" for turns in dialogues for turn in turns)
    place = f" ({row.source})" if row.source and row.source != row.id else ""
    return RowText(
        label=f"{stage}: {row.id}{place}",
        prompts=frozenset(prompt for turns in dialogues for prompt in _prompts(turns, with_system=False)),
        whole_prompts=frozenset(
            prompt for turns in dialogues if has_system for prompt in _prompts(turns, with_system=True)
        ),
        texts=tuple(plain(text) for text in texts),
        cluster=row.cluster if isinstance(row, Task) else "",
    )


def read_suite(suite: Suite) -> Reading:
    """The suite's items as they are compared."""
    systems = {tuple(plain(turn.content) for turn in task.prompt if turn.role == "system") for task in suite.tasks}
    is_told_apart = len(systems) > 1
    items = tuple(Item(id=task.id, question=_question(task, is_told_apart)) for task in suite.tasks)
    asked = [_prompt(task.prompt, with_system=False) for task in suite.tasks]
    whole = [_prompt(task.prompt, with_system=True) for task in suite.tasks] if is_told_apart else []
    return Reading(
        items=items,
        task_digests=tuple(map(task_digest, suite.tasks)),
        prompts=_numbered(asked),
        whole_prompts=_numbered(whole),
        clusters=_numbered([task.cluster for task in suite.tasks]),
    )


def _question(task: Task, is_told_apart: bool) -> str:
    if any(turn.role == "tool" for turn in task.prompt):
        return ""
    return plain(_asked(task.prompt, with_system=is_told_apart))


def _asked(turns: Sequence[Message], *, with_system: bool) -> str:
    return " ".join(turn.content for turn in turns if turn.role == "user" or (with_system and turn.role == "system"))


def _numbered(keys: Sequence[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        if key:
            found.setdefault(key, []).append(number)
    return {key: tuple(numbers) for key, numbers in found.items()}


def _prompts(turns: Sequence[Message], *, with_system: bool) -> Iterator[str]:
    """The digest of what stands before each answer."""
    for end, turn in enumerate(turns):
        if turn.role == "assistant" and end:
            yield _prompt(turns[:end], with_system=with_system)


def _prompt(turns: Sequence[Message], *, with_system: bool) -> str:
    shown = [
        [turn.role, plain(turn.content), [[call.name, dict(call.arguments)] for call in turn.tool_calls]]
        for turn in turns
        if with_system or turn.role != "system"
    ]
    return digest_bytes(json.dumps(shown, sort_keys=True, default=str).encode())
