"""The field's row shapes become conversations, preferences, documents and tasks.

A shape is recognised by the columns of the first row and then required of every row; what fits no shape, or several, is
an error that lists the columns and shows the mapping to write, never a guess.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from strop.data.lineage import is_written
from strop.data.messages import as_turns, read_messages, read_sharegpt, read_tools
from strop.data.readers import Row
from strop.errors import DataError
from strop.types import Conversation, Document, Message, Preference, Task

Kind = Literal["conversations", "preferences", "documents", "tasks"]
Read = Conversation | Preference | Document | Task
Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One way to write a row."""

    name: str
    kind: Kind
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    read: Callable[[Values, str], Read]
    """(columns, place) → the row, its ``id`` empty where the columns have none. Raises DataError."""

    @property
    def columns(self) -> frozenset[str]:
        """Every column that the shape understands."""
        return frozenset((*self.required, *self.optional, "id"))


# -------------------------------------------------------------------------------------------------------- conversations


def _conversation(values: Values, where: str, messages: tuple[Message, ...]) -> Conversation:
    if not any(message.role == "assistant" for message in messages):
        raise DataError(
            "the row has no assistant turn",
            where=where,
            why=f"its roles are {', '.join(message.role for message in messages)}; there is nothing to learn",
            do="add the answer, or remove the row",
        )
    tools = read_tools(values.get("tools"), f"{where}, tools")
    return Conversation(id=_id(values), messages=(*_system(values, where), *messages), tools=tools, source=where)


def _id(values: Values) -> str:
    return "" if values.get("id") is None else str(values["id"])


def _system(values: Values, where: str) -> tuple[Message, ...]:
    text = values.get("system")
    return (Message(role="system", content=_text(values, "system", where)),) if text else ()


def _text(values: Values, column: str, where: str) -> str:
    value = values.get(column)
    if not isinstance(value, str):
        raise DataError(
            f"`{column}` is no text",
            where=where,
            why=f"it is {value!r:.60}",
            do="write a string, or map another column",
        )
    return value


def _from_messages(values: Values, where: str) -> Conversation:
    return _conversation(values, where, read_messages(values["messages"], f"{where}, messages"))


def _from_sharegpt(values: Values, where: str) -> Conversation:
    return _conversation(values, where, read_sharegpt(values["conversations"], f"{where}, conversations"))


def _from_completion(values: Values, where: str) -> Conversation:
    prompt = as_turns(values["prompt"], "user", f"{where}, prompt")
    return _conversation(values, where, (*_masked(prompt), *_answer(values, "completion", where)))


