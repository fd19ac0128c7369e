"""On HumanEval, judging from outside says what running code and tests in one process says."""

import collections
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from code_mutations import mutations, passes_in_a_plain_process
from strop.sandbox import Limits
from strop.types import Completion
from strop.verifiers.code import CodeAnswer
from strop.worlds.benchmarks.humaneval import load_humaneval

NUM_MUTATIONS = 10


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeAnswer]:
    with CodeAnswer(limits=Limits(cpu_s=3.0, wall_s=60.0)) as opened:
        yield opened


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


def rows(shared_data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shared_data / "humaneval" / "HumanEval.jsonl").read_text().splitlines()]


def check_canonical(judge: CodeAnswer, shared_data: Path, which: slice) -> int:
    """How many of these tasks were tried; each canonical solution must pass as a continuation and as a whole."""
    tasks = load_humaneval(shared_data / "humaneval" / "HumanEval.jsonl")
    for task, row in list(zip(tasks, rows(shared_data), strict=True))[which]:
        assert judge(task, said(row["canonical_solution"])).passed
        whole = f"Here it is:\n```python\n{row['prompt']}{row['canonical_solution']}```\nDone."
        assert judge(task, said(whole)).passed
    return len(tasks[which])


@pytest.mark.capability("PI-66")
def test_canonical_solutions_whose_checks_are_loops_with_helpers_pass(judge: CodeAnswer, shared_data: Path) -> None:
    assert check_canonical(judge, shared_data, slice(32, 56, 6)) == 4  # 32, 38, 44, 50: poly, encode_cyclic ...


@pytest.mark.slow
@pytest.mark.capability("PI-66")
def test_all_164_canonical_solutions_pass_in_both_forms(judge: CodeAnswer, shared_data: Path) -> None:
    assert check_canonical(judge, shared_data, slice(None)) == 164


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_on_over_1000_mutated_solutions_the_verdict_is_that_of_an_unsandboxed_run(
    judge: CodeAnswer, shared_data: Path
) -> None:
    tasks = load_humaneval(shared_data / "humaneval" / "HumanEval.jsonl")
    seen: collections.Counter[tuple[str, bool]] = collections.Counter()
    different = []
    for task, row in zip(tasks, rows(shared_data), strict=True):
        source = row["prompt"] + row["canonical_solution"]
        for kind, program in mutations(source, row["entry_point"], NUM_MUTATIONS):
            verdict = judge(task, said(f"```python\n{program}\n```"))
            expected = passes_in_a_plain_process(program, row["test"], row["entry_point"])
            seen[kind, expected] += 1
            if not verdict.is_graded or verdict.passed != expected:
                different.append((task.id, expected, verdict.state, verdict.reasons, program))
    passed = sum(count for (_, expected), count in seen.items() if expected)
    print(f"{seen.total()} mutations, {passed} still pass, {len(different)} verdicts differ: {sorted(seen.items())}")
    assert not different
    assert seen.total() >= 1000
    assert len({kind for kind, _ in seen}) == 9
    assert 50 <= passed <= seen.total() // 2, "mutations that change nothing must pass, the others fail"
