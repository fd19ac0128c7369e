"""Real references in every written form are accepted; tens of thousands of wrong numbers, near and far, are not."""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from strop.types import Completion, Task, Verifier
from strop.verifiers import MathAnswer, NumberAnswer
from strop.worlds.benchmarks import load_benchmark

FORMS: dict[str, Callable[[str], str]] = {
    "####": lambda number: f"First 3 + 4 = 7, then more.\n#### {number}",
    "boxed": lambda number: f"With 3 and 4 we get $\\boxed{{{number}}}$.",
    "sentence": lambda number: f"She had 3 and bought 4. The answer is {number}.",
}
SOURCES = ("gsm8k:gsm8k/test.jsonl", "svamp:math/svamp.jsonl")
VERIFIERS = (NumberAnswer(), MathAnswer(engine="light"))


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


def tasks_of(shared_data: Path, source: str) -> list[Task]:
    name, _, file = source.partition(":")
    return load_benchmark(f"{name}:{shared_data / file}")[0]


def value_of(task: Task) -> Fraction:
    return Fraction(str(task.reference["answer"]).replace(",", ""))


def written(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else str(float(value))


def right_ways(value: Fraction) -> Iterator[str]:
    """How people write the number."""
    plain = written(value)
    yield plain
    yield f"${plain}"
    yield f"{plain} apples"
    if value.denominator == 1:
        yield f"{value.numerator:,}"
        yield f"{plain}.00"


def wrong_ways(value: Fraction, other: Fraction) -> Iterator[tuple[str, Fraction | None]]:
    """Texts that are another number, with that number, or that are no single number."""
    plain = written(value)
    for wrong in (value + 1, value - 1, -value, value * 10, value / 10, value * 2, value / 2, value * 100, other):
        yield written(wrong), wrong
    yield f"{plain}1", Fraction(f"{plain}1")
    yield f"1{plain}" if value >= 0 else f"-1{plain[1:]}", None
    digits = [index for index, character in enumerate(plain) if character.isdigit()]
    for left, right in itertools.pairwise(digits[:5]):
        swapped = list(plain)
        swapped[left], swapped[right] = plain[right], plain[left]
        yield "".join(swapped), Fraction("".join(swapped))
    yield f"{plain}.5" if value.denominator == 1 else f"{plain}5", Fraction(plain) + Fraction(1, 2)
    for context in LOOKS_EQUAL:
        yield context.format(plain), None
    for context in MULTIPLIED:
        yield context.format(plain), None if value else value


LOOKS_EQUAL = (
    "{} or 7919", "7919 or {}", "{}, 7919", "{}-7919", "{} to 7919", "{} and 7919", "{}:30", "{}.5.2", "minus 7919{}",
    "more than {}", "not {}", "{} + 7919", "7919{}",
)  # fmt: skip
MULTIPLIED = ("{} * 7919", "{}^7919", "{}/7919", "{}e7", "{} million")


@pytest.mark.capability("PI-66")
@pytest.mark.parametrize("verify", VERIFIERS, ids=lambda verify: verify.name)
@pytest.mark.parametrize(("source", "number"), list(zip(SOURCES, (1319, 1000), strict=True)))
def test_every_reference_is_accepted_in_every_form(
    shared_data: Path, source: str, number: int, verify: Verifier
) -> None:
    tasks = tasks_of(shared_data, source)
    refused = [
        (task.id, text)
        for task in tasks
        for way in right_ways(value_of(task))
        for text in (form(way) for form in FORMS.values())
        if not verify(task, said(text)).passed
    ]
    assert len(tasks) == number
    assert refused == []


@pytest.mark.capability("PI-66")
@pytest.mark.parametrize(("verify", "every"), [(VERIFIERS[0], 1), (VERIFIERS[1], 3)], ids=("number", "math"))
@pytest.mark.parametrize(("source", "number"), list(zip(SOURCES, (40_000, 30_000), strict=True)))
def test_no_wrong_number_is_accepted(shared_data: Path, source: str, number: int, verify: Verifier, every: int) -> None:
    """Each task's, or of every third task for the slower verifier; benchmarks/math_answers.py takes them all."""
    tasks = tasks_of(shared_data, source)[::every]
    forms = itertools.cycle(FORMS.values())
    accepted, num_wrong = [], 0
    for task, following in zip(tasks, [*tasks[1:], tasks[0]], strict=True):
        value = value_of(task)
        for text, worth in wrong_ways(value, value_of(following)):
            if worth == value:
                continue  # 0 negated, 11 with its digits swapped
            num_wrong += 1
            answer = next(forms)(text)
            if verify(task, said(answer)).passed:
                accepted.append((task.id, value, text))
    assert num_wrong >= number // every
    assert accepted == []


def test_every_gsm8k_solution_is_accepted_as_it_was_written(shared_data: Path) -> None:
    for task, verify in itertools.product(tasks_of(shared_data, SOURCES[0]), VERIFIERS):
        assert verify(task, said(str(task.reference["solution"]))).passed, task.reference["solution"]