def _masked(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    """The prompt's own assistant turns are context: only the completion is supervised."""
    return tuple(
        Message(**{**vars(m), "train": False}) if m.role == "assistant" and m.train is None else m for m in prompt
    )


def _answer(values: Values, column: str, where: str) -> tuple[Message, ...]:
    turns = as_turns(values[column], "assistant", f"{where}, {column}")
    if turns[0].role != "assistant":
        raise DataError(
            f"`{column}` begins with a {turns[0].role} turn",
            where=where,
            why="it goes on where the prompt ends, with the assistant",
            do="move the first turns into `prompt`",
        )
    return turns


def _from_instruction(values: Values, where: str) -> Conversation:
    return _conversation(values, where, (_instruction(values, where), *_answer(values, "output", where)))


def _instruction(values: Values, where: str) -> Message:
    parts = [_text(values, "instruction", where)]
    if values.get("input"):
        parts.append(_text(values, "input", where))
    return Message(role="user", content="\n\n".join(parts))


def _from_question(values: Values, where: str) -> Conversation:
    question = Message(role="user", content=_text(values, "question", where))
    answer = Message(role="assistant", content=_text(values, "answer", where))
    return _conversation(values, where, (question, answer))


# ---------------------------------------------------------------------------------------------------------- preferences


def _preference(values: Values, where: str) -> Preference:
    chosen = as_turns(values["chosen"], "assistant", f"{where}, chosen")
    rejected = as_turns(values["rejected"], "assistant", f"{where}, rejected")
    stated = as_turns(values["prompt"], "user", f"{where}, prompt") if values.get("prompt") is not None else ()
    if chosen[0].role == "assistant" and rejected[0].role == "assistant":
        if not stated:
            raise DataError(
                "the pair has no prompt",
                where=where,
                why="`chosen` and `rejected` begin with the assistant",
                do="add a column `prompt`, or write both as whole conversations",
            )
        prompt = stated
    else:
        size = _common_prompt(chosen, rejected, where)
        prompt, chosen, rejected = chosen[:size], chosen[size:], rejected[size:]
        if stated and tuple(_said(prompt)[-len(stated) :]) != tuple(_said(stated)):
            raise DataError(
                "`prompt` is not what the two conversations share",
                where=where,
                why=f"it ends {stated[-1].content[-40:]!r}, they share {prompt[-1].content[-40:]!r}",
                do="leave `prompt` out, or give `chosen` and `rejected` as the answers alone",
            )
    tools = read_tools(values.get("tools"), f"{where}, tools")
    prompt = (*_system(values, where), *prompt)
    return Preference(id=_id(values), prompt=prompt, chosen=chosen, rejected=rejected, tools=tools, source=where)


def _said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def _common_prompt(chosen: tuple[Message, ...], rejected: tuple[Message, ...], where: str) -> int:
    """How many leading turns two whole conversations share, up to an assistant turn of both."""
    size = 0
    while size < min(len(chosen), len(rejected)) - 1 and chosen[size] == rejected[size]:
        size += 1
    while size and not chosen[size].role == rejected[size].role == "assistant":
        size -= 1
    if not any(message.role == "user" for message in chosen[:size]):
        raise DataError(
            "`chosen` and `rejected` share no prompt",
            where=where,
            why="as whole conversations they begin with the same turns and part at an assistant turn",
            do="mend the row, or give `prompt` and the two answers apart",
        )
    return size


# -------------------------------------------------------------------------------------------------- documents and tasks


def _document(values: Values, where: str) -> Document:
    return Document(id=_id(values), text=_text(values, "text", where), source=where)


def _task(column: str) -> Callable[[Values, str], Task]:
    def read(values: Values, where: str) -> Task:
        prompt = as_turns(values[column], "user", f"{where}, {column}")
        if is_written(values):  # by strop itself: no column of the reference can be taken for another one
            rest: dict[str, Any] = dict(values["reference"])
        else:
            rest = {
                key: value for key, value in values.items() if key not in (column, "id", "system", "tools", "slices")
            }
        answer: list[Message] = []
        while prompt and prompt[-1].role == "assistant":
            answer.insert(0, prompt[-1])
            prompt = prompt[:-1]
        if not any(message.role == "user" for message in prompt):
            raise DataError(
                "the task asks nothing",
                where=where,
                why=f"`{column}` has no user turn",
                do="add one, or remove the row",
            )
        if answer:
            rest.setdefault("answer", answer[-1].content)
        tools = read_tools(values.get("tools"), f"{where}, tools")
        prompt = (*_system(values, where), *prompt)
        slices = _slices(values.get("slices"), where)
        cluster = str(values.get("cluster") or "") if is_written(values) else ""
        return Task(
            id=_id(values), prompt=prompt, tools=tools, reference=rest, slices=slices, cluster=cluster, source=where
        )

    return read


def _slices(value: Any, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(
            "`slices` is no object", where=where, why=f"it is {value!r:.60}", do='write {"kind": "refusal", ...}'
        )
    return {str(key): str(item) for key, item in value.items()}


SHAPES = (
    Shape(name="messages", kind="conversations", required=("messages",), optional=("tools",), read=_from_messages),
    Shape(
        name="ShareGPT",
        kind="conversations",
        required=("conversations",),
        optional=("system", "tools"),
        read=_from_sharegpt,
    ),
    Shape(
        name="prompt and completion",
        kind="conversations",
        required=("prompt", "completion"),
        optional=("system", "tools"),
        read=_from_completion,
    ),
    Shape(
        name="instruction and output",
        kind="conversations",
        required=("instruction", "output"),
        optional=("input", "system"),
        read=_from_instruction,
    ),
    Shape(
        name="question and answer",
        kind="conversations",
        required=("question", "answer"),
        optional=("system",),
        read=_from_question,
    ),
    Shape(
        name="chosen and rejected",
        kind="preferences",
        required=("chosen", "rejected"),
        optional=("prompt", "system", "tools"),
        read=_preference,
    ),
    Shape(name="text", kind="documents", required=("text",), read=_document),
    *(
        Shape(
            name=f"{column} with references",
            kind="tasks",
            required=(column,),
            optional=("system", "tools", "slices"),
            read=_task(column),
        )
        for column in ("messages", "prompt", "question")
    ),
)


# ---------------------------------------------------------------------------------------------------------- recognising


def rename(row: Row, columns: Mapping[str, str] | None) -> Row:
    """The row under strop's names: ``columns`` maps them to the file's own. Raises: DataError naming the nearest
    column."""
    if not columns:
        return row
    for wanted, found in columns.items():
        if found not in row.values:
            near = difflib.get_close_matches(found, list(row.values), n=1)
            raise DataError(
                f"there is no column `{found}` for `{wanted}`",
                where=row.where,
                why=f"the row has {_list(row.values)}",
                do=f'did you mean columns = {{ {wanted} = "{near[0]}" }}?' if near else "map a column that exists",
            )
    rest = {key: value for key, value in row.values.items() if key not in columns.values()}
    return Row({**rest, **{wanted: row.values[found] for wanted, found in columns.items()}}, row.where)


def recognise(row: Row, kind: Kind, columns: Mapping[str, str] | None = None) -> Shape:
    """The one shape of ``kind`` that a renamed row has; with ``columns``, one that knows every mapped name.

    Raises: DataError if no shape fits (the columns, the nearest mapping) or several do (which mapping decides).
    """
    mapped = frozenset(columns or ())
    shapes = [shape for shape in SHAPES if shape.kind == kind]
    known = frozenset().union(*(shape.columns for shape in shapes))
    if kind != "tasks" and mapped - known:
        raise DataError(
            f"columns maps `{min(mapped - known)}`, which rows of {kind} do not have",
            where=row.where,
            why=f"they have {_list(sorted(known))}",
            do=_mapping(shapes, row.values) or "rename the key",
        )
    present = {key for key, value in row.values.items() if value is not None}
    fitting = [shape for shape in shapes if present.issuperset(shape.required) and mapped & known <= shape.columns]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"the columns fit {len(fitting)} shapes: {'; '.join(shape.name for shape in fitting)}",
            where=row.where,
            why=f"the row has {_list(row.values)}",
            do=f"say which: {' or '.join(_toml({c: c for c in shape.required}) for shape in fitting)}",
        )
    raise DataError(
        f"the columns fit no shape of {kind}",
        where=row.where,
        why=f"the row has {_list(row.values)}; wanted {' | '.join(' + '.join(shape.required) for shape in shapes)}",
        do=_mapping(shapes, row.values)
        or f"name the columns, for example {_toml(dict.fromkeys(shapes[0].required, 'your_column'))}",
    )


_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("query", "problem", "question", "input", "instruction", "user"),
    "completion": ("response", "answer", "output", "solution", "target", "assistant"),
    "output": ("response", "completion", "answer"),
    "question": ("problem", "query"),
    "answer": ("solution", "response", "output"),
    "messages": ("conversation", "dialogue", "dialog", "turns", "chat"),
    "chosen": ("preferred", "winner", "better"),
    "rejected": ("dispreferred", "loser", "worse"),
    "text": ("content", "document", "body"),
}


