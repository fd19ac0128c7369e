"""Published formats become tasks with their verifier; files of another format are refused by row."""

import json
from pathlib import Path
from typing import Any

import pytest

from strop.errors import DataError, RecipeError
from strop.pipeline.prepare import audit_verifier
from strop.types import Completion
from strop.worlds.benchmarks import BENCHMARKS, benchmark_of, load_benchmark, load_gsm8k, load_svamp


def rows(folder: Path, *values: dict[str, Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


COINS = {"question": "Two coins and one?", "answer": "2+1=<<2+1=3>>3 coins\nAnd 3*400 = <<3*400=1200>>1200\n#### 1,200"}
BANANAS = {"Body": "There are 8 bananas", "Question": "How many?", "Answer": 8.0, "Type": "Addition", "ID": "chal-1"}


def test_a_gsm8k_row_gives_its_question_its_final_number_and_the_length_of_its_solution(tmp_path: Path) -> None:
    path = rows(tmp_path, COINS, COINS)
    first, second = load_gsm8k(path)
    assert first.prompt[0].content == "Two coins and one?"
    assert first.reference["answer"] == "1,200"
    assert first.slices == {"steps": "2"}
    assert first.source == f"{path}:1"
    assert second.id == f"{first.id}#2", "ids stay distinct where a question comes again"


def test_a_svamp_row_joins_body_and_question_and_is_sliced_by_operation(tmp_path: Path) -> None:
    (found,) = load_svamp(rows(tmp_path, BANANAS))
    assert found.prompt[0].content == "There are 8 bananas. How many?"
    assert (found.id, found.slices, found.reference["answer"]) == ("chal-1", {"type": "Addition"}, 8.0)


@pytest.mark.parametrize(
    ("name", "row", "what"),
    [
        ("gsm8k", {"query": "x", "answer": "#### 1"}, "has no `question`"),
        ("gsm8k", {"question": "x", "answer": "1"}, "has no `####`"),
        ("gsm8k", {"question": "x", "answer": "1 ####  "}, "has no `####`"),
        ("svamp", {"Body": "x", "Question": "y"}, "has no `Answer`"),
    ],
)
def test_a_row_of_another_format_is_refused_by_its_line(tmp_path: Path, name: str, row: Any, what: str) -> None:
    good = {"gsm8k": COINS, "svamp": BANANAS}[name]
    path = rows(tmp_path, good, row)
    with pytest.raises(DataError, match=what) as caught:
        load_benchmark(f"{name}:{path}")
    assert caught.value.where == f"{path}:2"


def test_a_missing_or_empty_file_and_an_unknown_benchmark_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl does not exist"):
        load_benchmark(f"gsm8k:{tmp_path}/absent.jsonl")
    with pytest.raises(DataError, match="gsm8k data has no rows"):
        load_benchmark(f"gsm8k:{rows(tmp_path)}")
    with pytest.raises(RecipeError, match="write gsm8k:"):
        load_benchmark("gms8k:test.jsonl")
    with pytest.raises(RecipeError, match="names no benchmark"):
        load_benchmark("gsm8k:")


def test_only_a_known_name_before_a_colon_is_a_benchmark() -> None:
    assert benchmark_of("gsm8k:test.jsonl") is BENCHMARKS["gsm8k"]
    assert benchmark_of("gsm8k") is None
    assert benchmark_of("owner/name:config") is None
    assert benchmark_of("world:finance") is None


def test_a_limit_reads_only_so_many_rows(tmp_path: Path) -> None:
    path = rows(tmp_path, COINS, {"nothing": 1})
    assert len(load_benchmark(f"gsm8k:{path}", limit=1)[0]) == 1


@pytest.mark.parametrize(("source", "number"), [("gsm8k:gsm8k/test.jsonl", 1319), ("svamp:math/svamp.jsonl", 1000)])
def test_real_files_load_whole_and_their_verifier_passes_its_audit(shared_data: Path, source: str, number: int) -> None:
    name, _, file = source.partition(":")
    tasks, verifier = load_benchmark(f"{name}:{shared_data / file}")
    assert len(tasks) == len({task.id for task in tasks}) == number
    audit = audit_verifier(None, f"{name}:{file}", verifier, tasks)
    assert audit.num_right > 0
    assert (audit.false_accept, audit.false_reject) == (0.0, 0.0)
