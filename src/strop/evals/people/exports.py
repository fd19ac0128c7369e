"""What people said, as data: pairs to train on, and anchors to hold a judge to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.chat.parse import parse_assistant
from strop.errors import RecipeError
from strop.evals.people.report import PeopleReport
from strop.evals.people.sample_set import Pair
from strop.evals.people.session import Session
from strop.evals.people.votes import MAX_MISSED, Tally, attention, ballots
from strop.files import write_text
from strop.types import Message, Task, ToolCall

if TYPE_CHECKING:
    from strop.verifiers.anchors import Anchor


@dataclass(frozen=True, kw_only=True)
class Exported:
    """How many pairs were written, and why the others were not."""

    num_written: int
    dropped: Mapping[str, int]
    """``tie``, ``disagreement``, ``identical``, ``unjudged``, ``cut`` (an answer did not end by itself),
    ``unparsable`` (a tool call that is none, reasoning without its beginning or end)."""


def write_preferences(
    path: Path | str,
    session: Session,
    report: PeopleReport,
    *,
    min_share: float = 0.6,
    num_annotators: int = 1,
) -> Exported:
    """Write ``{"prompt": …, "chosen": …, "rejected": …}`` rows, which ``strop.data.read_preferences`` reads.

    A pair is written where the preferred answer has at least ``min_share`` of its votes (a tie is half a vote for each)
    from at least ``num_annotators`` people; no file where no pair is left. ``provenance`` names session, item, models,
    votes and voters.
    Raises: RecipeError for a share of ½ or less, OutputError.
    """
    _require_preference(min_share)
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    voters = _voters(session, report.max_missed)
    for pair in session.pairs:
        if pair.role not in ("pair", "identical"):
            continue
        found = report.tallies.get(pair.number)
        why = _why_dropped(pair, found, min_share, num_annotators)
        row = None if why or found is None else _row(session, report, pair, found, voters[pair.number])
        if row is None:
            dropped[why or "unparsable"] += 1
        else:
            rows.append(row)
    if rows:
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return Exported(num_written=len(rows), dropped=dict(dropped))


def anchors(
    session: Session, report: PeopleReport, *, min_share: float = 1.0, num_annotators: int = 1
) -> tuple[Anchor, ...]:
    """Both answers of every decided pair: the preferred one as passing, the other as not.

    The label says "the better of these two", not "good in itself": fit to hold a judge to people's order. Only pairs on
    whose better side at least ``min_share`` of the votes of at least ``num_annotators`` people lie.
    Raises: RecipeError for a share of ½ or less.
    """
    _require_preference(min_share)
    from strop.verifiers.anchors import Anchor  # brings numpy, and recipes are read without it

    found = []
    for pair in session.pairs:
        votes = report.tallies.get(pair.number)
        if votes is None or votes.num_votes < num_annotators:
            continue
        if max(votes.share, 1 - votes.share) < min_share or votes.share == 0.5:
            continue
        task = Task(
            id=pair.item,
            prompt=tuple(_message(turn) for turn in pair.prompt),
            tools=pair.tools,
            slices=pair.slices,
            source=f"session:{report.session[:12]}",
        )
        found += [
            Anchor(task=task, text=pair.candidate, label=votes.share > 0.5),
            Anchor(task=task, text=pair.baseline, label=votes.share < 0.5),
        ]
    return tuple(found)


def _require_preference(min_share: float) -> None:
    if not 0.5 < min_share <= 1:
        raise RecipeError(f"a share of {min_share} is no preference", do="ask for more than 0.5, up to 1")


def _why_dropped(pair: Pair, found: Tally | None, min_share: float, num_annotators: int) -> str:
    if pair.role == "identical":
        return "identical"
    if found is None or found.num_votes < num_annotators:
        return "unjudged"
    if found.share == 0.5:
        return "tie"
    if max(found.share, 1 - found.share) < min_share:
        return "disagreement"
    return "cut" if pair.is_cut else ""


def _row(
    session: Session, report: PeopleReport, pair: Pair, found: Tally, voters: Mapping[str, str]
) -> dict[str, Any] | None:
    """None where a tool call or reasoning cannot be read: as plain text it would train other tokens."""
    sides = [(pair.candidate, session.candidate.model), (pair.baseline, session.baseline.model)]
    (chosen, better), (rejected, worse) = sides if found.share > 0.5 else sides[::-1]
    try:
        answers = {"chosen": _turns(chosen), "rejected": _turns(rejected)}
    except ValueError:
        return None
    return {
        "id": f"{report.session[:12]}/{pair.item}",
        "prompt": [_plain(turn) for turn in pair.prompt],
        **answers,
        **({"tools": list(pair.tools)} if pair.tools else {}),
        "provenance": {
            "session": report.session,
            "suite": session.suite,
            "item": pair.item,
            "rubric": report.rubric,
            "chosen_model": better,
            "rejected_model": worse,
            "annotators": dict(voters),
            "votes": {"candidate": found.candidate, "tie": found.ties, "baseline": found.baseline},
            "share": max(found.share, 1 - found.share),
        },
    }


def _turns(text: str) -> list[dict[str, Any]]:
    """The answer as one assistant turn, its reasoning and its tool calls read. Raises: ValueError."""
    message = parse_assistant(text)
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    turn = {"role": "assistant", "content": message.content, "reasoning": message.reasoning}
    return [_plain({**turn, "tool_calls": calls, "name": ""})]


def _message(turn: Mapping[str, Any]) -> Message:
    return Message(**{**turn, "tool_calls": tuple(ToolCall(**call) for call in turn["tool_calls"])})


def _plain(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as the field writes it."""
    row: dict[str, Any] = {"role": turn["role"], "content": turn["content"]}
    if turn["tool_calls"]:
        row["tool_calls"] = [{"type": "function", "function": dict(call)} for call in turn["tool_calls"]]
    if turn.get("reasoning"):
        row["reasoning_content"] = turn["reasoning"]
    if turn["name"]:
        row["name"] = turn["name"]
    return row


def _voters(session: Session, max_missed: float = MAX_MISSED) -> dict[int, dict[str, str]]:
    """Pair → annotator → vote, of those that count."""
    checked = attention(session)
    found: dict[int, dict[str, str]] = {pair.number: {} for pair in session.pairs}
    for one in ballots(session):
        if not checked[one.annotator].is_excluded(max_missed):
            found[one.pair.number][one.annotator] = one.vote
    return found
