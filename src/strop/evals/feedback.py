"""Failures become data: tasks to practise, pairs to prefer, answers to imitate, cases to examine a verifier with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strop.chat.parse import parse_assistant
from strop.data.lineage import COLUMN, lineage_of, with_lineage
from strop.data.readers import read_rows
from strop.data.reading import read_tasks
from strop.errors import DataError, MismatchError
from strop.evals.failures import Failure, require_trainable
from strop.evals.results import SuiteResult
from strop.evals.suite import Suite
from strop.files import write_text
from strop.types import Completion, Conversation, Message, Preference, Task, Verifier
from strop.verifiers.audit import AuditCase
from strop.worlds import World

Row = Task | Preference | Conversation


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A right answer, and where it is from."""

    text: str
    source: str
    """``own sample``, ``baseline`` or ``reference``."""


def right_answer(failure: Failure, *, world: World | None = None, baseline: SuiteResult | None = None) -> Answer | None:
    """The model's own passing answer, else the baseline's, else the world's reference; None where nobody knows one."""
    own = next((sample.text for sample in failure.item.samples if sample.passed), None)
    if own is not None:
        return Answer(text=own, source="own sample")
    if baseline is not None:
        before = next((item for item in baseline.items if item.id == failure.item.id), None)
        text = next((sample.text for sample in before.samples if sample.passed), None) if before else None
        if text is not None:
            return Answer(text=text, source="baseline")
    return Answer(text=world.reference_text(failure.task), source="reference") if world is not None else None


def failed_tasks(found: Sequence[Failure], *, is_held_out: bool | None = None) -> list[Task]:
    """The failed tasks themselves, to practise on. Raises: DataError for held-out ones (``require_trainable``)."""
    require_trainable([failure.task for failure in found], is_held_out=is_held_out)
    return [with_lineage(failure.task, failure.lineage) for failure in found]


def failed_pairs(
    found: Sequence[Failure],
    *,
    world: World | None = None,
    baseline: SuiteResult | None = None,
    is_held_out: bool | None = None,
) -> list[Preference]:
    """A right answer preferred to the failing one; an item of which nobody knows a right answer gives none.

    Raises: DataError for held-out items (``require_trainable``).
    """
    require_trainable([failure.task for failure in found], is_held_out=is_held_out)
    pairs = []
    for failure in found:
        chosen = right_answer(failure, world=world, baseline=baseline)
        wrong = next((sample for sample in failure.samples if not sample.passed), None)
        if chosen is not None and wrong is not None:
            lineage = {**failure.lineage, "chosen": chosen.source, "reasons": list(wrong.reasons)}
            pairs.append(_pair(failure.task, chosen.text, wrong.text, lineage))
    return pairs


def failed_conversations(
    found: Sequence[Failure],
    *,
    world: World | None = None,
    baseline: SuiteResult | None = None,
    is_held_out: bool | None = None,
) -> list[Conversation]:
    """The right answers to the failed items, to imitate. Raises: DataError for held-out items."""
    require_trainable([failure.task for failure in found], is_held_out=is_held_out)
    answers = [(failure, right_answer(failure, world=world, baseline=baseline)) for failure in found]
    return [
        _conversation(failure.task, answer.text, {**failure.lineage, "answer": answer.source})
        for failure, answer in answers
        if answer is not None
    ]


def practised_pairs(tasks: Sequence[Task], world: World) -> list[Preference]:
    """The world's reference preferred to one of its honest mistakes, for tasks drawn by ``more_like``."""
    require_trainable(tasks)
    pairs = []
    for task in tasks:
        mistakes = world.mutations(task)
        if mistakes:
            lineage = {**(lineage_of(task) or {}), "chosen": "reference", "rejected": "mutation"}
            pairs.append(_pair(task, world.reference_text(task), mistakes[0], lineage))
    return pairs


def practised_conversations(tasks: Sequence[Task], world: World) -> list[Conversation]:
    """The world's references to tasks drawn by ``more_like``, to imitate."""
    require_trainable(tasks)
    return [_conversation(t, world.reference_text(t), {**(lineage_of(t) or {}), "answer": "reference"}) for t in tasks]


def _pair(task: Task, chosen: str, rejected: str, lineage: Mapping[str, Any]) -> Preference:
    pair = Preference(
        id=task.id,
        prompt=task.prompt,
        chosen=(_turn_of(chosen),),
        rejected=(_turn_of(rejected),),
        tools=task.tools,
        source=task.source,
    )
    return with_lineage(pair, lineage)


def _conversation(task: Task, answer: str, lineage: Mapping[str, Any]) -> Conversation:
    prompt = tuple(replace(turn, train=False) if turn.role == "assistant" else turn for turn in task.prompt)
    messages = (*prompt, _turn_of(answer))
    return with_lineage(Conversation(id=task.id, messages=messages, tools=task.tools, source=task.source), lineage)


def _turn_of(text: str) -> Message:
    """The assistant's turn; a call that is not exact JSON stays text."""
    try:
        return parse_assistant(text)
    except ValueError:
        return Message(role="assistant", content=text)


