"""The examples run: the scripts, and every page that shows Python, as it is written."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TOOLS = ROOT / "docs" / "tools.md"
PAGES = sorted(page for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if "```python" in page.read_text())


def blocks(page: Path) -> str:
    """All Python of a page, in order."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.capability("IM-14")
def test_the_loop_of_your_own_trains_and_answers() -> None:
    answers = runpy.run_path(str(EXAMPLES / "own_loop.py"))["main"](3)
    assert answers[0].role == "assistant"


def test_the_example_of_tools_says_what_the_page_says() -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks(TOOLS), str(TOOLS), "exec"), names)
    assert [names[one].state for one in ("allowed", "denied", "exhausted")] == ["ok", "denied", "exhausted"]
    assert names["right"].grounded == 1.0
    assert names["turns"][0].role == "assistant"


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_python_of_a_page_runs_as_it_is_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": str(n)}]}
        for n in range(32)
    ]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    exec(compile(blocks(page), str(page), "exec"), {"__name__": page.stem})
