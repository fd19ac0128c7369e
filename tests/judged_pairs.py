"""Two models' answers before judges of every kind: fair ones, liars, those that see places or lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scripted_judge import judge_model, material_of, nonce_of
from strop.evals import ItemResult, Metric, SampleResult, SuiteResult
from strop.evals.gating.evidence import BlockingTest
from strop.evals.judging import JudgeEvidence, JudgeResult, judge_suite
from strop.types import Message, Task
from strop.verifiers.anchors import Anchor
from strop.verifiers.judge import PairwiseJudge

GOOD, BAD = "good, and said at some length", "bad"


def fair(first: str, second: str) -> str:
    """Sees nothing but whether an answer says good."""
    return "TIE" if ("good" in first) == ("good" in second) else "FIRST" if "good" in first else "SECOND"


def liar(first: str, second: str) -> str:
    return {"FIRST": "SECOND", "SECOND": "FIRST", "TIE": "TIE"}[fair(first, second)]


def first_of_all(first: str, second: str) -> str:
    return "FIRST"


def longer(first: str, second: str) -> str:
    return "FIRST" if len(first) > len(second) else "SECOND" if len(second) > len(first) else "TIE"


@dataclass
class Mind:
    """What stands behind the judge's name; it may be changed without its digest saying so."""

    says: Callable[[str, str], str]

    def __call__(self, prompt: str) -> str:
        material = material_of(prompt)
        return f"VERDICT {nonce_of(prompt)}: {self.says(material['FIRST'], material['SECOND'])}"


def judge_of(says: Callable[[str, str], str] | Mind) -> PairwiseJudge:
    mind = says if isinstance(says, Mind) else Mind(says)
    return PairwiseJudge(judge=judge_model(mind), criterion="it is good")


def results(texts: Sequence[str], *, model: str = "m", finish: str = "stop", **more: Any) -> SuiteResult:
    """An item a text; accuracy is 1 for all."""
    items = tuple(
        ItemResult(
            id=f"i{number:03}",
            slices={"kind": "even" if number % 2 == 0 else "odd"},
            question=f"question {number}",
            prompt=(Message(role="user", content=f"question {number}"),),
            samples=(
                SampleResult(
                    text=text,
                    finish_reason=finish,
                    state="graded",
                    passed=True,
                    score=1.0,
                    reasons=(),
                    measures={"accuracy": 1.0},
                    num_prompt_tokens=1,
                    num_tokens=1,
                    latency_s=0.1,
                ),
            ),
        )
        for number, text in enumerate(texts)
    )
    settings: dict[str, Any] = {"metrics": {"accuracy": Metric(direction="higher")}, **more}
    digests = {"model": model, "template": "t", "tokenizer": "k", "tools": "o", "verifier": "v", "suite": "s"}
    return SuiteResult(name="finance", digests=digests, params={"temperature": 0.0}, items=items, **settings)


def anchor(number: int, text: str, other: str, label: bool) -> Anchor:
    task = Task(
        id=f"a{number}",
        prompt=(Message(role="user", content=f"anchor {number}"),),
        reference={"answer": other},
    )
    return Anchor(task=task, text=text, label=label)


ANCHORS = tuple(
    anchor(
        n, *((f"good {n}", f"bad {n}, with many words") if n % 2 else (f"bad {n}, with many", f"good {n}")), n % 2 == 1
    )
    for n in range(40)
)
"""People find the good answer better; it is the shorter one."""


def judged(candidate: Sequence[str], baseline: Sequence[str], says: Any, **more: Any) -> JudgeResult:
    mine, other = results(candidate, model="new"), results(baseline, model="old")
    return judge_suite(mine, other, judge_of(says), **{"anchors": ANCHORS, **more})


def outcomes(result: JudgeResult) -> list[str]:
    return [check.outcome for check in JudgeEvidence(result=result).findings() if not isinstance(check, BlockingTest)]


def the_test(result: JudgeResult) -> BlockingTest:
    (found,) = [one for one in JudgeEvidence(result=result).findings() if isinstance(one, BlockingTest)]
    return found
