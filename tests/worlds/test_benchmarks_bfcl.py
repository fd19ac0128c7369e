"""The function-calling leaderboard: every accepted value passes, every way to miss does not; types are translated."""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from strop.constraints import SchemaValidator, call_errors
from strop.errors import DataError
from strop.types import Completion, Task
from strop.verifiers import AuditCase, audit, parse_calls
from strop.worlds.benchmarks import BENCHMARKS, load_benchmark, load_bfcl
from strop.worlds.benchmarks.bfcl_cases import bfcl_cases, wrong_value

AREA = {
    "name": "area",
    "description": "Of a triangle.",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "float", "optional": True},
            "corners": {"type": "tuple", "items": {"type": "dict", "properties": {"x": {"type": "float"}}}},
            "unit": {"type": "any", "description": "Any."},
        },
        "required": ["base"],
    },
}
QUESTION = {"id": "simple_0", "question": [[{"role": "user", "content": "How large?"}]], "function": [AREA]}
ANSWER = {"id": "simple_0", "ground_truth": [{"area": {"base": [2], "unit": ["cm", ""]}}]}


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


def files(folder: Path, question: Any = QUESTION, answer: Any = ANSWER, *, nested: bool = False) -> Path:
    path = folder / "BFCL_v4_simple.json"
    path.write_text(json.dumps(question) + "\n")
    place = folder / ("possible_answer/BFCL_v4_simple.json" if nested else "possible_answer__BFCL_v4_simple.json")
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(answer) + "\n")
    return path


@cache
def real(folder: Path) -> tuple[tuple[Task, ...], tuple[AuditCase, ...]]:
    tasks = load_bfcl(folder / "bfcl")
    return tuple(tasks), tuple(bfcl_cases(tasks))


@pytest.mark.parametrize("nested", [False, True])
def test_a_row_becomes_a_task_with_json_schema_and_accepted_values(tmp_path: Path, nested: bool) -> None:
    (found,) = load_bfcl(files(tmp_path, nested=nested))
    assert found.prompt[0].content == "How large?"
    assert found.slices == {"category": "simple"}
    assert found.reference == {"accepted": ANSWER["ground_truth"]}
    assert found.tools[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "base": {"type": "number"},
            "corners": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
            "unit": {"description": "Any."},
        },
        "required": ["base"],
    }


def test_where_nothing_is_relevant_no_call_is_due(tmp_path: Path) -> None:
    path = tmp_path / "BFCL_v4_live_irrelevance.json"
    path.write_text(json.dumps(QUESTION) + "\n")
    assert load_bfcl(path)[0].reference == {"call": None}


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ({**QUESTION, "question": QUESTION["question"] * 2}, ANSWER, "2 turns"),
        ({**QUESTION, "function": [{**AREA, "parameters": {"type": "HashMap"}}]}, ANSWER, "'HashMap'"),
        (QUESTION, {**ANSWER, "id": "simple_1"}, "has no accepted calls"),
        (QUESTION, {**ANSWER, "ground_truth": [{"volume": {}}]}, "none of the tools"),
        (QUESTION, {**ANSWER, "ground_truth": [{"area": {"height": [1]}}]}, "height is no parameter"),
        (QUESTION, {**ANSWER, "ground_truth": [{"area": {"base": 2}}]}, "no list of accepted values"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, question: Any, answer: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        load_bfcl(files(tmp_path, question, answer))


def test_a_file_without_its_accepted_calls_is_refused(tmp_path: Path) -> None:
    path = files(tmp_path)
    (tmp_path / "possible_answer__BFCL_v4_simple.json").unlink()
    with pytest.raises(DataError, match="has no accepted calls"):
        load_benchmark(f"bfcl:{path}")


def test_every_accepted_answer_of_the_real_data_passes_and_every_mistake_fails(shared_data: Path) -> None:
    tasks, cases = real(shared_data)
    verify = BENCHMARKS["bfcl"].verifier()
    found = Counter(
        (case.task.slices["category"], case.kind, verify(case.task, said(case.text)).passed) for case in cases
    )
    assert len(tasks) == 840
    assert found == {
        ("simple_python", "gold", True): 2334,
        ("simple_python", "mutation", False): 3325,
        ("simple_python", "cheat", False): 2000,
        ("multiple", "gold", True): 1478,
        ("multiple", "mutation", False): 1999,
        ("multiple", "cheat", False): 1000,
        ("irrelevance", "gold", True): 240,
        ("irrelevance", "mutation", False): 480,
        ("irrelevance", "cheat", False): 720,
    }


def test_each_accepted_value_stands_in_an_answer_and_the_ambiguous_are_few(shared_data: Path) -> None:
    tasks, cases = real(shared_data)
    shown: dict[str, set[str]] = {}
    for case in cases:
        if case.should_pass:
            for call in parse_calls(case.text):
                shown.setdefault(case.task.id, set()).update(f"{k}={json.dumps(v)}" for k, v in call.arguments.items())
    ambiguous = []
    for task in tasks:
        for one in task.reference.get("accepted", ()):
            for key, values in next(iter(one.values())).items():
                plain = [value for value in values if not isinstance(value, dict | list) and value != ""]
                assert {f"{key}={json.dumps(value)}" for value in plain} <= shown[task.id], (task.id, key)
                ambiguous += [f"{task.id}.{key}"] if wrong_value(values) is None else []
    assert len(ambiguous) == 7, "truth values of which both are accepted; no other kind is left out"


def test_every_tool_of_the_real_data_is_json_schema_and_accepted_calls_mostly_satisfy_it(shared_data: Path) -> None:
    tasks, cases = real(shared_data)
    for task in tasks:
        for tool in task.tools:
            SchemaValidator(tool["function"]["parameters"])
    right = [case for case in cases if case.should_pass and case.task.reference.get("accepted")]
    odd = {case.task.id for case in right for call in parse_calls(case.text) if call_errors(case.task.tools, call)}
    assert odd == {"multiple_76", "simple_python_149", "simple_python_307", "simple_python_358"}, "the data's own slips"


def test_the_judge_of_the_leaderboard_passes_its_audit(shared_data: Path) -> None:
    _, cases = real(shared_data)
    found = audit(BENCHMARKS["bfcl"].verifier(), cases[:: len(cases) // 300]).require()
    assert found.num_cheats > 50


def test_a_limit_takes_one_of_each_file_of_a_folder_in_turn(tmp_path: Path) -> None:
    for category, count in (("irrelevance", 1), ("live_irrelevance", 3), ("z_irrelevance", 3)):
        rows = [{**QUESTION, "id": f"{category}_{number}"} for number in range(count)]
        (tmp_path / f"BFCL_v4_{category}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [task.id for task in load_bfcl(tmp_path, limit=5)] == [
        "irrelevance_0",
        "live_irrelevance_0",
        "z_irrelevance_0",
        "live_irrelevance_1",
        "z_irrelevance_1",
    ]
    assert [task.slices["category"] for task in load_bfcl(tmp_path)] == [
        *["irrelevance"],
        *["live_irrelevance"] * 3,
        *["z_irrelevance"] * 3,
    ]