def _mapping(shapes: list[Shape], found: Collection[str]) -> str:
    """A mapping that would make the columns fit, or nothing."""
    lower = {name.lower(): name for name in found}
    for shape in shapes:
        guess: dict[str, str] = {}
        for column in shape.required:
            near = [n for n in (column, *_SYNONYMS.get(column, ())) if n in lower and lower[n] not in guess.values()]
            near = near or difflib.get_close_matches(column, list(lower), n=1)
            if near:
                guess[column] = lower[near[0]]
        if len(guess) == len(shape.required) and len(set(guess.values())) == len(guess):
            return f"did you mean {_toml(guess)}?"
    return ""


def _toml(columns: Mapping[str, str]) -> str:
    return "columns = { " + ", ".join(f'{key} = "{value}"' for key, value in columns.items()) + " }"


def _list(names: Collection[str]) -> str:
    return ", ".join(names) or "no columns"


def require(row: Row, shape: Shape) -> None:
    """Refuse a later row that lacks what the first had. Raises: DataError."""
    missing = [column for column in shape.required if row.values.get(column) is None]
    if missing:
        raise DataError(
            f"the row has no `{missing[0]}`",
            where=row.where,
            why=f"the first row has the shape `{shape.name}`; this one has {_list(row.values)}",
            do="mend or remove the row; rows of different shapes go into different files",
        )
