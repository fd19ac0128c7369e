"""What can be known of a gate's configuration is told before any model is asked."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from strop.errors import RecipeError
from strop.evals import parse_gate_config, task_suite
from strop.evals.gating.beforehand import check_beforehand
from strop.evals.suite import Suite
from strop.pipeline.evaluation import SuiteRun, check_suite_names, load_suites
from strop.pipeline.gate_file import read_gate_file
from strop.pipeline.workspace import Workspace
from strop.types import Completion, Message, Task, Verdict

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> tuple[SuiteRun, ...]:
    sources = ["world:finance", "world:arithmetic", "red_team:finance", "speech:finance"]
    return load_suites(sources, Workspace(root=Path(), home=tmp_path_factory.mktemp("home")), limit=150)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"thresholds": {"finance.schema_vald": {"min": 0.9}}}, "did you mean `schema_valid`"),
        ({"thresholds": {"finance.schema_valid": {"min": 3}}}, "at least 3 is asked\n  do: write 0.03 for 3 %"),
        ({"thresholds": {"finance.schema_valid": {"min": 1.5}}}, "do: write a share between 0 and 1"),
        ({"thresholds": {"finance.violation": {"max": -0.1}}}, "is never below 0"),
        ({"thresholds": {"finance.violation": {"max": 0, "on": "bound"}}}, 'do: remove `on = "bound"`'),
        ({"thresholds": {"finance.truncated_share": {"min": 2}}}, "lies between 0 and 1"),
        ({"thresholds": {"finance.latency_p95_s": {"max": -1}}}, "write a `max` above 0"),
        ({"thresholds": {"finance.latency_p95_s[kind]": {"max": 1}}}, "over whole suites only"),
        ({"thresholds": {"finance.violation[kind=bypas]": {"max": 0.1}}}, "did you mean `kind=bypass`"),
        ({"thresholds": {"finance.mean_calls": {"min": 1}}}, "not a measure that a gate can decide by"),
        ({"margins": {"finance.grounde": 0.1}}, "did you mean `grounded`"),
        ({"margins": {"finance.*[knd]": 0.1}}, "did you mean `kind`"),
        ({"margins": {"speech-finance.*": 0.1}}, "`speech-finance.num_words` cannot have a margin"),
        ({"margins": {"dimension:harmlesness": 0.1}}, "did you mean `harmlessness`"),
        ({"max_drop": {"finance.schema_valid": 1}}, "no drop of theirs exceeds that"),
        ({"max_drop": {"finance.violation[tennant]": 0.1}}, "did you mean `tenant`"),
        (
            {"max_drop": {"finance.violation": 0.1}, "margins": {"finance.violation": 0.1}},
            "a margin and a tolerated drop",
        ),
        ({"go_live": [{"suite": "finance", "safe": ["violatoin"], "min": 0.9}]}, "did you mean `violation`"),
        (
            {"go_live": [{"suite": "finance", "safe": ["violation"], "min": 0.9, "floors": {"boundry": 0.5}}]},
            "did you mean `boundary",
        ),
    ],
)
def test_what_the_suites_cannot_answer_is_refused_before_any_model_is_asked(
    suites: tuple[SuiteRun, ...], tables: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        check_suite_names(parse_gate_config(tables), suites)


@pytest.mark.parametrize(
    "tables",
    [
        {"thresholds": {"finance.accuracy": {"min": 0.5}, "speech-finance.num_words": {"max": 60}}},
        {"thresholds": {"red_team-finance.violation": {"max": 0.1}, "finance.latency_p50_s": {"max": 90}}},
        {"margins": {"finance.*[kind]": 0.1, "dimension:truthfulness": 0.05}},
        {"max_drop": {"speech-finance.num_words": 5}},
    ],
)
def test_what_they_can_answer_is_let_by(suites: tuple[SuiteRun, ...], tables: Mapping[str, Any]) -> None:
    check_suite_names(parse_gate_config(tables), suites)


class Measuring:
    name = digest = "measuring"

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        raise AssertionError("a user's verifier is not asked beforehand")


def test_what_a_users_verifier_measures_is_believed_in_a_threshold_and_never_asked() -> None:
    suite = task_suite("mine", [Task(id="a", prompt=(Message(role="user", content="q"),))], Measuring())
    suites: dict[str, Suite] = {"mine": suite}
    check_beforehand(parse_gate_config({"thresholds": {"mine.points": {"min": 40}}}), suites)
    with pytest.raises(RecipeError, match="names no metric of suite mine"):
        check_beforehand(parse_gate_config({"margins": {"mine.points": 0.1}}), suites)


def toml_blocks() -> list[tuple[str, str]]:
    blocks = [(name, block) for name in ("gate.md", "evaluation.md") for block in _blocks(DOCS / name)]
    return [(name, block) for name, block in blocks if name == "gate.md" or block.startswith("# gate.toml")]


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_both_pages_show_a_gate() -> None:
    assert {name for name, _ in toml_blocks()} == {"gate.md", "evaluation.md"}


@pytest.mark.parametrize(("page", "block"), toml_blocks(), ids=lambda value: value if value.endswith(".md") else "")
def test_the_gates_that_the_pages_show_are_accepted_as_they_stand(
    tmp_path: Path, suites: tuple[SuiteRun, ...], page: str, block: str
) -> None:
    (tmp_path / "gate.toml").write_text(block)
    file = read_gate_file(tmp_path / "gate.toml")
    assert file.config.thresholds
    assert tomllib.loads(block)
    check_suite_names(file.config, suites)
