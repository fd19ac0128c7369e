"""The examples run."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
TOOLS = Path(__file__).parent.parent / "docs" / "tools.md"


@pytest.mark.capability("IM-14")
def test_the_loop_of_your_own_trains_and_answers() -> None:
    answers = runpy.run_path(str(EXAMPLES / "own_loop.py"))["main"](3)
    assert answers[0].role == "assistant"


def test_the_example_of_tools_runs_as_it_is_written() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", TOOLS.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile("\n".join(blocks), str(TOOLS), "exec"), names)
    assert [names[one].state for one in ("allowed", "denied", "exhausted")] == ["ok", "denied", "exhausted"]
    assert names["right"].grounded == 1.0
    assert names["turns"][0].role == "assistant"
