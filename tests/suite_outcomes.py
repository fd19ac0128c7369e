"""Suite results made by hand, for the tests of gates and reports."""

from collections.abc import Mapping, Sequence

from strop.evals import ItemResult, Metric, SampleResult, SuiteResult

DIGESTS = {"model": "m", "template": "t", "tools": "o", "verifier": "v", "suite": "s"}
PARAMS = {"temperature": 0.0, "seed": 0, "samples_per_task": 1}


def sample(
    state: str = "graded", latency_s: float = 0.5, cost: float | None = None, **measures: float | None
) -> SampleResult:
    return SampleResult(
        text="x",
        finish_reason="stop",
        state=state,
        passed=measures.get("accuracy") == 1.0,
        score=measures.get("accuracy") if state == "graded" else None,
        reasons=(),
        measures=measures,
        num_prompt_tokens=10,
        num_tokens=5,
        latency_s=latency_s,
        cost=cost,
    )


def result(
    values: Sequence[float | None] = (),
    *,
    name: str = "finance",
    metric: str = "accuracy",
    direction: str = "higher",
    slices: Sequence[str] | None = None,
    items: Sequence[ItemResult] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    **digests: str,
) -> SuiteResult:
    """One item a value; ``slices[i]`` is item i's ``kind``."""
    made = [
        ItemResult(
            id=f"i{i:04}",
            slices={} if slices is None else {"kind": slices[i]},
            question="q",
            samples=(sample(**{metric: value}),),
        )
        for i, value in enumerate(values)
    ]
    return SuiteResult(
        name=name,
        digests={**DIGESTS, **digests},
        params=PARAMS,
        metrics=metrics or {metric: Metric(direction=direction)},  # type: ignore[arg-type]
        items=tuple(items if items is not None else made),
    )


def ones(num_right: int, num_items: int) -> list[float]:
    """``num_right`` ones, then zeros."""
    return [1.0] * num_right + [0.0] * (num_items - num_right)
