"""Constrained decoding by numbers: what is accepted and why not, random texts, and what a mask costs beside a step.

    python benchmarks/constraints.py [--data ../shared/data] [--quick]

Prints and saves ``benchmarks/results/constraints.json``. A step is the median time per position of ``TorchSampler`` on
the embedded base with a prompt of 64 tokens and 96 new ones; masks are timed on texts of the schemas accepted, drawn
from random logits with a budget of 256, every row of a batch at its own place in its own schema.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from strop.constraints import CompiledConstraint, Matcher, Vocabulary, apply, fill_batch
from strop.errors import ConstraintError
from strop.files import write_json
from strop.models import Policy
from strop.sampling import TorchSampler
from strop.types import SamplingParams

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from constraint_corpora import judge, maskbench, official_suite, random_texts  # noqa: E402
from constraint_texts import big_vocabulary, compiled, tiny_vocabulary  # noqa: E402

BUDGET = 256


def acceptance(data: Path) -> dict[str, Any]:
    """Schemas accepted, instances judged and excluded, mistakes, and the reasons of the refusals."""
    out: dict[str, Any] = {}
    for name, cases in (("maskbench", maskbench(data)), ("official_suite", official_suite(data))):
        found = judge(cases)
        out[name] = {
            "schemas": found.num_schemas,
            "accepted": found.num_accepted,
            "instances": found.num_instances,
            "excluded": dict(found.excluded),
            "wrong": found.wrong,
            "refusals": found.reasons(),
        }
    return out


def random_outcomes(data: Path, vocabulary: Vocabulary, seeds: int) -> dict[str, Any]:
    """How many random texts finish within 256 tokens, of all schemas and of those that 128 tokens can satisfy."""
    outcomes = list(random_texts(maskbench(data), vocabulary, budget=BUDGET, seeds=seeds))
    small = [finished for _, finished, _, is_small in outcomes if is_small]
    return {
        "texts": len(outcomes),
        "finished": sum(finished for _, finished, _, _ in outcomes),
        "invalid": [[name, *errors] for name, finished, errors, _ in outcomes if finished and errors],
        "unfinished": [[name, *errors] for name, finished, errors, _ in outcomes if not finished],
        "texts_of_small_schemas": len(small),
        "finished_of_small_schemas": sum(small),
    }


def languages_of(data: Path, vocabulary: Vocabulary) -> tuple[list[CompiledConstraint], list[float]]:
    """The schemas accepted that fit the budget, and the milliseconds that compiling each took."""
    found, times = [], []
    for _, schema, _ in maskbench(data):
        start = time.perf_counter()
        try:
            language = compiled({**schema, "$comment": "not yet in the cache"}, vocabulary)
        except ConstraintError:
            continue
        times.append((time.perf_counter() - start) * 1e3)
        if language.min_tokens <= BUDGET:
            found.append(language)
    return found, times


def mask_times(languages: Sequence[CompiledConstraint], batch: int, steps: int) -> list[tuple[float, float]]:
    """[steps] milliseconds of filling and applying a batch's masks, and of taking the tokens drawn."""
    generator = torch.Generator().manual_seed(0)
    supply = cycle(languages)
    rows: list[Matcher] = [language.matcher() for language in islice(supply, batch)]
    vocabulary = languages[0].vocabulary
    times = []
    for _ in range(steps):
        logits = torch.randn(batch, vocabulary.size, generator=generator) * 3
        start = time.perf_counter()
        masked = apply(logits, fill_batch(rows, [BUDGET - row.num_tokens for row in rows]))
        filled = time.perf_counter()
        tokens = torch.multinomial(masked.softmax(-1), 1, generator=generator)[:, 0].tolist()
        drawn = time.perf_counter()
        for row, token in zip(rows, tokens):
            row.consume(token)
        times.append(((filled - start) * 1e3, (time.perf_counter() - drawn) * 1e3))
        rows = [next(supply).matcher() if row.is_finished else row for row in rows]
    return times


def step_ms(batch: int, repeats: int) -> float:
    """Median milliseconds of one decode step of ``TorchSampler`` on the embedded base."""
    sampler = TorchSampler(Policy.load("strop:tiny"))
    words = [[10 + (7 * i + j) % 700 for j in range(64)] for i in range(batch)]
    params = SamplingParams(max_new_tokens=96)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        found = sampler.sample(words, params, seeds=range(batch))
        seconds.append((time.perf_counter() - start) / max(len(one.token_ids) for one in found))
    return statistics.median(seconds[1:]) * 1e3


def latency(data: Path, vocabulary: Vocabulary, quick: bool) -> dict[str, Any]:
    """Mask time per token at batch 1 and 64; the grammars met once before, as in a run that goes on."""
    languages, compile_ms = languages_of(data, vocabulary)
    out: dict[str, Any] = {"compile_ms": _spread(compile_ms), "schemas": len(languages)}
    out["first_meeting_us_per_row"] = _spread([1e3 * (a + b) for a, b in mask_times(languages, 1, 800)])
    for batch in (1, 64):
        mask_times(languages, batch, 120 if quick else 250)
        times = mask_times(languages, batch, 120 if quick else 250)
        out[f"batch_{batch}"] = {
            "mask_us_per_row": _spread([1e3 * a / batch for a, _ in times]),
            "consume_us_per_row": _spread([1e3 * b / batch for _, b in times]),
            "both_ms_per_step": _spread([a + b for a, b in times]),
        }
    return out


def _spread(values: Sequence[float]) -> dict[str, float]:
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {"p50": round(p50, 3), "p90": round(p90, 3), "p99": round(p99, 3), "mean": round(float(np.mean(values)), 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--quick", action="store_true", help="times only, fewer steps")
    options = parser.parse_args()
    result: dict[str, Any] = {"torch_threads": torch.get_num_threads()}
    if not options.quick:
        result |= acceptance(options.data)
        result["random_tiny"] = random_outcomes(options.data, tiny_vocabulary(), seeds=1)
        result["random_8000"] = random_outcomes(options.data, big_vocabulary(), seeds=1)
    result["latency_tiny"] = latency(options.data, tiny_vocabulary(), options.quick)
    result["latency_8000"] = latency(options.data, big_vocabulary(), options.quick)
    for batch in (1, 64):
        step = step_ms(batch, 2 if options.quick else 5)
        both = result["latency_tiny"][f"batch_{batch}"]["both_ms_per_step"]
        result[f"step_batch_{batch}"] = {
            "decode_ms": round(step, 3),
            "share_p50": round(both["p50"] / step, 4),
            "share_mean": round(both["mean"] / step, 4),
        }
    print(json.dumps(result, indent=1, ensure_ascii=False))
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    if not options.quick:
        write_json(folder / "constraints.json", result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
