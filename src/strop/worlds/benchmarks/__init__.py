"""Published benchmarks by name, ``NAME:path`` wherever tasks are named; none of their data is shipped."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from strop.errors import RecipeError
from strop.types import Task, Verifier
from strop.worlds.benchmarks.aime import AIME, load_aime
from strop.worlds.benchmarks.benchmark import Benchmark
from strop.worlds.benchmarks.bfcl import BFCL, load_bfcl
from strop.worlds.benchmarks.gsm8k import GSM8K, load_gsm8k
from strop.worlds.benchmarks.humaneval import HUMANEVAL, load_humaneval
from strop.worlds.benchmarks.math import MATH, load_math
from strop.worlds.benchmarks.mbpp import MBPP, load_mbpp
from strop.worlds.benchmarks.minif2f import MINIF2F, load_minif2f
from strop.worlds.benchmarks.svamp import SVAMP, load_svamp

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "benchmark_of",
    "load_aime",
    "load_benchmark",
    "load_bfcl",
    "load_gsm8k",
    "load_humaneval",
    "load_math",
    "load_mbpp",
    "load_minif2f",
    "load_svamp",
]

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        GSM8K,
        SVAMP,
        MATH,
        AIME,
        BFCL,
        HUMANEVAL,
        MBPP,
        MINIF2F,
    )
}


def benchmark_of(source: str) -> Benchmark | None:
    """The benchmark that a source such as ``gsm8k:test.jsonl`` names; None if it names none."""
    name, colon, _ = source.partition(":")
    return BENCHMARKS.get(name) if colon else None


def load_benchmark(source: str, *, split: str = "test", limit: int | None = None) -> tuple[list[Task], Verifier]:
    """The tasks of ``gsm8k:test.jsonl`` and their verifier, together so that they cannot be mismatched.

    What follows the name is a file, a folder or a dataset on the hub; ``split`` chooses among several files of a
    folder. Raises: RecipeError naming the nearest benchmark; DataError for the file.
    """
    benchmark = benchmark_of(source)
    name, _, path = source.partition(":")
    if benchmark is None or not path:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1)
        raise RecipeError(
            f"`{source}` names no benchmark",
            why="a benchmark is its name, a colon and a file",
            do=f"write {near[0] if near else 'gsm8k'}:test.jsonl; known: {', '.join(BENCHMARKS)}",
        )
    return benchmark.load(path, split=split, limit=limit), benchmark.verifier()
