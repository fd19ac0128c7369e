"""A stage small enough for a test that unlearns what a guard watches: a model taught to say one word, and another one.

Taught, the two-layer model answers ``fine`` to everything; the stage teaches it ``b`` at a rate that destroys that.
"""

import json
from pathlib import Path
from typing import Any

from small_run import run
from strop.types import Completion, Task, Verdict

SCORE = "def score(completion):\n    return float('fine' in completion)\n"
WORDS = ("sales", "legal", "audit", "fleet", "rent", "tax")


class Fragile:
    """A verifier that can judge only answers with the word; of others it says that it could not."""

    name = digest = "fragile"
    is_isolated = True

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        if "fine" in completion.text:
            return Verdict(score=1.0, passed=True)
        return Verdict(score=None, passed=False, state="error", reasons=("lost",))


def write_guarded_files(folder: Path) -> None:
    """What is taught first, what destroys it, what leaves it, and the suite that a guard asks."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = {"good": "fine", "bad": "b", "calm": "fine"}
    rows = {
        name: [{"prompt": f"Say {word} {n}.", "completion": answer} for word in WORDS for n in (1, 2)]
        for name, answer in answers.items()
    }
    rows["eval"] = [{"prompt": f"Tell {word} {n}."} for word in WORDS for n in range(4)]
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "fine.py").write_text(SCORE)


def teach(model: Path, folder: Path) -> Path:
    """The folder of a model that answers ``fine``."""
    stage = {"method": "sft", "data": "good.jsonl", "batch_size": 4, "steps": 30, "learning_rate": 0.01}
    result = run({"name": "teach", "base": str(model), "stage": [stage]}, folder, folder / "taught")
    return result.stages[0].folder / "model"


def guard(action: str = "roll_back", **settings: Any) -> dict[str, Any]:
    """A guard's table: 24 items, a look every two steps."""
    suite = {"tasks": "eval.jsonl", "verifier": "fine.py:score", "max_new_tokens": 6, "name": "fine"}
    return {"suite": suite, "every": 2, "action": action, **settings}


def guarded_tables(base: Path, *guards: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """A recipe of one stage of eight steps on what destroys, a checkpoint every three, under ``guards``."""
    stage = {"method": "sft", "data": "bad.jsonl", "batch_size": 4, "steps": 8, "learning_rate": 0.01}
    stage |= {"schedule": "constant", "warmup": 0.0, "checkpoint_every": 3, **settings}
    return {"name": "guarded", "base": str(base), "stage": [{**stage, "guard": list(guards)}]}
