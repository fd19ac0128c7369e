"""What people said as data: pairs that our reader reads, with who said so; anchors for judges."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labelling import judge_as, results
from strop.data import read_preferences
from strop.errors import RecipeError
from strop.evals.people import Plan, Session, analyse, anchors, write_preferences
from strop.evals.people.seats import Place
from strop.types import Message, ToolCall

CALL = '<tool_call>{"name": "get_spend", "arguments": {"month": 3}}</tool_call>'
TOOL = {"type": "function", "function": {"name": "get_spend", "parameters": {"type": "object", "properties": {}}}}
PROMPT = (
    Message(role="system", content="Stay within the policy."),
    Message(role="user", content="Spend?"),
    Message(role="assistant", tool_calls=(ToolCall(name="get_spend", arguments={"month": 2}),)),
    Message(role="tool", name="get_spend", content='{"total": 3}'),
    Message(role="user", content="And in March?"),
)


def make(folder: Path, new: list[str], old: list[str]) -> Session:
    candidate, baseline = results("c" * 64, new, prompt=PROMPT), results("b" * 64, old, prompt=PROMPT)
    items = tuple(replace(item, tools=("get_spend",)) for item in candidate.items)
    candidate = replace(candidate, items=items, surroundings={"tools": {"get_spend": TOOL}})
    return Session.create(folder, candidate, baseline, plan=Plan(num_pairs=len(new), repeat=0, attention=0))


def votes(session: Session, *said: str) -> None:
    """``said[v]`` has annotator v's verdict on each item, by its first letter."""
    words = {"c": "candidate", "b": "baseline", "t": "tie", "x": "cannot"}
    for voter, row in enumerate(said):

        def decide(place: Place, row: str = row) -> str:
            return words[row[int(place.pair.item[1:])]]

        judge_as(session, f"voter {voter}", decide)


@pytest.mark.capability("PR-01")
def test_pairs_are_written_in_our_shape_with_provenance_and_read_back(tmp_path: Path) -> None:
    session = make(tmp_path / "s", [CALL, "new 1", "new 2", "new 3"], ["old 0", "old 1", "old 2", "old 3"])
    votes(session, "cbtc", "cbcb", "cbbb")
    done = write_preferences(tmp_path / "pairs.jsonl", session, analyse(session), min_share=0.75)
    assert (done.num_written, dict(done.dropped)) == (2, {"tie": 1, "disagreement": 1})
    first, second = sorted(read_preferences(tmp_path / "pairs.jsonl"), key=lambda pair: pair.id)
    assert first.prompt == second.prompt == PROMPT
    assert first.tools == (TOOL,)
    assert first.chosen == (
        Message(role="assistant", tool_calls=(ToolCall(name="get_spend", arguments={"month": 3}),)),
    )
    assert [turn.content for turn in (*first.rejected, *second.chosen, *second.rejected)] == ["old 0", "old 1", "new 1"]
    rows = {row["provenance"]["item"]: row for row in map(json.loads, (tmp_path / "pairs.jsonl").open())}
    told = rows["i000"]["provenance"]
    assert told["session"] == session.digest
    assert told["chosen_model"] == "c" * 64
    assert told["annotators"] == {"voter 0": "candidate", "voter 1": "candidate", "voter 2": "candidate"}
    assert told["votes"] == {"candidate": 3, "tie": 0, "baseline": 0}
    assert rows["i001"]["provenance"]["chosen_model"] == "b" * 64


def test_what_must_not_be_trained_on_is_left_out_and_counted(tmp_path: Path) -> None:
    torn = '<tool_call>{"name": "get_spend", "argu'
    session = make(tmp_path / "s", ["a", torn, "same", "d", "e"], ["A", "B", "same", "D", "E"])
    votes(session, "cc-xc")
    report = analyse(session)
    done = write_preferences(tmp_path / "p.jsonl", session, report)
    assert (done.num_written, dict(done.dropped)) == (2, {"unparsable": 1, "identical": 1, "unjudged": 1})
    few = write_preferences(tmp_path / "p.jsonl", session, report, num_annotators=2)
    assert (few.num_written, few.dropped["unjudged"]) == (0, 4)
    cut = results("c" * 64, ["a"], finish_reason="length"), results("b" * 64, ["b"])
    other = Session.create(tmp_path / "cut", *cut, plan=Plan(num_pairs=1, repeat=0, attention=0))
    votes(other, "c")
    assert dict(write_preferences(tmp_path / "p.jsonl", other, analyse(other)).dropped) == {"cut": 1}
    with pytest.raises(RecipeError, match="no preference"):
        write_preferences(tmp_path / "p.jsonl", session, report, min_share=0.5)


def test_reasoning_is_a_field_of_its_own_and_reasoning_without_its_beginning_is_left_out(tmp_path: Path) -> None:
    thought = "<think>March is month 3.</think>"
    session = make(
        tmp_path / "s", [thought + CALL, f"{thought}765.50 EUR", "March.</think>765.50 EUR"], ["A", "B", "C"]
    )
    votes(session, "ccc")
    done = write_preferences(tmp_path / "p.jsonl", session, analyse(session))
    assert (done.num_written, dict(done.dropped)) == (2, {"unparsable": 1})
    first, second = sorted(read_preferences(tmp_path / "p.jsonl"), key=lambda pair: pair.id)
    call = ToolCall(name="get_spend", arguments={"month": 3})
    assert first.chosen == (Message(role="assistant", reasoning="March is month 3.", tool_calls=(call,)),)
    assert second.chosen == (Message(role="assistant", reasoning="March is month 3.", content="765.50 EUR"),)


def test_anchors_are_the_decided_pairs_with_the_better_answer_passing(tmp_path: Path) -> None:
    session = make(tmp_path, ["new 0", "new 1", "new 2"], ["old 0", "old 1", "old 2"])
    votes(session, "cbc", "cbb")
    found = anchors(session, analyse(session))
    assert {(one.task.id, one.text, one.label) for one in found} == {
        ("i000", "new 0", True),
        ("i000", "old 0", False),
        ("i001", "new 1", False),
        ("i001", "old 1", True),
    }
    assert found[0].task.prompt == PROMPT
