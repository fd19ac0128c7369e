"""The embedded base before the gate, again and again: the same weights, other draws of its answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.digests import digest_bytes
from strop.evals import GateConfig, Suite, SuiteResult, evaluate, gate, world_suite
from strop.models import Policy
from strop.sampling import TorchSampler
from strop.statistics import wilson
from strop.types import Completion, Decision, Sampler, SamplingParams
from strop.worlds import get_world

PARAMS = SamplingParams(max_new_tokens=96, temperature=1.0)
NUM_REQUESTS = 300


@dataclass(frozen=True)
class Redrawn:
    """A sampler whose draws are of run ``run``; what is asked of it, its seed too, stays what the gate compares."""

    sampler: Sampler
    run: int

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        """See ``Sampler``."""
        drawn = [int(digest_bytes(f"{seed}/{self.run}".encode())[:15], 16) for seed in seeds]
        return self.sampler.sample(prompts, params, seeds=drawn)


def suites(num_items: int) -> list[Suite]:
    """Finance and arithmetic, ``num_items`` each."""
    return [world_suite(get_world(name), num_tasks=num_items) for name in ("finance", "arithmetic")]


def unchanged_base(
    numbers: range, *, num_items: int = 300, tell: Callable[[Mapping[str, Any]], None] = lambda rows: None
) -> dict[str, Any]:
    """How many of so many runs of one model the gate blocks; all metrics, all slices.

    ``against_the_first``: all against one run, whose luck they share. ``against_the_last``: each against the run before
    it, as a model that is evaluated again and again. ``numbers`` are the runs, from 1; ``tell`` is given the counts
    after every candidate.
    """
    policy = Policy.load("strop:tiny")
    sampler, asked, start = TorchSampler(policy), suites(num_items), time.monotonic()

    def run(number: int) -> dict[str, SuiteResult]:
        return {
            suite.name: evaluate(
                Redrawn(sampler, number),
                policy.template,
                suite,
                model_digest="strop:tiny",
                params=PARAMS,
                num_requests=NUM_REQUESTS,
            )
            for suite in asked
        }

    first, last = run(0), run(numbers.start - 1)
    found: dict[str, Any] = {}
    decisions: dict[str, list[Decision]] = {"against_the_first": [], "against_the_last": []}
    for number in numbers:
        candidate = run(number)
        for kind, baseline in (("against_the_first", first), ("against_the_last", last)):
            decisions[kind].append(gate(candidate, baseline, GateConfig()))
        last = candidate
        found = {kind: counted(made) for kind, made in decisions.items()}
        found |= {"items_a_suite": num_items, "seconds": round(time.monotonic() - start)}
        tell(found)
    return found


def counted(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Outcomes, the share blocked with Wilson's 95 % interval, and the checks that blocked."""
    outcomes = Counter(decision.outcome for decision in decisions)
    interval = wilson(outcomes["BLOCK"], len(decisions))
    return {
        "candidates": len(decisions),
        **{outcome: outcomes[outcome] for outcome in ("PASS", "BLOCK", "INSUFFICIENT")},
        "blocked_low": interval.low,
        "blocked_high": interval.high,
        "checks_that_blocked": sorted(
            check.name for decision in decisions for check in decision.checks if check.outcome == "BLOCK"
        ),
    }
