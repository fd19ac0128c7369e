"""What a base can do before any post-training: the table of its card, over three seeds of held-out tasks.

python benchmarks/base_abilities.py [FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from strop.files import write_json
from strop.models import Policy
from strop.rollouts import roll_out
from strop.sampling import TorchSampler
from strop.statistics import pass_at_k
from strop.types import Rollout, SamplingParams
from strop.worlds import get_world, world_names

SEEDS = (0, 1, 2)


def rollouts(
    policy: Policy, world_name: str, num_tasks: int, seed: int, temperature: float, samples: int, **dial: int
) -> list[Rollout]:
    """``samples`` judged answers to each of ``num_tasks`` held-out tasks."""
    world = get_world(world_name)
    return roll_out(
        TorchSampler(policy),
        policy.template,
        world.tasks("test", num_tasks, seed, **dial),
        world.verifier,
        SamplingParams(max_new_tokens=96, temperature=temperature),
        samples_per_task=samples,
        seed=seed,
    )


def pass_rates(found: Sequence[Rollout], samples: int) -> dict[str, float]:
    """pass@k for the powers of two up to ``samples``, and the share of answers that were cut off."""
    counts = [
        sum(rollout.verdict.passed for rollout in found[start : start + samples])
        for start in range(0, len(found), samples)
    ]
    ks = [2**power for power in range(samples.bit_length())]
    rates = {f"pass@{k}": statistics.mean(pass_at_k(samples, count, k) for count in counts) for k in ks}
    return {**rates, "truncated": statistics.mean(r.completion.finish_reason == "length" for r in found)}


def arithmetic(policy: Policy, seed: int) -> dict[str, float]:
    """Greedy accuracy and pass@k at temperature 1 on the default dial, and pass@1 along the dial."""
    greedy = pass_rates(rollouts(policy, "arithmetic", 500, seed, 0.0, 1), 1)["pass@1"]
    values = {"greedy": greedy, **pass_rates(rollouts(policy, "arithmetic", 500, seed, 1.0, 16), 16)}
    for steps in (1, 2, 4, 5):
        dialled = rollouts(policy, "arithmetic", 250, seed, 1.0, 2, steps=steps)
        values[f"pass@1 with {steps} steps"] = pass_rates(dialled, 2)["pass@1"]
    return {f"arithmetic {name}": value for name, value in values.items()}


def finance(policy: Policy, seed: int) -> dict[str, float]:
    """Every metric of the finance world, greedy."""
    world = get_world("finance")
    found = rollouts(policy, "finance", 600, seed, 0.0, 1)
    measures = [world.measure(rollout.task, rollout.completion, rollout.verdict) for rollout in found]
    values = {}
    for name in world.metrics:
        defined = [float(value) for measure in measures if (value := measure[name]) is not None]
        if defined:
            values[f"finance {name}"] = statistics.mean(defined)
    return values


def dial(policy: Policy, seed: int) -> dict[str, float]:
    """Greedy pass rate at every level of every world, from the easiest to the hardest."""
    values = {}
    for name in world_names():
        for number, level in enumerate(get_world(name).levels):
            found = rollouts(policy, name, 200, seed, 0.0, 1, **level)
            values[f"{name} level {number}"] = pass_rates(found, 1)["pass@1"]
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="strop:tiny")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    options = parser.parse_args()
    policy = Policy.load(options.folder)
    runs = [
        {**arithmetic(policy, seed), **finance(policy, seed), **dial(policy, seed)} for seed in SEEDS[: options.seeds]
    ]
    table = {}
    for name in runs[0]:
        values = [run[name] for run in runs if name in run]
        table[name] = {"mean": statistics.mean(values), "min": min(values), "max": max(values)}
        print(f"{name:36} {table[name]['mean']:6.3f}  [{min(values):.3f}, {max(values):.3f}]")
    if options.json:
        write_json(options.json, table)


if __name__ == "__main__":
    main()
