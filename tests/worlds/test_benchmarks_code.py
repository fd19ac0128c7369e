"""HumanEval and MBPP are read in the formats in which they are published, and judged by their own tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strop.errors import DataError
from strop.types import Completion, Task
from strop.verifiers import audit
from strop.verifiers.code import CODE_CHEATS, CodeAnswer, code_cases
from strop.worlds.benchmarks import BENCHMARKS, load_benchmark
from strop.worlds.benchmarks.humaneval import load_humaneval
from strop.worlds.benchmarks.mbpp import load_mbpp

HUMANEVAL_ROW = {
    "task_id": "HumanEval/900",
    "prompt": 'from typing import List\n\n\ndef shift(xs: List[int], by: int) -> List[int]:\n    """Adds to all."""\n',
    "entry_point": "shift",
    "canonical_solution": "    return [x + by for x in xs]\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2], 3) == [4, 5]\n"
    "    for n in range(9):\n        assert candidate([n], -n) == [0]\n",
}
MBPP_ROW = {
    "task_id": 900,
    "text": "Write a function to find the members that two tuples share.",
    "code": "import math\r\ndef count(n):\r\n  return n\r\ndef shared(a, b):\r\n  return tuple(set(a) & set(b))",
    "test_list": [
        "assert set(shared((3, 4, 5, 6), (5, 7, 4, 10))) == set((4, 5))",
        'assert shared((1, 2), (3, 4)) == (), "none"',
        "assert isclose(len(shared((1, 2), (2, 3))), 1.0)",
    ],
    "test_setup_code": "from math import isclose\nlimit = 3",
    "challenge_test_list": ["assert shared((), ()) == () and limit == 3"],
}
CLASS_ROW = {
    "task_id": 901,
    "text": "Write a function to find the longest chain of pairs.",
    "code": "class Pair(object):\n    def __init__(self, a, b):\n        self.a = a\n        self.b = b\n"
    "def longest(pairs):\n    return len(pairs)",
    "test_list": ["assert longest([Pair(5, 24), Pair(15, 25)]) == 2"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeAnswer]:
    with CodeAnswer() as opened:
        yield opened


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


def file_of(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(tasks: list[Task]) -> Task:
    (task,) = tasks
    return task


@pytest.mark.capability("PI-66")
@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("    return [x + by for x in xs]\n", True),
        ("def shift(xs, by):\n    return list(map(by.__add__, xs))\n", True),
        ("```python\ndef shift(xs: List[int], by: int):\n    return [x + by for x in xs]\n```", True),
        ("    return tuple(x + by for x in xs)\n", False),
        ("    return [x - by for x in xs]\n", False),
        ("    return [4, 5]\n", False),
        ("    pass\n", False),
        ("It adds `by` to every number.", False),
    ],
)
def test_humaneval_golden_cases(judge: CodeAnswer, tmp_path: Path, text: str, passed: bool) -> None:
    task = one(load_humaneval(file_of(tmp_path, HUMANEVAL_ROW)))
    verdict = judge(task, said(text))
    assert verdict.is_graded
    assert verdict.passed == passed


@pytest.mark.capability("PI-66")
@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("def shared(a, b):\n    return tuple(x for x in a if x in b)\n", True),
        ("```python\ndef shared(a, b):\n    return tuple(sorted({*a} & {*b}))\n```", True),
        ("def shared(a, b):\n    return set(a) & set(b)\n", False),
        ("def shared(a, b):\n    return (4, 5)\n", False),
        ("def share(a, b):\n    return tuple(set(a) & set(b))\n", False),
        ("", False),
    ],
)
def test_mbpp_golden_cases(judge: CodeAnswer, tmp_path: Path, text: str, passed: bool) -> None:
    task = one(load_mbpp(file_of(tmp_path, MBPP_ROW)))
    verdict = judge(task, said(text))
    assert verdict.is_graded
    assert verdict.passed == passed


def test_a_humaneval_task_shows_the_prompt_and_keeps_the_rest_in_its_reference(tmp_path: Path) -> None:
    task = one(load_humaneval(file_of(tmp_path, HUMANEVAL_ROW)))
    assert task.id == "HumanEval/900"
    assert task.source.endswith("rows.jsonl:1")
    assert (
        task.prompt[0].content == f"Complete this Python function.\n```python\n{HUMANEVAL_ROW['prompt'].strip()}\n```"
    )
    assert task.reference["solution"] == HUMANEVAL_ROW["prompt"] + HUMANEVAL_ROW["canonical_solution"]
    assert task.reference["check"] == HUMANEVAL_ROW["test"]


def test_an_mbpp_task_shows_its_tests_as_the_paper_does(tmp_path: Path) -> None:
    task = one(load_mbpp(file_of(tmp_path, MBPP_ROW)))
    assert task.id == "MBPP/900"
    assert task.prompt[0].content == "\n".join(
        [f"{MBPP_ROW['text']} Your code should pass these tests:", "", *MBPP_ROW["test_list"], ""]
    )
    assert task.reference["entry_point"] == "shared"
    assert task.reference["functions"] == ["shared"]


def test_the_setup_stays_outside_and_challenge_tests_judge_where_asked_for(judge: CodeAnswer, tmp_path: Path) -> None:
    path = file_of(tmp_path, MBPP_ROW)
    lax = "def shared(a, b):\n    return tuple(set(a) & set(b)) if a else None\n"
    assert judge(one(load_mbpp(path)), said(lax)).passed
    task = one(load_mbpp(path, challenge=True))
    assert not judge(task, said(lax)).passed
    assert judge(task, said(MBPP_ROW["code"])).passed
    assert "challenge" not in task.prompt[0].content
    assert MBPP_ROW["challenge_test_list"][0] not in task.prompt[0].content


def test_the_sanitized_format_is_read_too(judge: CodeAnswer, tmp_path: Path) -> None:
    row = {
        "task_id": 902,
        "prompt": "Write a function for the area of a circle.",
        "code": "import math\ndef area(r):\n    return math.pi * r * r",
        "test_imports": ["import math"],
        "test_list": ["assert math.isclose(area(10), 314.15926535897, rel_tol=0.001)"],
        "source_file": "x",
    }
    task = one(load_mbpp(file_of(tmp_path, row)))
    assert judge(task, said(row["code"])).passed
    assert not judge(task, said("def area(r): return 3 * r * r")).passed


def test_tests_on_objects_of_the_answers_own_class_are_an_error_that_says_so(judge: CodeAnswer, tmp_path: Path) -> None:
    verdict = judge(one(load_mbpp(file_of(tmp_path, CLASS_ROW))), said(CLASS_ROW["code"]))
    assert (verdict.state, verdict.score) == ("error", None)
    assert "the answer's own class Pair, which cannot leave the sandbox" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"code": None}, "no `code`"),
        ({"test_list": "assert shared((), ()) == ()"}, "not a list of tests"),
        ({"test_list": []}, "cannot be judged"),
        ({"test_list": ["assert other(1) == 2"]}, "cannot be judged"),
        ({"test_list": ["assert shared("]}, "not Python"),
        ({"code": "def shared("}, "not Python"),
    ],
)
def test_a_row_that_cannot_be_judged_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    with pytest.raises(DataError, match=what) as caught:
        load_mbpp(file_of(tmp_path, MBPP_ROW, {**MBPP_ROW, **change}))
    assert caught.value.where.endswith("rows.jsonl:2")


def test_both_are_named_benchmarks_with_an_audit(tmp_path: Path) -> None:
    for name, row in (("humaneval", HUMANEVAL_ROW), ("mbpp", MBPP_ROW)):
        tasks, verifier = load_benchmark(f"{name}:{file_of(tmp_path, row)}")
        assert isinstance(verifier, CodeAnswer)
        assert len(tasks) == 1
        assert BENCHMARKS[name].cases is code_cases


def test_the_audit_of_a_benchmark_accepts_its_solutions_and_rejects_every_cheat(tmp_path: Path) -> None:
    from strop.sandbox import Limits

    tasks = [*load_humaneval(file_of(tmp_path, HUMANEVAL_ROW)), *load_mbpp(file_of(tmp_path, MBPP_ROW))]
    with CodeAnswer(limits=Limits(cpu_s=1.0, wall_s=5.0)) as judge:
        result = audit(judge, code_cases(tasks)).require()
    assert (result.num_right, result.num_wrong) == (2, len(CODE_CHEATS) + 6)
