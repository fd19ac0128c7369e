"""Two models' results made by hand, for the tests of people's judgements."""

from collections.abc import Callable, Sequence

from strop.evals import ItemResult, Metric, SampleResult, SuiteResult
from strop.evals.people import Session
from strop.evals.people.seats import Place
from strop.types import Message

PROMPT = (Message(role="system", content="Stay within the policy."), Message(role="user", content="May I?"))
ASPECTS = ("information_density", "explanation_quality", "high_risk_boundary")


def answer(text: str, finish_reason: str = "stop") -> SampleResult:
    return SampleResult(
        text=text,
        finish_reason=finish_reason,
        state="graded",
        passed=True,
        score=1.0,
        reasons=(),
        measures={"accuracy": 1.0},
        num_prompt_tokens=3,
        num_tokens=4,
        latency_s=0.1,
    )


def results(
    model: str,
    texts: Sequence[str],
    *,
    slices: Callable[[int], dict[str, str]] = lambda i: {"kind": "ab"[i % 2]},
    clusters: Callable[[int], str] = lambda i: "",
    prompt: tuple[Message, ...] = PROMPT,
    suite: str = "s",
    finish_reason: str = "stop",
) -> SuiteResult:
    """Item ``i003`` has the fourth text."""
    digests = {"model": model, "template": "t", "tokenizer": "k", "tools": "o", "index": "", "verifier": "v"}
    return SuiteResult(
        name="people",
        digests={**digests, "suite": suite},
        params={},
        metrics={"accuracy": Metric(direction="higher")},
        items=tuple(
            ItemResult(
                id=f"i{i:03}",
                slices=slices(i),
                question=prompt[-1].content,
                samples=(answer(text, finish_reason),),
                cluster=clusters(i),
                prompt=prompt,
            )
            for i, text in enumerate(texts)
        ),
    )


def two(num_items: int, **settings: object) -> tuple[SuiteResult, SuiteResult]:
    """A candidate (model digest ``c``) and a baseline (``b``) whose answers all differ."""
    return (
        results("c", [f"candidate says {i}" for i in range(num_items)], **settings),  # type: ignore[arg-type]
        results("b", [f"the baseline says {i}" for i in range(num_items)], **settings),  # type: ignore[arg-type]
    )


def judge_as(session: Session, annotator: str, decide: Callable[[Place], str], aspect: str = "none") -> None:
    """Judge everything: ``decide`` says ``candidate``, ``baseline``, ``tie`` or ``cannot`` of a place."""
    for place in session.places(annotator):
        verdict = decide(place)
        session.judge(
            annotator,
            place,
            seat_of(place, verdict),
            dict.fromkeys(ASPECTS, seat_of(place, aspect)),
            reason="both are cut off" if verdict == "cannot" else "",
        )


def seat_of(place: Place, verdict: str) -> str:
    """The seat on which the model sits that a verdict names."""
    if verdict not in ("candidate", "baseline"):
        return verdict
    return "left" if (verdict == "candidate") == place.candidate_is_left else "right"
