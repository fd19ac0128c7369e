"""Rows have stable ids, and a data set is known by its content."""

import json
from pathlib import Path

import pytest

from strop.data import dataset_digest, read_conversations, read_tasks
from strop.types import Conversation

ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}, {"question": "1+1?", "answer": "2"}]


def read(path: Path, rows: list[dict]) -> list[Conversation]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_conversations(path)


def test_ids_follow_the_content_not_the_place(tmp_path: Path) -> None:
    first, second, repeated = read(tmp_path / "a.jsonl", ROWS)
    assert repeated.id == f"{first.id}#2"
    assert [row.id for row in read(tmp_path / "b.jsonl", ROWS[1::-1])] == [second.id, first.id]


def test_the_rows_own_id_counts_and_repeats_are_numbered(tmp_path: Path) -> None:
    rows = [{"id": name, **row} for name, row in zip(["x", None, "x"], ROWS)]
    ids = [row.id for row in read(tmp_path / "a.jsonl", rows)]
    assert ids[0] == "x"
    assert ids[2] == "x#2"
    assert len(ids[1]) == 16


def test_the_digest_of_a_data_set_is_its_content_and_order(tmp_path: Path) -> None:
    digest = dataset_digest(read(tmp_path / "a.jsonl", ROWS))
    assert dataset_digest(read(tmp_path / "renamed.jsonl", [dict(reversed(row.items())) for row in ROWS])) == digest
    assert dataset_digest(read(tmp_path / "b.jsonl", ROWS[::-1][:2])) != digest
    changed = [*ROWS[:2], {"question": "1+1?", "answer": "3"}]
    assert dataset_digest(read(tmp_path / "c.jsonl", changed)) != digest
    assert dataset_digest(read_tasks(tmp_path / "a.jsonl")) != digest


@pytest.mark.parametrize("name", ["train-3000.jsonl", "test.jsonl"])
def test_gsm8k_is_read_as_conversations_and_as_tasks(shared_data: Path, name: str) -> None:
    path = shared_data / "gsm8k" / name
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows, tasks = read_conversations(path), read_tasks(path)
    assert len(rows) == len(tasks) == len(lines) == {"train-3000.jsonl": 3000, "test.jsonl": 1319}[name]
    for line, row, task in zip(lines, rows, tasks):
        assert [(m.role, m.content) for m in row.messages] == [
            ("user", line["question"]),
            ("assistant", line["answer"]),
        ]
        assert [m.content for m in task.prompt] == [line["question"]]
        assert task.reference == {"answer": line["answer"]}
    assert len({row.id for row in rows}) == len(rows)


def test_other_published_files_are_read_with_a_mapping(shared_data: Path) -> None:
    svamp = read_tasks(shared_data / "math" / "svamp.jsonl", columns={"prompt": "Body", "id": "ID"}, limit=3)
    assert set(svamp[0].reference) == {"Question", "Answer", "Equation", "Type", "idx"}
    humaneval = read_tasks(shared_data / "humaneval" / "HumanEval.jsonl", columns={"id": "task_id"})
    assert len(humaneval) == 164
    assert humaneval[0].id == "HumanEval/0"
    assert {"canonical_solution", "test", "entry_point"} <= set(humaneval[0].reference)
