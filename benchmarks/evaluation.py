"""What an evaluation costs beside sampling: a 2,000-item suite on the embedded base, full, resumed and cached.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py [--items 2000] [--max-new-tokens 48]

Sampling is timed around the sampler's own calls; everything else (reading the suite, rendering prompts, judging,
keeping, the summary with all slices, saving) is overhead. Writes benchmarks/results/evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from strop.digests import digest_folder
from strop.evals import Suite, evaluate, world_suite
from strop.models import Policy
from strop.models.names import local_folder
from strop.sampling import TorchSampler
from strop.types import Completion, SamplingParams
from strop.worlds import get_world

RESULTS = Path(__file__).parent / "results" / "evaluation.json"


class Timed:
    """A sampler that knows how long it took."""

    def __init__(self, sampler: TorchSampler) -> None:
        self.sampler, self.seconds, self.num_prompts = sampler, 0.0, 0

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        began = time.perf_counter()
        found = self.sampler.sample(prompts, params, seeds=seeds)
        self.seconds += time.perf_counter() - began
        self.num_prompts += len(prompts)
        return found


def measure(
    name: str, suite: Suite, policy: Policy, digest: str, params: SamplingParams, folder: Path
) -> dict[str, Any]:
    """Wall and overhead of one evaluation, and of saving its result with every slice's interval."""
    timed = Timed(TorchSampler(policy))
    began = time.perf_counter()
    result = evaluate(timed, policy.template, suite, model_digest=digest, params=params, folder=folder)
    evaluated = time.perf_counter()
    result.save(folder / "saved")
    saved = time.perf_counter()
    overhead = saved - began - timed.seconds
    row = {
        "what": name,
        "items": len(suite.tasks),
        "asked": timed.num_prompts,
        "wall_s": round(saved - began, 3),
        "sampling_s": round(timed.seconds, 3),
        "saving_s": round(saved - evaluated, 3),
        "overhead_ms_an_item": round(1000 * overhead / len(suite.tasks), 3),
        "accuracy": result.rate("accuracy").value,
        "digest": result.digest[:12],
    }
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--max-new-tokens", type=int, default=48)
    settings = parser.parse_args()
    folder = local_folder("strop:tiny")
    policy, digest = Policy.load("strop:tiny"), digest_folder(folder)
    params = SamplingParams(max_new_tokens=settings.max_new_tokens, temperature=0.0)
    rows = []
    for world in ("finance", "arithmetic"):
        suite = world_suite(get_world(world), num_tasks=settings.items)
        half = replace(suite, tasks=suite.tasks[: settings.items // 2])
        with tempfile.TemporaryDirectory() as place:
            rows.append({"world": world, **measure("first half", half, policy, digest, params, Path(place))})
            rows.append({"world": world, **measure("resumed to all", suite, policy, digest, params, Path(place))})
            rows.append({"world": world, **measure("cached", suite, policy, digest, params, Path(place))})
        with tempfile.TemporaryDirectory() as place:
            rows.append({"world": world, **measure("full", suite, policy, digest, params, Path(place))})
    load = os.getloadavg()[0]
    RESULTS.write_text(json.dumps({"settings": vars(settings), "load_at_end": load, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
