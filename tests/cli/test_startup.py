"""Help and validation are quick: they never import torch."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parent.parent.parent / "recipes" / "finance_assistant.toml"
PROGRAM = """
import sys
sys.argv = ["strop", *{arguments!r}]
from strop.cli import main
try:
    main()
except SystemExit as ended:
    assert (ended.code or 0) == {code}, ended.code
heavy = {{"torch", "transformers", "peft", "datasets", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["sft", "--help"], 0),
        (["show", str(RECIPE)], 0),
        (["explain", "grpo"], 0),
        (["run", "missing.toml"], 2),
        (["run", str(RECIPE), "--set", "stage.0.lerning_rate=1"], 2),
        (["sft", "a.jsonl", "--steps", "1", "--epochs", "1"], 2),
        (["cache", "list"], 0),
    ],
)
def test_help_and_validation_import_no_torch(arguments: list[str], code: int, tmp_path: Path) -> None:
    program = PROGRAM.format(arguments=arguments, code=code)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