# ------------------------------------------------------------------------------------------------------- verifier cases

Truth = Callable[[Task, str], bool | None]
"""Whether an answer is right, from elsewhere than the verifier: people, another judge; None where it does not know."""


def world_truth(world: World) -> Truth:
    """Right is the world's own reference, wrong its mutations and cheats; of other answers it knows nothing."""

    def judge(task: Task, text: str) -> bool | None:
        if text.strip() == world.reference_text(task).strip():
            return True
        wrong = (*world.mutations(task), *world.cheats(task))
        return False if text.strip() in {one.strip() for one in wrong} else None

    return judge


def verifier_truth(judge: Verifier) -> Truth:
    """What another verifier says; where it cannot judge, it does not know."""

    def ask(task: Task, text: str) -> bool | None:
        verdict = judge(task, Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop"))
        return verdict.passed if verdict.is_graded else None

    return ask


def verifier_cases(result: SuiteResult, suite: Suite, truth: Truth) -> list[tuple[AuditCase, dict[str, Any]]]:
    """The answers that the verifier judged otherwise than ``truth``, each with its lineage.

    Wrong answers that passed and right ones that failed: what ``strop audit --cases`` examines the mended verifier
    with. They train no model, so held-out items may give them. The suite's verifier may be another one meanwhile.
    Raises: MismatchError if the suite does not ask the items of the result.
    """
    tasks, digest = {task.id: task for task in suite.tasks}, result.digest
    found = []
    for item in result.items:
        if item.id not in tasks or (item.prompt and _said(item.prompt) != _said(tasks[item.id].prompt)):
            raise MismatchError(
                f"the suite {suite.name} does not ask item {item.id}",
                why="it is not the one that the results are of",
                do="name it with the same source, dial and seed as `strop eval` did",
            )
        for sample in item.samples:
            is_whole = sample.is_graded and sample.finish_reason == "stop"  # what was cut off fails for that alone
            right = truth(tasks[item.id], sample.text) if is_whole else None
            if right is None or right == sample.passed:
                continue
            lineage = {
                "suite": result.name,
                "suite_digest": result.digests["suite"],
                "item": item.id,
                "model": result.digests["model"],
                "result": digest,
                "verifier": result.digests["verifier"],
                "slices": dict(item.slices),
                "kind": "false reject" if right else "false accept",
            }
            found.append((AuditCase(task=tasks[item.id], text=sample.text, should_pass=right), lineage))
    return found


def _said(turns: Iterable[Message]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


# -------------------------------------------------------------------------------------------------------------- on disk


def write_rows(path: Path | str, rows: Iterable[Row]) -> int:
    """Write one JSON object a row, whole or not at all, in a shape that ``strop.data`` reads; how many there were.

    Raises: OutputError; DataError without a row.
    """
    return _write(path, [_row(row) for row in rows])


def write_cases(path: Path | str, cases: Iterable[tuple[AuditCase, Mapping[str, Any]]]) -> int:
    """Write verifier cases with their lineage; how many there were. Raises: OutputError; DataError without a case."""
    return _write(
        path,
        [
            {**_row(case.task), "text": case.text, "should_pass": case.should_pass, "is_cheat": case.is_cheat}
            | {COLUMN: dict(lineage)}
            for case, lineage in cases
        ],
    )


def read_cases(path: Path | str) -> list[AuditCase]:
    """What ``write_cases`` wrote. Raises: DataError."""
    cases = []
    for task, row in zip(read_tasks(path), read_rows(path), strict=True):
        text, right = row.values.get("text"), row.values.get("should_pass")
        if not isinstance(text, str) or not isinstance(right, bool):
            raise DataError("the row is no case", where=row.where, why="a case has `text` and `should_pass`")
        cases.append(AuditCase(task=task, text=text, should_pass=right, is_cheat=bool(row.values.get("is_cheat"))))
    return cases


def _write(path: Path | str, rows: Sequence[Mapping[str, Any]]) -> int:
    if not rows:
        raise DataError("nothing failed that could become data", do="choose another slice, metric or kind of data")
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def _row(row: Row) -> dict[str, Any]:
    kept: dict[str, Any] = {"id": row.id}
    if row.tools:
        kept["tools"] = [dict(tool) for tool in row.tools]
    if isinstance(row, Conversation):
        kept["messages"] = list(map(_turn, row.messages))
    elif isinstance(row, Preference):
        turns = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
        kept |= {key: list(map(_turn, messages)) for key, messages in turns.items()}
    else:
        kept |= {"messages": list(map(_turn, row.prompt)), "slices": dict(row.slices), "reference": dict(row.reference)}
        kept |= {"cluster": row.cluster} if row.cluster else {}
    lineage = lineage_of(row)
    return kept if lineage is None else {**kept, COLUMN: lineage}


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    turn |= {"reasoning_content": message.reasoning} if message.reasoning else {}
    turn |= {"name": message.name} if message.name else {}
    return turn if message.train is None else {**turn, "train": message.train}
