"""What the chunked head saves: peak memory and time of one forward and backward pass, plain and fused.

``python benchmarks/fused_memory.py`` runs every case in a process of its own and writes
``benchmarks/results/fused_memory.json``. Memory is what the pass adds to the inputs (hidden states and head weight):
the peak resident size during the pass less the resident size before it. Time is the process's own processor time, which
a busy machine stretches less than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "fused_memory.json"
VOCABULARY, HIDDEN, TOKENS = 128 * 1024, 1024, 4096
PATHS = ("plain", "fused")
HEADS = ("trained", "frozen")
GIB = 2**30


def resident_bytes(field: str) -> int:
    """``VmRSS`` now, or ``VmHWM``, the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def measure(path: str, head: str) -> dict[str, float]:
    """One pass of the mean log-probability in float32."""
    import torch
    from torch.nn import functional

    from strop.fused import logprobs_of, token_logprobs
    from strop.models.hardware import keep_freed_memory

    keep_freed_memory()
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, requires_grad=True)
    weight = torch.empty(VOCABULARY, HIDDEN).normal_(std=HIDDEN**-0.5).requires_grad_(head == "trained")
    token_ids = torch.randint(0, VOCABULARY, (TOKENS,))
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, began = resident_bytes("VmRSS"), time.process_time()
    if path == "plain":
        (logprobs,) = logprobs_of(functional.linear(hidden, weight), token_ids, temperature=1.0, entropy=False)
    else:
        (logprobs,) = token_logprobs(hidden, weight, token_ids)
    (-logprobs.mean()).backward()
    seconds = time.process_time() - began
    assert hidden.grad is not None
    return {
        "peak_gib": (resident_bytes("VmHWM") - before) / GIB,
        "cpu_seconds": seconds,
        "nll": -logprobs.mean().item(),
        "hidden_gradient_norm": hidden.grad.norm().item(),
    }


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--only", nargs=2, metavar=("PATH", "HEAD"), help="one case, printed as JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(*arguments.only)))
        return
    cases = {}
    for head in HEADS:
        for path in PATHS:
            command = [sys.executable, __file__, "--only", path, head]
            cases[f"{path}, {head} head"] = json.loads(subprocess.check_output(command, text=True))
    import torch

    threads = os.environ.get("OMP_NUM_THREADS", str(torch.get_num_threads()))
    machine = {"cpu": cpu_model(), "cores": os.cpu_count(), "threads": int(threads), "torch": torch.__version__}
    shape = {"vocabulary": VOCABULARY, "hidden": HIDDEN, "tokens": TOKENS, "dtype": "float32"}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "shape": shape, "cases": cases}, indent=2) + "\n")
    print(f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores; {shape}")
    print(f"{'head':10}{'plain GiB':>12}{'fused GiB':>12}{'ratio':>8}{'plain s':>10}{'fused s':>10}{'ratio':>8}")
    for head in HEADS:
        plain, fused = (cases[f"{path}, {head} head"] for path in PATHS)
        memory, seconds = ([case[key] for case in (plain, fused)] for key in ("peak_gib", "cpu_seconds"))
        print(
            f"{head:10}{memory[0]:12.2f}{memory[1]:12.2f}{memory[1] / memory[0]:8.2f}"
            f"{seconds[0]:10.1f}{seconds[1]:10.1f}{seconds[1] / seconds[0]:8.2f}"
        )


if __name__ == "__main__":
    main()
