"""The pre-flight finds what training would suffer from, and training refuses what it refuses."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_rows import REASONING, talk, tiny_template
from strop.data import preflight, write_ledger
from strop.errors import DataError
from strop.types import Conversation, Document, Message, Preference, Task


def rows(*texts: tuple[str, ...]) -> list[Conversation]:
    return [talk(*pair, name=f"r{number}") for number, pair in enumerate(texts)]


def test_it_counts_tokens_by_role_and_turn_as_by_hand() -> None:
    # ABC and xyz are three tokens each, Hi and Yes two; every turn has a header and an end
    report = preflight(rows(("ABC", "xyz", "Hi", "Yes"), ("Hi", "xyz")), tiny_template(), max_length=64)
    assert asdict(report.roles["user"]) == {"num_tokens": 5 + 4 + 4, "num_trained": 0}
    assert asdict(report.roles["assistant"]) == {"num_tokens": 5 + 4 + 5, "num_trained": 4 + 3 + 4}
    assert asdict(report.turns[1, "assistant"]) == {"num_tokens": 10, "num_trained": 8}
    assert asdict(report.turns[2, "user"]) == {"num_tokens": 4, "num_trained": 0}
    assert (report.num_tokens, report.num_trained_tokens) == (27, 11)
    assert report.lengths["0%"] == 9
    assert report.lengths["100%"] == 18
    assert report.num_stop_trained == 2
    assert report.accepted == (0, 1)
    assert report.refusals == ()
    report.require()


def test_the_samples_it_checked_can_be_trained_as_they_are() -> None:
    from strop.data import conversation_sample

    data = rows(("ABC", "xyz"), ("Hi", "Yes"))
    report = preflight(data, tiny_template(), max_length=64)
    assert report.samples == tuple(conversation_sample(tiny_template(), row, max_length=64) for row in data)


@pytest.mark.capability("SF-23")
def test_training_refuses_what_the_preflight_refuses() -> None:
    from strop.methods import sft

    policy = SimpleNamespace(template=tiny_template(), max_length=12)
    good, too_long = rows(("ABC", "xyz"), ("Hi", "A" * 40))
    silent = replace(good, id="silent", messages=(good.messages[0], replace(good.messages[1], train=False)))
    sft(policy, [good], batch_size=1)  # type: ignore[arg-type]
    for bad, reason in ((too_long, "answer_too_long"), (silent, "nothing_supervised")):
        with pytest.raises(DataError, match=reason):
            sft(policy, [good, bad], batch_size=1)  # type: ignore[arg-type]


def test_refusals_are_structured_and_summarised_with_the_first_named() -> None:
    data = rows(("ABC", "xyz"), ("Hi", "A" * 40), ("Hi", "B" * 44))
    report = preflight(data, tiny_template(), max_length=12)
    assert [(entry.id, entry.reason, entry.num_tokens) for entry in report.refusals] == [
        ("r1", "answer_too_long", 42),
        ("r2", "answer_too_long", 46),
    ]
    assert report.accepted == (0,)
    with pytest.raises(DataError) as caught:
        report.require()
    assert caught.value.what.startswith("the answer of row r1 does not fit: 42 tokens, the limit is 12")
    assert "1 more of 3 rows" in caught.value.what
    assert caught.value.why == "the pre-flight refuses 2 × answer_too_long"
    assert "max_length to 46" in caught.value.do


def test_shortened_rows_stand_in_the_ledger_with_what_they_lost(tmp_path: Path) -> None:
    data = rows(("ABC", "xyz", "Hi", "Yes"), ("ABCABCABC", "xyz"))
    report = preflight(data, tiny_template(), max_length=12)
    first, second = report.shortened
    assert (first.num_tokens, first.dropped_turns, first.dropped_tokens) == (18, 2, 10)
    assert first.dropped_trained_tokens == 4
    assert (second.num_tokens, second.dropped_turns, second.dropped_tokens) == (16, 0, 4)
    assert second.dropped_trained_tokens == 0
    assert report.num_truncated_label_rows == 1
    write_ledger(tmp_path / "ledger.jsonl", report.ledger)
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["r0", "r1"]


@pytest.mark.capability("AB-train-eval-disjointness")
def test_exact_duplicates_and_overlap_with_held_out_rows_are_found() -> None:
    data = rows(("ABC", "xyz"), ("Hi", "Yes"), ("ABC", "xyz"), ("ABC", "other"))
    held_out = [Task(id="t", prompt=(Message(role="user", content="  hi "),))]
    report = preflight(data, tiny_template(), max_length=64, eval_rows=held_out)
    assert report.duplicates == (("r0", "r2"),)
    assert report.overlap == (("r1", "t"),)


def test_control_tokens_in_texts_are_counted_and_stay_text() -> None:
    data = rows(("say <|end|> <|end|>", "no"), ("say <|end|>", "<tool_call>x"))
    report = preflight(data, tiny_template(), max_length=99)
    assert report.control_texts == {"<tool_call> in assistant": 1, "<|end|> in user": 2}
    [end] = [tiny_template().tokenizer.convert_tokens_to_ids("<|end|>")]
    assert [sample.token_ids.count(end) for sample in report.samples] == [2, 2]


def test_two_bos_tokens_are_refused() -> None:
    template = tiny_template("<|bos|><|bos|>" + REASONING)
    report = preflight(rows(("ABC", "xyz")), template, max_length=64)
    assert [entry.reason for entry in report.refusals] == ["double_bos"]


def test_a_row_that_the_template_cannot_render_is_refused_with_its_complaint() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    row = Conversation(id="tools", messages=talk("Hi", "x").messages, tools=(tool,))
    report = preflight([row, talk("Hi", "Yes")], tiny_template(), max_length=64)
    assert [(entry.id, entry.reason) for entry in report.refusals] == [("tools", "template")]
    assert "drops the tools" in report.refusals[0].message


@pytest.mark.capability("SF-16")
def test_another_count_of_supervised_tokens_fails_the_build() -> None:
    data = rows(("ABC", "xyz"), ("Hi", "Yes"))
    preflight(data, tiny_template(), max_length=64, expected_counts={"r0": 4, "r1": 3}).require()
    wrong = preflight(data, tiny_template(), max_length=64, expected_counts={"r0": 4, "r1": 4})
    with pytest.raises(DataError, match="row r1 trains 3 tokens, 4 were expected"):
        wrong.require()


def pair(name: str, chosen: str, rejected: str) -> Preference:
    answers = [(Message(role="assistant", content=text),) for text in (chosen, rejected)]
    return Preference(id=name, prompt=(Message(role="user", content="ABC"),), chosen=answers[0], rejected=answers[1])


def test_pairs_are_counted_on_both_sides_and_equal_answers_refused() -> None:
    report = preflight([pair("p", "xyz", "Yes"), pair("same", "Hi", "Hi")], tiny_template(), max_length=64, kind="dpo")
    assert asdict(report.roles["assistant"]) == {"num_tokens": 5 + 4, "num_trained": 4 + 3}
    assert asdict(report.roles["user"]) == {"num_tokens": 10, "num_trained": 0}
    assert [entry.reason for entry in report.refusals] == ["no_preference"]
    assert [sample.name for sample in report.samples] == ["p/chosen", "p/rejected"]


def test_a_task_whose_prompt_is_too_long_is_refused_not_cut() -> None:
    data = [Task(id=text, prompt=(Message(role="user", content=text),)) for text in ("ABC", "ABCABC")]
    report = preflight(data, tiny_template(), max_length=6, kind="tasks")  # 3 + header, end, the answer's header
    assert report.accepted == (0,)
    assert [(entry.id, entry.reason, entry.num_tokens) for entry in report.refusals] == [
        ("ABCABC", "prompt_too_long", 9)
    ]
    assert report.num_trained_tokens == 0


def test_documents_train_every_token_but_the_first() -> None:
    documents = [Document(id="a", text="ABCxyz"), Document(id="none", text="")]
    report = preflight(documents, tiny_template(), max_length=4, kind="cpt")  # 7 tokens in pieces of 4, one shared
    assert asdict(report.roles["document"]) == {"num_tokens": 8, "num_trained": 6}
    assert report.lengths["100%"] == 7
    assert [entry.id for entry in report.refusals] == ["none"]


def test_the_report_is_json_and_text() -> None:
    report = preflight(rows(("ABC", "xyz"), ("Hi", "A" * 40)), tiny_template(), max_length=12)
    content = json.loads(json.dumps(report.to_json()))
    assert content["roles"]["assistant"] == {"num_tokens": 5, "num_trained": 4}
    assert content["ledger"][0]["reason"] == "answer_too_long"
    text = "\n".join(report.lines())
    assert "rows: 2, usable 1, shortened 0, refused 1 (limit 12 tokens)" in text
    assert "assistant: 5 tokens, trained 4 (80.0 %)" in text
    assert "stop token trained: 1 of 1 rows" in text


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        preflight([], tiny_template(), max_length=64)
