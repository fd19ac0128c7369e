"""What importing the evaluation costs: a grading process needs a verifier, and nothing that reads results."""

import json
import subprocess
import sys

import pytest

import strop.evals
from strop.evals import red_team

_PROGRAM = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps([name for name in sys.modules if name == "numpy" or name.startswith(("strop", "pydantic", "jinja2"))]))
"""


def modules_after(name: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, name], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_a_process_that_grades_the_red_team_loads_neither_the_gate_nor_statistics() -> None:
    loaded = modules_after("strop.evals.red_team.verifier")
    assert "strop.evals.red_team.detectors" in loaded
    idle = {"strop.evals.gating", "strop.evals.people", "strop.evals.run", "strop.evals.red_team.measuring"}
    assert not loaded & {*idle, "strop.statistics", "numpy", "pydantic", "jinja2"}


@pytest.mark.parametrize("package", [strop.evals, red_team])
def test_every_public_name_is_where_the_package_says(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(package, name).__name__.lower() == name.lower()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'gatekeeper'"):
        strop.evals.gatekeeper  # noqa: B018
