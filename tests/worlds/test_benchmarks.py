"""Published formats become tasks with their verifier; files of another format are refused by row."""

import json
from pathlib import Path
from typing import Any

import pytest

from strop.errors import DataError, RecipeError
from strop.pipeline.prepare import audit_verifier
from strop.types import Completion
from strop.worlds.benchmarks import (
    BENCHMARKS,
    benchmark_of,
    load_aime,
    load_benchmark,
    load_gsm8k,
    load_math,
    load_svamp,
)


def rows(folder: Path, *values: dict[str, Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


COINS = {"question": "Two coins and one?", "answer": "2+1=<<2+1=3>>3 coins\nAnd 3*400 = <<3*400=1200>>1200\n#### 1,200"}
BANANAS = {"Body": "There are 8 bananas", "Question": "How many?", "Answer": 8.0, "Type": "Addition", "ID": "chal-1"}

CIRCLE = {
    "problem": "What is half?",
    "solution": "It is not \\boxed{2}.\n\nIt is $\\boxed{\\frac{1}{2}}$.",
    "level": "Level 2",
    "type": "Algebra",
}
FIVE_HUNDRED = {"problem": "P", "solution": "", "answer": "(3, \\pi)", "subject": "Precalculus", "level": 5}
FIVE_HUNDRED["unique_id"] = "test/precalculus/807.json"
AIME = {"ID": "2024-II-4", "Problem": "How many?", "Solution": "", "Answer": 33}


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


@pytest.mark.capability("PI-66")
def test_math_rows_of_both_publications_give_answer_level_and_subject(tmp_path: Path) -> None:
    first, second = load_math(rows(tmp_path, CIRCLE, FIVE_HUNDRED))
    assert first.reference["answer"] == "\\frac{1}{2}", "the last box of the solution"
    assert first.slices == {"level": "2", "subject": "Algebra"}
    assert first.prompt[0].content == "What is half?\n\nPut your final answer in \\boxed{}."
    assert (second.id, second.reference["answer"]) == ("test/precalculus/807.json", "(3, \\pi)")
    assert second.slices == {"level": "5", "subject": "Precalculus"}
    folder = tmp_path / "algebra"
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps(CIRCLE))
    (folder / "2.json").write_text(json.dumps(CIRCLE))
    assert len(load_math(folder)) == 2, "the original publication has a file a problem"


@pytest.mark.capability("PI-66")
def test_math_golden_answers_pass_and_near_misses_do_not(tmp_path: Path) -> None:
    (half, pair), verify = load_benchmark(f"math:{rows(tmp_path, CIRCLE, FIVE_HUNDRED)}")
    for text in ("So it is $\\boxed{0.5}$.", "\\boxed{\\dfrac12}", "The answer is $\\frac{2}{4}$."):
        assert verify(half, said(text)).passed, text
    for text in ("\\boxed{2}", "\\boxed{\\frac{1}{2}} or \\boxed{2}", "\\boxed{0.51}", "no idea"):
        assert not verify(half, said(text)).passed, text
    assert verify(pair, said("\\boxed{\\left(3,\\pi\\right)}")).passed
    assert not verify(pair, said("\\boxed{(3, 3.14)}")).passed


@pytest.mark.capability("PI-67")
@pytest.mark.parametrize(
    ("row", "slices"),
    [
        (AIME, {"year": "2024", "exam": "II"}),
        ({"problem": "P", "answer": "033", "year": 2025}, {"year": "2025"}),
        (
            {"problem": "P", "answer": "33", "id": 7, "url": "https://example.org/2023_AIME_I_Problems/Problem_4"},
            {"year": "2023", "exam": "I"},
        ),
        ({"problem": "P", "answer": "33", "id": 0}, {}),
    ],
)
def test_aime_rows_give_a_whole_number_year_and_exam(tmp_path: Path, row: Any, slices: dict[str, str]) -> None:
    (task,), verify = load_benchmark(f"aime:{rows(tmp_path, row)}")
    assert task.reference["answer"] == "33"
    assert dict(task.slices) == slices
    assert verify(task, said("Hence \\boxed{033}.")).passed
    assert not verify(task, said("Hence \\boxed{34}.")).passed


def test_an_aime_answer_out_of_range_is_refused_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the answer is '1000'"):
        load_aime(rows(tmp_path, {**AIME, "Answer": 1000}))


def test_a_verifier_of_mathematics_passes_the_audit_of_its_benchmark(tmp_path: Path) -> None:
    source = f"math:{rows(tmp_path, CIRCLE, FIVE_HUNDRED)}"
    tasks, verifier = load_benchmark(source)
    audit = audit_verifier(None, source, verifier, tasks)
    assert (audit.num_right, audit.num_wrong, audit.false_accept, audit.false_reject) == (2, 6, 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "row", "what"),
    [
        ("gsm8k", {"query": "x", "answer": "#### 1"}, "has no `question`"),
        ("gsm8k", {"question": "x", "answer": "1"}, "has no `####`"),
        ("gsm8k", {"question": "x", "answer": "1 ####  "}, "has no `####`"),
        ("svamp", {"Body": "x", "Question": "y"}, "has no `Answer`"),
        ("math", {"problem": "x", "solution": "no box"}, "has no answer"),
    ],
)
def test_a_row_of_another_format_is_refused_by_its_line(tmp_path: Path, name: str, row: Any, what: str) -> None:
    good = {"gsm8k": COINS, "svamp": BANANAS, "math": CIRCLE}[name]
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


def test_every_benchmark_is_registered_under_its_own_name() -> None:
    assert {"gsm8k", "svamp", "math", "aime"} <= set(BENCHMARKS)
    assert all(name == benchmark.name for name, benchmark in BENCHMARKS.items())


@pytest.mark.parametrize(("source", "number"), [("gsm8k:gsm8k/test.jsonl", 1319), ("svamp:math/svamp.jsonl", 1000)])
def test_real_files_load_whole_and_their_verifier_passes_its_audit(shared_data: Path, source: str, number: int) -> None:
    name, _, file = source.partition(":")
    tasks, verifier = load_benchmark(f"{name}:{shared_data / file}")
    assert len(tasks) == len({task.id for task in tasks}) == number
    audit = audit_verifier(None, f"{name}:{file}", verifier, tasks)
    assert audit.num_right > 0
    assert (audit.false_accept, audit.false_reject) == (0.0, 0.0)
