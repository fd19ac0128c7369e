"""``strop sample`` under a constraint, with stops, and with settings that cannot be meant."""

import json
from pathlib import Path

import pytest

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["a"],
    "additionalProperties": False,
}


def test_answers_are_held_to_a_schema(strop, chat_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    answer = strop("sample", chat_folder, "hello", "--json-schema", "schema.json", "--num", 3, "--seed", 5)
    assert answer.code == 0, answer.err
    said = [json.loads(line) for line in answer.out.split()]
    assert len(said) == 3
    assert all(0 <= value["a"] <= 99 for value in said)


def test_answers_are_one_of_the_choices_or_match_a_pattern(strop, chat_folder: Path) -> None:
    answer = strop("sample", chat_folder, "hello", "--choice", "yes", "--choice", "no", "--num", 4)
    assert set(answer.out.split()) <= {"yes", "no"}
    assert strop("sample", chat_folder, "hello", "--regex", "x{3}").out.strip() == "xxx"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--regex", "a", "--choice", "b"], "--regex and --choice were given together"),
        (["--json-schema", "missing.json"], "missing.json"),
        (["--temperature", 0, "--min-p", 0.1], "min_p = 0.1 at temperature 0"),
        (["--repetition-penalty", 0], "repetition_penalty = 0"),
        (["--stop", ""], "empty stop text"),
        (["--regex", "a{50}", "--max-new-tokens", 3], "max_new_tokens = 3 is too small"),
    ],
)
def test_what_cannot_be_meant_is_refused(strop, chat_folder: Path, options: list[object], message: str) -> None:
    answer = strop("sample", chat_folder, "hello", *options)
    assert answer.code == 2
    assert message in " ".join(answer.err.split())
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("command", [["sample", "no/model", "hello"], ["chat", "no/model"]])
def test_parameters_are_judged_before_a_model_is_looked_for(strop, command: list[str]) -> None:
    answer = strop(*command, "--temperature", 1e-45)
    assert answer.code == 2
    assert "temperature = 1e-45" in " ".join(answer.err.split())
