"""Which sandbox holds here, told by ``strop doctor`` and by what ran code in a weaker one."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from strop.cli import isolation
from strop.sandbox import Sandbox, probe


@pytest.fixture
def without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", "/nowhere")
    (found,) = probe(["landlock"], refresh=True)
    if not found.is_sound:
        pytest.skip(f"Landlock does not hold here: {found.why}")
    probe(["namespaces"])
    yield
    monkeypatch.undo()
    probe(["namespaces"], refresh=True)


def words(text: str) -> str:
    """What a table says, without its frames."""
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


def row(text: str, name: str) -> str:
    return next(words(line) for line in text.splitlines() if words(line).startswith(name))


@pytest.mark.usefixtures("without_bubblewrap")
def test_doctor_names_the_tier_that_holds_and_why_no_stronger_one(strop: Any) -> None:
    said = strop("doctor").out
    assert "landlock" in row(said, "sandbox tier")
    assert "namespaces: bubblewrap is not installed" in words(said)
    assert "needed to run code" not in said
    for program in ("bubblewrap", "coqc", "lake"):
        assert "not found" in row(said, program)


def test_doctor_lists_the_optional_packages_of_mathematics_and_gyms(strop: Any) -> None:
    said = strop("doctor").out
    assert row(said, "math_verify")
    assert row(said, "reasoning_gym")


def test_the_tier_is_found_within_two_seconds() -> None:
    probe(["namespaces"], refresh=True)
    began = time.monotonic()
    tier, _ = isolation.tier_here()
    assert time.monotonic() - began < 2.0
    with Sandbox.open() as sandbox:
        assert sandbox.tier == tier


@pytest.mark.usefixtures("without_bubblewrap")
def test_code_that_ran_in_a_weaker_tier_is_told_in_one_line(strop: Any) -> None:
    said = strop("audit", "code").err
    (line,) = [line for line in said.splitlines() if "sandbox tier" in line]
    assert (
        line == "code ran in the sandbox tier `landlock`, not the strongest (namespaces: bubblewrap is not installed)"
    )


def test_the_strongest_tier_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = probe(["namespaces"], refresh=True)
    if not found.is_sound:
        pytest.skip(f"namespaces do not hold here: {found.why}")
    isolation.say_weaker_tier()
    assert capsys.readouterr().err == ""
