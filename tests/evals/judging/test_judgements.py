"""What a judge failed at, what it was never asked, and how judgements are kept and bound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from judged_pairs import (
    ANCHORS,
    BAD,
    GOOD,
    Mind,
    fair,
    judge_of,
    judged,
    outcomes,
    results,
)
from scripted_judge import ScriptedSampler
from strop.errors import DataError, MismatchError, RemoteError
from strop.evals.gating.evidence_files import read_evidence
from strop.evals.judging import (
    JudgedItem,
    JudgeEvidence,
    JudgeResult,
    judge_suite,
    pair_anchors,
    read_anchors,
    write_judge_evidence,
)
from strop.evals.judging.kept import Kept
from strop.types import Completion, Message, SamplingParams, Task
from strop.verifiers.anchors import Anchor, measure_anchors

# ------------------------------------------------------------------------------------------- what cannot be judged


@dataclass
class Failing(ScriptedSampler):
    """A server that fails at every prompt with the word."""

    word: str = "question 3"

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        found = super().sample(prompts, params, seeds=seeds)
        texts = ["".join(map(chr, prompt)) for prompt in prompts]
        failures = {i: "503" for i, text in enumerate(texts) if self.word and self.word in text}
        if failures:
            kept = [None if i in failures else one for i, one in enumerate(found)]
            raise RemoteError("the server failed", completions=kept, failures=failures)
        return found


def test_what_a_server_fails_at_is_ungraded_and_asked_again_and_what_is_kept_is_not(tmp_path: Path) -> None:
    judge = judge_of(fair)
    server = Failing(answer=Mind(fair))
    judge = replace(judge, judge=replace(judge.judge, sampler=server))
    mine, other = results([GOOD] * 20, model="new"), results([BAD] * 20, model="old")
    result = judge_suite(mine, other, judge, anchors=ANCHORS, folder=tmp_path)
    rate = result.win_rate()
    assert (rate.wins, rate.ungraded, rate.value) == (19, 1, 1.0)
    assert (result.items[3].state, result.items[3].outcome) == ("infrastructure", None)
    assert outcomes(result) == ["PASS"]  # 1 of 20 is 5 %, which is allowed
    server.asked.clear()
    server.word = ""
    again = judge_suite(mine, other, judge, anchors=ANCHORS, folder=tmp_path)
    assert again.win_rate().wins == 20
    assert len([text for text in server.asked if "question" in text.partition("<<<FIRST")[0]]) == 2


def test_a_server_that_is_gone_decides_nothing() -> None:
    judge = judge_of(fair)
    judge = replace(judge, judge=replace(judge.judge, sampler=Failing(answer=Mind(fair), word="TASK")))
    mine, other = results([GOOD] * 40, model="new"), results([BAD] * 40, model="old")
    result = judge_suite(mine, other, judge, anchors=ANCHORS)
    assert (result.win_rate().value, result.win_rate().ungraded) == (None, 40)
    assert outcomes(result) == ["INSUFFICIENT"]
    problems = JudgeEvidence(result=result).problems
    assert "40 of 40 items could not be judged" in problems
    assert "agrees with people on 0% [0%, 9%] of 40 anchors (kappa undefined, 40 without a verdict)" in problems[0]


def test_cut_and_empty_answers_lose_unasked_and_two_of_them_decide_nothing() -> None:
    mine = results([GOOD, "", GOOD, ""], model="new")
    other = results([BAD, GOOD, " ", " "], model="old")
    cut = replace(mine.items[0], samples=(replace(mine.items[0].samples[0], finish_reason="length"),))
    mine = replace(mine, items=(cut, *mine.items[1:]))
    result = judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)
    assert [item.outcome for item in result.items] == ["loss", "loss", "win", None]
    assert result.items[0].reason == "the candidate's answer is cut off or empty"
    assert result.items[3].state == "unasked"
    assert result.position_bias is None  # nothing was asked


# ----------------------------------------------------------------------------------------------------- kept and bound


def test_a_judgement_that_was_killed_goes_on_and_comes_out_the_same(tmp_path: Path) -> None:
    mine, other = results([GOOD] * 15 + [BAD] * 15, model="new"), results([BAD] * 30, model="old")

    @dataclass
    class Dying(ScriptedSampler):
        calls_left: int = 2

        def sample(self, *arguments: Any, **more: Any) -> list[Completion]:
            if self.calls_left == 0:
                raise KeyboardInterrupt
            self.calls_left -= 1
            return super().sample(*arguments, **more)

    judge = judge_of(fair)
    dying = replace(judge, judge=replace(judge.judge, sampler=Dying(answer=Mind(fair))))
    with pytest.raises(KeyboardInterrupt):
        judge_suite(mine, other, dying, anchors=ANCHORS, folder=tmp_path, num_items=8)
    (partial,) = tmp_path.iterdir()
    partial.write_bytes(partial.read_bytes() + b'{"id": "i01')  # torn
    sampler = ScriptedSampler(answer=Mind(fair))
    again = replace(judge, judge=replace(judge.judge, sampler=sampler))
    result = judge_suite(mine, other, again, anchors=ANCHORS, folder=tmp_path, num_items=8)
    asked = [text for text in sampler.asked if "question" in text]
    assert len({text.partition("<<<FIRST")[0].partition("<<<TASK")[2] for text in asked}) <= 14
    whole = judge_suite(mine, other, judge, anchors=ANCHORS)
    assert result.digest == whole.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judgement_finance.json", "judgements_finance.jsonl"]


def test_a_judgement_is_read_back_whole_and_refused_when_it_was_edited(tmp_path: Path) -> None:
    result = judged([GOOD] * 10 + [BAD] * 30, [BAD] * 10 + [GOOD] * 30, fair)
    result.save(tmp_path)
    assert JudgeResult.load(tmp_path, "finance") == result
    rows = tmp_path / "judgements_finance.jsonl"
    rows.write_text(rows.read_text().replace('"outcome": "loss"', '"outcome": "win"'))
    with pytest.raises(MismatchError, match="cannot use the judgement"):
        JudgeResult.load(tmp_path, "finance")
    result.save(tmp_path)
    path = tmp_path / "judgement_finance.json"
    content = json.loads(path.read_text())
    content["standing"]["limits"]["min_agreement"] = 0.1
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="its content does not match its digest"):
        JudgeResult.load(tmp_path, "finance")


@pytest.mark.parametrize(
    ("key", "value"), [("criterion", "it is polite"), ("model", "another"), ("numbers", {"win_rate": 1.0})]
)
def test_words_and_numbers_of_a_judgement_that_were_edited_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    judged([GOOD] * 10, [BAD] * 10, fair).save(tmp_path)
    path = tmp_path / "judgement_finance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(MismatchError, match="its content does not match its digest"):
        JudgeResult.load(tmp_path, "finance")


def test_clusters_and_lengths_are_part_of_what_a_judgement_is() -> None:
    result = judged([GOOD] * 4, [BAD] * 4, fair)
    changes: list[dict[str, Any]] = [{"cluster": "one"}, {"num_chars": 7}, {"slices": {}}]
    for changed in changes:
        other = replace(result, items=tuple(replace(item, **changed) for item in result.items))
        assert other.digest != result.digest


def test_a_line_that_was_torn_within_a_character_does_not_stop_what_goes_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "s", "key")
    kept.append([JudgedItem(id="größe 1", outcome="win")])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + '{"id": "grö'.encode()[:-1])
    for number in (2, 3):
        kept.append([JudgedItem(id=f"größe {number}", outcome="win")])
    assert [item.id for item in kept.read()] == ["größe 1", "größe 2", "größe 3"]


def test_evidence_is_about_one_candidate(tmp_path: Path) -> None:
    mine, other = results([GOOD] * 40, model="new"), results([BAD] * 40, model="old")
    result = judge_suite(mine, other, judge_of(fair), anchors=ANCHORS)
    write_judge_evidence(tmp_path, [result])
    found = read_evidence(tmp_path, {"finance": mine})
    assert found.findings() == JudgeEvidence(result=result).findings()
    with pytest.raises(MismatchError, match="about another candidate"):
        read_evidence(tmp_path, {"finance": other})


def test_results_of_other_items_or_tasks_are_refused() -> None:
    with pytest.raises(MismatchError, match="on one side only"):
        judged([GOOD] * 3, [GOOD] * 2, fair)
    other_task = Task(id="i000", prompt=(Message(role="user", content="something else"),))
    with pytest.raises(MismatchError, match="is not what was asked"):
        judged([GOOD], [BAD], fair, tasks=[other_task])


def test_peoples_order_of_two_answers_becomes_one_anchor_of_a_pair_with_both_labels_in_turn() -> None:
    tasks = [Task(id=f"t{n}", prompt=(Message(role="user", content="?"),)) for n in range(4)]
    singles = [
        Anchor(task=task, text=text, label=label) for task in tasks for text, label in ((GOOD, True), (BAD, False))
    ]
    paired = pair_anchors(singles)
    assert [(one.text, one.task.reference["answer"], one.label) for one in paired] == [
        (GOOD, BAD, True),
        (BAD, GOOD, False),
    ] * 2
    assert measure_anchors(judge_of(fair), paired).agreement == 1.0
    assert pair_anchors(paired) == paired


def test_answers_to_one_prompt_are_a_pair_by_hand_and_to_two_prompts_of_one_id_they_are_none(tmp_path: Path) -> None:
    rows = [{"prompt": "?", "text": GOOD, "label": True}, {"prompt": "?", "text": BAD, "label": False}]
    path = tmp_path / "anchors.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(one.text, one.task.reference) for one in pair_anchors(read_anchors(path))] == [(GOOD, {"answer": BAD})]
    path.write_text("".join(json.dumps({**row, "prompt": f"{n}?", "id": "i"}) + "\n" for n, row in enumerate(rows)))
    assert pair_anchors(read_anchors(path)) == ()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"prompt": None}, "what was asked is no text"),
        ({"prompt": ["?"]}, "what was asked is no text"),
        ({"reference": "yes"}, "`reference` is no table"),
        ({"lable": True}, "`lable` is no key"),
        ({"label": 1}, "neither true nor false"),
        ({"task": {"id": "a", "prompt": [{"role": "user", "content": 3}]}}, "what was asked is no text"),
        ({"task": {"id": "a", "prompt": []}}, "what was asked is no text"),
    ],
)
def test_a_line_that_is_no_anchor_is_refused_with_its_number(tmp_path: Path, changed: Any, why: str) -> None:
    path = tmp_path / "anchors.jsonl"
    row = {"prompt": "?", "text": GOOD, "label": True}
    path.write_text(f"{json.dumps(row)}\n\n{json.dumps({**row, **changed})}\n")
    with pytest.raises(DataError, match=why) as refused:
        read_anchors(path)
    assert refused.value.where == f"{path}:3"


def test_anchors_are_the_same_wherever_their_file_lies(tmp_path: Path) -> None:
    text = "".join(
        json.dumps({"prompt": f"{n}?", "text": GOOD, "label": n == 0, "reference": {"answer": BAD}}) + "\n"
        for n in range(2)
    )
    reports = []
    for name in ("here.jsonl", "there.jsonl"):
        (tmp_path / name).write_text(text if name == "here.jsonl" else f"\n{text}")
        reports.append(measure_anchors(judge_of(fair), read_anchors(tmp_path / name)))
    assert reports[0] == reports[1]
