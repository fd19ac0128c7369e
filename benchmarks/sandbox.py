"""What isolation costs: start-up, latency and throughput of every tier, cold and warm, beside a plain subprocess.

    python benchmarks/sandbox.py [--runs 400] [--rounds 3]

Prints and saves ``benchmarks/results/sandbox.json``. Every run is ``print(sum(range(10)))``. Cold: a sandbox is opened,
runs it once and is closed; warm: the sandbox stays open. A plain subprocess is the same interpreter with ``-I -S`` and
no isolation at all. Throughput is the best of the rounds, with two workers and the number of threads that is named;
the load average beside it says how quiet the machine was.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from strop.files import write_json
from strop.sandbox import TIERS, Limits, Sandbox, Tier, probe
from strop.sandbox.plan import _python

ROOT = Path(__file__).parent.parent
PROGRAM, EXPECTED = "print(sum(range(10)))", b"45\n"
LIMITS = Limits(wall_s=60.0)
NUM_THREADS = (2, 4)


def plain() -> None:
    """One run in a subprocess without isolation."""
    ran = subprocess.run([_python(), "-I", "-S", "-c", PROGRAM], capture_output=True, check=True)
    assert ran.stdout == EXPECTED


def warm(sandbox: Sandbox) -> None:
    """One run in a sandbox that is open."""
    outcome = sandbox.run(PROGRAM, limits=LIMITS)
    assert outcome.stdout == EXPECTED, outcome


def attacked(tier: Tier) -> None:
    """One probe of the tier, done anew."""
    probe([tier], refresh=True)


def seconds(act: Callable[[], None]) -> float:
    """How long it took."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def latency_ms(act: Callable[[], None], runs: int) -> dict[str, float]:
    """Quantiles of the time of one run at a time."""
    found = [1000 * seconds(act) for _ in range(runs)]
    cuts = statistics.quantiles(found, n=20)
    return {"min": round(min(found), 2), "p50": round(cuts[9], 2), "p95": round(cuts[18], 2)}


def at_once(act: Callable[[], None], runs: int, num_threads: int) -> None:
    """All runs, by so many threads."""
    with ThreadPoolExecutor(num_threads) as pool:
        for future in [pool.submit(act) for _ in range(runs)]:
            future.result()


def runs_per_s(act: Callable[[], None], runs: int, rounds: int) -> dict[str, dict[str, float]]:
    """The best throughput by the number of threads, and the load of the machine when it began."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for num_threads in NUM_THREADS:
            load = os.getloadavg()[0]
            taken = seconds(functools.partial(at_once, act, runs, num_threads))
            found = {"runs_per_s": round(runs / taken, 1), "load_average": round(load, 2)}
            key = f"threads_{num_threads}"
            best[key] = max(best.get(key, found), found, key=lambda each: each["runs_per_s"])
    return best


def measure(tier: Tier, runs: int, rounds: int) -> dict[str, Any]:
    """Everything about one tier, or why it cannot be started."""
    (found,) = probe([tier])
    if not found.attacks:
        return {"why": found.why}

    def open_one() -> Sandbox:
        return Sandbox.open(tier, workers=1, allow_unsafe=True)

    def cold() -> None:
        with open_one() as sandbox:
            warm(sandbox)

    out: dict[str, Any] = {"is_sound": found.is_sound, "num_attacks": len(found.attacks)}
    out["open_and_close_ms"] = latency_ms(lambda: open_one().close(), max(runs // 20, 5))
    out["cold_ms"] = latency_ms(cold, max(runs // 20, 5))
    with Sandbox.open(tier, workers=2, allow_unsafe=True) as sandbox:
        warm(sandbox)
        out["warm_ms"] = latency_ms(lambda: warm(sandbox), runs // 2)
        out["warm"] = runs_per_s(lambda: warm(sandbox), runs, rounds)
    return out


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    probed = {tier: seconds(functools.partial(attacked, tier)) for tier in TIERS}
    results: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "probe_s": {tier: round(taken, 3) for tier, taken in probed.items()},
        "plain_subprocess": {
            "ms": latency_ms(plain, given.runs // 2),
            "throughput": runs_per_s(plain, given.runs, given.rounds),
        },
        **{tier: measure(tier, given.runs, given.rounds) for tier in TIERS},
    }
    for name, found in results.items():
        print(name, found)
    write_json(ROOT / "benchmarks" / "results" / "sandbox.json", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
