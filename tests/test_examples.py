"""The examples run."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.capability("IM-14")
def test_the_loop_of_your_own_trains_and_answers() -> None:
    answers = runpy.run_path(str(EXAMPLES / "own_loop.py"))["main"](3)
    assert answers[0].role == "assistant"
