"""The stack world: programs compute their formulas, and hidden tests tell every mistake from them."""

from __future__ import annotations

import re

import pytest

from strop.types import Completion, Verdict
from strop.verifiers.stack import read_program, run_program
from strop.worlds.stack import StackWorld
from strop.worlds.stack.formulas import Binary, Choice, Doubled, Repeated, program_of, text_of, value_of

WORLD = StackWorld()


def judged(text: str, task: object) -> Verdict:
    answer = Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")
    return WORLD.verifier(task, answer)  # type: ignore[arg-type]


def run(program: list[str], **inputs: int) -> int:
    return run_program(read_program(" ".join(program)), inputs)[0]


def test_a_formula_its_text_and_its_program_by_hand() -> None:
    formula = Binary(operator="*", left=Binary(operator="+", left="x", right=3), right=2)
    assert text_of(formula) == "(x + 3) * 2"
    assert " ".join(program_of(formula)) == "push x push 3 add push 2 mul"
    assert value_of(formula, {"x": 4}) == 14
    square = Doubled(kind="square", of=Binary(operator="-", left="x", right=1))
    assert (text_of(square), " ".join(program_of(square))) == ("square(x - 1)", "push x push 1 sub dup mul")


def test_a_choice_jumps_and_a_sum_loops() -> None:
    larger = Choice(left="a", right="b", then="a", other="b")
    assert text_of(larger) == "a if a > b else b"
    assert [run(program_of(larger), a=a, b=b) for a, b in ((3, 5), (5, 3), (4, 4))] == [5, 5, 4]
    squares = Repeated(kind="sum", bound="n", body=Binary(operator="*", left="i", right="i"))
    assert text_of(squares) == "sum of i * i for i from 1 to n"
    assert [run(program_of(squares), n=n) for n in (0, 1, 4, 10)] == [0, 1, 30, 385]


def evaluated(question: str, inputs: dict[str, int]) -> int:
    """The formula of the question as Python reads it: the oracle."""
    formula = question.partition(" = ")[2].partition(". f(")[0].removesuffix(".")
    loop = re.fullmatch(r"(sum|product) of (.*) for i from 1 to (\w)", formula)
    names = {**inputs, "square": lambda value: value * value, "twice": lambda value: 2 * value}
    if loop is None:
        return int(eval(formula, names))
    result = 0 if loop[1] == "sum" else 1
    for i in range(1, inputs[loop[3]] + 1):
        part = eval(loop[2], {**names, "i": i})
        result = result + part if loop[1] == "sum" else result * part
    return int(result)


@pytest.mark.parametrize("level", [level for level in WORLD.levels if level.get("shown", 1)])
def test_tests_and_references_agree_with_python_reading_the_formula(level: dict[str, int]) -> None:
    for task in WORLD.tasks("test", 30, **level):
        assert len(task.reference["tests"]) >= 6
        for test in task.reference["tests"]:
            assert test["expect"] == evaluated(task.prompt[0].content, test["inputs"])
            assert run_program(read_program(WORLD.reference_text(task)), test["inputs"])[0] == test["expect"]


def test_no_constant_passes_for_one_side_of_a_choice() -> None:
    """Both sides by brute force: every constant that any test expects, in the place of either answer."""
    tried = 0
    for task in WORLD.tasks("train", 60, 2, ops=2, inputs=2, instructions=4):
        lines = re.findall(r"(?:push|jump|jneg) \S+|\S+", WORLD.reference_text(task))
        jump, at = next((line, n) for n, line in enumerate(lines) if line.startswith("jump"))
        test, end = lines[: next(n for n, line in enumerate(lines) if line.startswith("jneg"))], int(jump.split()[1])
        other, then = lines[len(test) + 1 : at], lines[at + 1 :]
        assert end == len(lines)
        both = [{**one, "i": 0} for one in task.reference["pool"]]
        for constant in {case["expect"] for case in task.reference["tests"]}:
            for left, right in ((other, [f"push {constant}"]), ([f"push {constant}"], then)):
                wrong = [*test, f"jneg {len(test) + len(left) + 2}", *left]
                wrong += [f"jump {len(wrong) + 1 + len(right)}", *right]
                if any(run(wrong, **one) != run(lines, **one) for one in both):
                    tried += 1
                    assert not judged(" ".join(wrong), task).passed
    assert tried > 300


def test_a_program_that_the_machine_cannot_run_is_no_reference() -> None:
    for seed in range(3):
        for task in WORLD.tasks("train", 200, seed, ops=2, inputs=2, instructions=5):
            assert judged(WORLD.reference_text(task), task).passed, task.prompt


def test_examples_are_shown_and_are_none_of_the_hidden_tests() -> None:
    for task in WORLD.tasks("test", 30, ops=2, inputs=2, examples=4):
        shown = re.findall(r"f\(([-\d, ]+)\) = (-?\d+)", task.prompt[0].content)
        assert len(shown) == 4
        hidden = [list(test["inputs"].values()) for test in task.reference["tests"]]
        for numbers, value in shown:
            inputs = [int(number) for number in numbers.split(", ")]
            assert inputs not in hidden
            names = dict(zip(task.reference["tests"][0]["inputs"], inputs, strict=True))
            assert evaluated(task.prompt[0].content, names) == int(value)


def test_without_examples_nothing_of_the_hidden_tests_stands_in_the_prompt() -> None:
    for task in WORLD.tasks("test", 50, ops=3, inputs=2):
        assert re.fullmatch(r"Stack program for f\(\w, \w\) = [\w\s()+*-]+\.", task.prompt[0].content)


def test_another_program_for_the_same_function_passes() -> None:
    task = next(t for t in WORLD.tasks("train", 200, ops=1) if re.search(r"= \w \+ \d+\.$", t.prompt[0].content))
    name, constant = re.findall(r"= (\w) \+ (\d+)\.$", task.prompt[0].content)[0]
    assert judged(f"push {constant}; push {name}; swap; add", task).passed
    assert not judged(f"push {constant} push {name} sub", task).passed


@pytest.mark.capability("IM-07")
def test_a_loop_that_forgets_to_count_down_is_stopped_and_fails() -> None:
    for task in WORLD.tasks("test", 10, **WORLD.levels[6]):
        right = WORLD.reference_text(task)
        stuck = re.sub(r"push 1 sub set (\w)", r"push 0 sub set \1", right)
        verdict = judged(stuck, task)
        assert (verdict.score, verdict.state) == (0.0, "graded")
        assert "limit" in verdict.reasons[0] or "digits" in verdict.reasons[0]
