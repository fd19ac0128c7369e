"""How often each way of judging mathematics is wrong: hand-written pairs, real references, wrong numbers; and speed.

python benchmarks/math_answers.py --data FOLDER [--json FILE]

FOLDER holds gsm8k/test.jsonl and math/svamp.jsonl. The pairs and the wrong numbers are those of tests/verifiers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from strop.files import write_json
from strop.statistics import wilson
from strop.types import Completion, Task, Verifier
from strop.verifiers import MathAnswer, NumberAnswer
from strop.verifiers.mathematics import math_verify_version

TESTS = Path(__file__).parent.parent / "tests" / "verifiers"
ENGINES = ("light", "math-verify", "auto")


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


def read_pairs(name: str) -> list[tuple[str, str, bool]]:
    """(reference, answer, same) of a file of pairs."""
    lines = (TESTS / name).read_text().splitlines()
    split = [(line[2:].split(" @ "), line[0] == "=") for line in lines if line[:2] in ("= ", "! ")]
    return [(reference, answer, is_same) for (reference, answer), is_same in split]


def judge_pairs(name: str, engine: Any) -> dict[str, Any]:
    """Counts, rates with their 95 % intervals over what was decided, and every case that went wrong."""
    verify = MathAnswer(engine=engine, timeout_s=30)
    counts: Counter[str] = Counter()
    wrong = []
    start = time.perf_counter()
    for reference, answer, is_same in read_pairs(name):
        task = Task(id="pair", prompt=(), reference={"answer": reference})
        verdict = verify(task, said(f"\\boxed{{{answer}}}"))
        kind = "same" if is_same else "different"
        outcome = "undecided" if verdict.score is None else "accepted" if verdict.passed else "rejected"
        counts[f"{kind}_{outcome}"] += 1
        if outcome == "undecided" or (outcome == "accepted") != is_same:
            wrong.append(f"{reference} @ {answer}: {kind}, {outcome}")
    seconds = time.perf_counter() - start
    false_reject = (counts["same_rejected"], counts["same_rejected"] + counts["same_accepted"])
    false_accept = (counts["different_accepted"], counts["different_accepted"] + counts["different_rejected"])
    rates = {}
    for label, (k, n) in (("false_reject", false_reject), ("false_accept", false_accept)):
        interval = wilson(k, n)
        rates[label] = {"rate": k / n, "low": interval.low, "high": interval.high}
    return {**counts, **rates, "wrong_or_undecided": wrong, "ms_per_pair": 1000 * seconds / sum(counts.values())}


def judge_numbers(data: Path, source: str, verify: Verifier) -> dict[str, Any]:
    """Real references in every form, and their mutations, counted."""
    sys.path.insert(0, str(TESTS))
    import test_wrong_numbers as numbers

    tasks = numbers.tasks_of(data, source)
    forms = list(numbers.FORMS.values())
    right = [
        verify(task, said(form(way))).passed
        for task in tasks
        for way in numbers.right_ways(numbers.value_of(task))
        for form in forms
    ]
    start, num_wrong, accepted, turn = time.perf_counter(), 0, 0, itertools.cycle(forms)
    for task, following in zip(tasks, [*tasks[1:], tasks[0]], strict=True):
        value: Fraction = numbers.value_of(task)
        for text, worth in numbers.wrong_ways(value, numbers.value_of(following)):
            if worth != value:
                num_wrong += 1
                accepted += verify(task, said(next(turn)(text))).passed
    seconds = time.perf_counter() - start
    return {
        "tasks": len(tasks),
        "right": len(right),
        "right_rejected": right.count(False),
        "wrong": num_wrong,
        "wrong_accepted": accepted,
        "wrong_accepted_at_most": wilson(accepted, num_wrong).high,
        "us_per_answer": 1e6 * seconds / num_wrong,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"math_verify": math_verify_version(), "pairs": {}, "numbers": {}}
    for name, engine in itertools.product(("math_pairs.txt", "math_pairs_fresh.txt"), ENGINES):
        found["pairs"][f"{name} {engine}"] = judge_pairs(name, engine)
    for source in ("gsm8k:gsm8k/test.jsonl", "svamp:math/svamp.jsonl"):
        for verify in (NumberAnswer(), MathAnswer(engine="light")):
            found["numbers"][f"{source} {verify.name}"] = judge_numbers(arguments.data, source, verify)
    if arguments.json:
        kept = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
        write_json(arguments.json, {**kept, **found})  # first_contact is kept: it cannot be measured again
    for label, row in [*found["pairs"].items(), *found["numbers"].items()]:
        print(label, {key: value for key, value in row.items() if key != "wrong_or_undecided"})


if __name__ == "__main__":
    main()
