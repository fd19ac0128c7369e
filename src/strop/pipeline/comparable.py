"""Whether a model's answers to a gate's suites could be held against results that are there already."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from strop.errors import MismatchError

if TYPE_CHECKING:
    from strop.evals import SuiteResult
    from strop.pipeline.evaluation import SuiteRun

_AGAIN = "evaluate the candidate anew: name its model in place of its results"


def require_comparable(suites: Sequence[SuiteRun], candidate: Mapping[str, SuiteResult]) -> None:
    """Refuse to ask the baseline what the candidate was not asked, before it is. Raises: MismatchError."""
    asked = {run.suite.name: run for run in suites}
    for name in sorted(asked.keys() ^ candidate.keys()):
        who, other = ("candidate", "configuration") if name in asked else ("configuration", "candidate")
        has = {"candidate": "has no results of it", "configuration": "does not ask it"}[who]
        does = {"candidate": "has results of it", "configuration": "asks it"}[other]
        raise MismatchError(
            f"the baseline cannot be compared on suite {name}",
            why=f"the {who} {has}, and the {other} {does}",
            do=f"{_AGAIN}; or name the same suites in `suites`",
        )
    for name, run in asked.items():
        _require_same_items(run, candidate[name])
        _require_same_asking(run, candidate[name])


def _require_same_items(run: SuiteRun, result: SuiteResult) -> None:
    asked, there = [task.id for task in run.suite.tasks], [item.id for item in result.items]
    if set(asked) == set(there):
        return
    why = f"the candidate has {len(there)} items, the configuration asks {len(asked)}"
    do = f"{_AGAIN}; or ask the same items"
    if len(asked) != len(there) and (asked[: len(there)] == there or there[: len(asked)] == asked):
        do = f'set limit = {len(there)} for the suite in `suites`: {{ tasks = "…", limit = {len(there)} }}; or {_AGAIN}'
    elif len(asked) == len(there):
        why = f"both have {len(asked)} items, and {len(set(asked) - set(there))} of them are others"
    raise MismatchError(f"the baseline cannot be compared on suite {run.suite.name}", why=why, do=do)


def _require_same_asking(run: SuiteRun, result: SuiteResult) -> None:
    params = {**json.loads(json.dumps(asdict(run.params))), "samples_per_task": run.samples_per_task}
    if dict(result.params) != params:
        keys = [key for key in {**params, **result.params} if result.params.get(key) != params.get(key)]
        told = ", ".join(f"{key} {result.params.get(key)} and {params.get(key)}" for key in keys)
        raise MismatchError(
            f"the baseline cannot be compared on suite {run.suite.name}",
            why=f"the candidate was sampled otherwise than the configuration asks: {told}",
            do=f"set the same in `suites`; or {_AGAIN}",
        )
    if result.digests["suite"] != run.suite.digest or result.digests["verifier"] != run.suite.verifier.digest:
        raise MismatchError(
            f"the baseline cannot be compared on suite {run.suite.name}",
            why="its tasks, verifier or metrics are others now than when the candidate was evaluated",
            do=_AGAIN,
        )
