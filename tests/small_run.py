"""A three-stage run small enough for a test: a random two-layer model, its own files, a reward of two lines."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from strop.pipeline.evaluation import load_suites
from strop.pipeline.prepare import prepare
from strop.pipeline.reading import parse_recipe
from strop.pipeline.run import RunResult, run_prepared
from strop.pipeline.workspace import Workspace

REWARD = "def score(completion):\n    return len(completion) % 2\n"


def write_files(folder: Path) -> None:
    """Conversations, pairs, tasks, an evaluation and a reward."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["sales", "legal", "audit", "fleet", "rent", "tax"]
    sft = [{"prompt": f"What is {w} {n}?", "completion": f"{w} is {n}."} for n in (1, 2) for w in words]
    dpo = [{"prompt": f"What is {w}?", "chosen": f"{w} is fine.", "rejected": "No."} for w in words]
    tasks = [{"prompt": f"Say {w}."} for w in words]
    asked = [{"prompt": f"Name {w}."} for w in words]  # held out: the gate blocks what was trained on
    rows = {"sft": sft, "held_out": sft[:4], "dpo": dpo, "tasks": tasks, "eval": asked}
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "reward.py").write_text(REWARD)


def tables(model: Path) -> dict[str, Any]:
    """The recipe's tables: 4 + 3 + 3 steps, a checkpoint every 2."""
    shared = {"checkpoint_every": 2, "learning_rate": 0.01}
    sft = {"method": "sft", "data": "sft.jsonl", "batch_size": 4, "steps": 4, "lora": {"rank": 2}, **shared}
    dpo = {"method": "dpo", "data": "dpo.jsonl", "batch_size": 2, "steps": 3, **shared}
    grpo = {"method": "grpo", "tasks": "tasks.jsonl", "verifier": "reward.py:score", "steps": 3, **shared}
    grpo |= {"group_size": 2, "prompts_per_step": 2, "max_new_tokens": 6}
    suite = {"tasks": "eval.jsonl", "verifier": "reward.py:score", "max_new_tokens": 6}
    return {
        "name": "small",
        "base": str(model),
        "stage": [sft, dpo, grpo],
        "gate": {"suites": [suite], "min_items": 2, "min_group_items": 2, "max_drop": {"eval.accuracy": 0.99}},
        "release": {"name": "small"},
    }


def run(
    settings: Mapping[str, Any],
    root: Path,
    home: Path,
    *,
    output: Path | None = None,
    progress: Callable[..., None] = lambda *told: None,
) -> RunResult:
    """Run the recipe in this process."""
    workspace = Workspace(home=home, root=root)
    recipe = parse_recipe(settings)
    prepared = prepare(recipe, workspace)
    suites = load_suites(recipe.gate.suites, workspace, seed=recipe.seed) if recipe.gate else ()
    return run_prepared(prepared, workspace, suites=suites, output=output, progress=progress)


def digests(result: RunResult) -> list[str]:
    """Of each stage's model."""
    return [stage.record["output"]["model_digest"] for stage in result.stages]
