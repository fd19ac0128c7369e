"""Runs a small recipe in forked children and kills each at a random moment; prints one JSON line at the end.

Arguments: the model, the folder of the files, the number of kills, and `guarded` for the recipe under a guard.

A process of its own, because the children are forked from it: everything is imported once, nothing is computed before.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import peft  # noqa: F401  imported before the fork, so that no child pays for it
import torch
import transformers

from guarded_run import guard, guarded_tables
from small_run import digests, run, tables
from strop.data import preflight  # noqa: F401
from strop.models import Policy  # noqa: F401
from strop.sampling import TorchSampler  # noqa: F401
from strop.training import train  # noqa: F401


def attempt(model: Path, root: Path, home: Path, journal: Path) -> None:
    """A whole run; every step that it takes is one line of the journal."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()

    def note(label: str, step: float, total: float, metrics: object) -> None:
        with open(journal, "a") as file:
            file.write(json.dumps([label, step]) + "\n")

    is_guarded = sys.argv[4:] == ["guarded"]
    settings = guarded_tables(model, guard("roll_back")) if is_guarded else tables(model)
    result = run(settings, root, home, output=home / "out", progress=note)
    data = [stage.record["data"]["digest"] for stage in result.stages]
    journals = [stage.folder / "guards.jsonl" for stage in result.stages]
    looks = [journal.read_text() for journal in journals if journal.exists()]
    (home / "result.json").write_text(json.dumps({"models": digests(result), "data": data, "looks": looks}))


def spawn(*arguments: Path) -> int:
    """The process id of a child that runs ``attempt``."""
    child = os.fork()
    if child:
        return child
    try:
        attempt(*arguments)
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def main() -> None:
    model, root, num_kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    began = time.monotonic()
    _, status = os.waitpid(spawn(model, root, root / "calm", root / "calm.jsonl"), 0)
    assert status == 0
    duration = time.monotonic() - began
    rng, killed, number = random.Random(0), 0, 0
    while killed < num_kills:
        home = root / f"storm-{number // 4}"  # a fresh home now and then, so that early stages are hit as well
        child = spawn(model, root, home, home.with_suffix(f".{number}.jsonl"))
        time.sleep(rng.uniform(0, duration * 0.6))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        number += 1
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
        assert number < 5 * num_kills
    homes = sorted({f"storm-{index // 4}" for index in range(number)})
    for home in homes:
        _, status = os.waitpid(spawn(model, root, root / home, root / f"{home}.last.jsonl"), 0)
        assert status == 0
    found = {home: json.loads((root / home / "result.json").read_text()) for home in ["calm", *homes]}
    print(json.dumps({"killed": killed, "homes": found}))


if __name__ == "__main__":
    main()
