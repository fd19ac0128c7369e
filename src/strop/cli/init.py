"""``strop init``: a recipe, sample data and a sample reward in the current folder, to be replaced by your own."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from strop import files
from strop.cli import console
from strop.errors import OutputError

RECIPE = """\
# Your own data, your own evaluation, your own reward. Run it with: strop run recipe.toml
# Paths start from this file's folder. `strop show recipe.toml` prints every setting with its default.
name = "my-assistant"
base = "strop:tiny"                       # or a Hugging Face folder, or a hub id

[[stage]]
method = "sft"
data = "data/train.jsonl"                 # rows of prompt and completion, or of messages
validation = "data/validation.jsonl"      # the checkpoint with the lowest loss here is kept
lora = { rank = 16 }
learning_rate = 3e-3                      # high, because the embedded base is tiny
epochs = 2
batch_size = 8

[[stage]]
method = "grpo"
tasks = "data/tasks.jsonl"                # rows of prompt, and whatever columns your reward asks for
verifier = "my_rewards.py:score"
learning_rate = 1e-3
steps = 15
prompts_per_step = 8
max_new_tokens = 24

[gate]
suites = [{ tasks = "data/eval.jsonl", verifier = "my_rewards.py:score", max_new_tokens = 24 }]
thresholds = { "eval.accuracy" = { min = 0.5 } }

[release]
name = "my-assistant"
"""
REWARD = '''\
"""A reward: strop calls it with the prompt, the answer's text, and the columns of the row that it names."""


def score(completion: str, answer: str) -> float:
    """1 if the last word is the right number, a little for any other number, 0 without one."""
    last = completion.split()[-1] if completion.split() else ""
    if last == answer:
        return 1.0
    return 0.1 if last.isdigit() else 0.0
'''


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init", help="Write a recipe, sample data and a sample reward into the current folder.")(init)


def init() -> None:
    """Write the files; refuse if one of them is there."""
    contents = starter_files()
    for name in contents:
        if Path(name).exists():
            raise OutputError(
                f"{name} is already there",
                where=str(Path(name).absolute()),
                why="`strop init` never overwrites",
                do="run it in an empty folder, or remove that file",
            )
    for name, content in contents.items():
        files.write_text(name, content)
        console.say(f"wrote {name}")
    console.say("next: strop check data/train.jsonl, then strop run recipe.toml --dry-run, then strop run recipe.toml")


def starter_files() -> dict[str, str]:
    """What ``strop init`` writes, by relative path."""
    pairs = [(a, b) for a in range(11, 90) for b in range(11, 90) if a + b < 100]
    # a stride that shares no factor with the number of pairs visits them all in a mixed order
    mixed = [pairs[(7 + 97 * index) % len(pairs)] for index in range(len(pairs))]
    train, validation, tasks, evaluation = mixed[:60], mixed[60:90], mixed[90:154], mixed[154:254]
    return {
        "recipe.toml": RECIPE,
        "my_rewards.py": REWARD,
        "data/train.jsonl": _lines("completion", train),
        "data/validation.jsonl": _lines("completion", validation),
        "data/tasks.jsonl": _lines("answer", tasks),
        "data/eval.jsonl": _lines("answer", evaluation),
    }


def _lines(column: str, pairs: list[tuple[int, int]]) -> str:
    worked = column == "completion"
    rows = (
        {"prompt": f"What is {a} plus {b}?", column: f"{a}+{b}={a + b}. Answer: {a + b}" if worked else str(a + b)}
        for a, b in pairs
    )
    return "".join(json.dumps(row) + "\n" for row in rows)
