"""What an evaluation took: tokens, money where there is a price, and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from strop.evals.metrics import Price
from strop.evals.results import SampleResult, SuiteResult
from strop.types import Progress


def cost_of(sample: SampleResult, price: Price) -> float:
    """Of one answer, in the price's currency."""
    return price.cost(
        num_prompt_tokens=sample.num_prompt_tokens,
        num_tokens=sample.num_tokens,
        num_calls=sample.text.count("<tool_call>"),
    )


@dataclass(kw_only=True)
class Tally:
    """Counts answers as they come and tells ``progress``."""

    suite: str
    total: int
    price: Price | None
    progress: Progress | None
    num_done: int = 0
    num_asked: int = 0
    """Of those, the ones that were asked now and not taken from the store."""
    num_graded: int = 0
    num_passed: int = 0
    cost: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def add(self, samples: Iterable[SampleResult], *, num_asked: int) -> None:
        """Count more answers, ``num_asked`` of them new, and tell."""
        for sample in samples:
            self.num_done += 1
            self.num_graded += sample.is_graded
            self.num_passed += sample.passed and sample.is_graded
            self.cost += cost_of(sample, self.price) if self.price is not None else 0.0
        self.num_asked += num_asked
        if self.progress is None or not self.num_done:
            return
        metrics = {"passed": self.num_passed / self.num_graded} if self.num_graded else {}
        seconds = time.monotonic() - self.began
        if self.num_asked and seconds > 0:
            metrics["items_per_s"] = self.num_asked / seconds
        if self.price is not None:
            metrics["cost"] = self.cost
        self.progress(f"evaluate {self.suite}", self.num_done, self.total, metrics)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What all answers of a suite took."""

    num_answers: int
    num_prompt_tokens: int
    num_tokens: int
    cost: float | None
    """None without a price."""

    def told(self) -> str:
        """One line for people."""
        line = f"{self.num_answers:,} answers, {self.num_prompt_tokens:,} prompt + {self.num_tokens:,} answer tokens"
        if self.cost is None or not self.num_answers:
            return line
        return f"{line}, cost {self.cost:.4g} ({self.cost / self.num_answers:.3g} a request)"


def spent(result: SuiteResult) -> Spent:
    """The sums over all answers, cached or not: what it would take to ask everything anew."""
    samples = list(result.samples)
    costs = [sample.cost for sample in samples if sample.cost is not None]
    return Spent(
        num_answers=len(samples),
        num_prompt_tokens=sum(sample.num_prompt_tokens for sample in samples),
        num_tokens=sum(sample.num_tokens for sample in samples),
        cost=sum(costs) if samples and len(costs) == len(samples) else None,
    )
