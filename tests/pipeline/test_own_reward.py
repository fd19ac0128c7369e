"""A user's own reward is audited on the answers of its tasks before anything learns from it."""

import re
from pathlib import Path

import pytest

from strop.cli.init import starter_files
from strop.errors import VerifierError
from strop.pipeline.prepare import audit_verifier
from strop.types import Message, Task
from strop.verifiers import Audit, load_user_verifier

ROOT = Path(__file__).parents[2]
TASKS = [
    Task(
        id=f"t{n}",
        prompt=(Message(role="user", content=f"What is 57 plus {n}?"),),
        reference={"answer": str(57 + n)},
        source=f"tasks.jsonl:{n - 29}",
    )
    for n in range(30, 36)
]


def audited(file: Path, tasks: list[Task]) -> Audit:
    named = f"{file}:score"
    with load_user_verifier(named, timeout_s=30) as verifier:
        return audit_verifier(named, "tasks.jsonl", verifier, tasks)


def reward(folder: Path, body: str) -> Path:
    (folder / "mine.py").write_text(f"def score(completion, **row):\n    {body}\n")
    return folder / "mine.py"


def test_a_reward_that_accepts_everything_is_refused_where_the_tasks_have_answers(tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match="was audited on the tasks' `answer` column") as caught:
        audited(reward(tmp_path, "return 1.0"), TASKS)
    assert "false accept of ''" in caught.value.where
    assert "tasks.jsonl:1 'What is 57 plus 30?'" in caught.value.where
    assert "--unaudited" in caught.value.do
    assert "no test of correctness" in caught.value.do


def test_the_reward_that_the_readme_shows_passes_and_endswith_does_not(tmp_path: Path) -> None:
    shown = re.search(r"```python\n(def score\(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    (tmp_path / "readme.py").write_text(shown[1])
    assert audited(tmp_path / "readme.py", TASKS).is_passed
    with pytest.raises(VerifierError) as caught:
        audited(reward(tmp_path, "return completion.strip().endswith(row['answer'])"), TASKS)
    assert "false accept of '187'" in caught.value.where


def test_the_reward_that_init_writes_is_the_one_of_the_recipes() -> None:
    assert starter_files()["my_rewards.py"] == (ROOT / "recipes" / "my_rewards.py").read_text()


def test_without_answers_nobody_knows_what_a_reward_should_say(tmp_path: Path) -> None:
    bare = [Task(id=task.id, prompt=task.prompt) for task in TASKS]
    found = audited(reward(tmp_path, "return 1.0"), bare)
    assert (found.num_right, found.num_wrong, found.num_unknown) == (0, 0, 5)


def test_the_reward_of_the_sample_recipe_passes() -> None:
    found = audited(ROOT / "recipes" / "my_rewards.py", TASKS)
    assert found.num_right == len(TASKS)
    assert found.num_wrong >= 10 * len(TASKS)
    assert found.num_cheats >= 5 * len(TASKS)
