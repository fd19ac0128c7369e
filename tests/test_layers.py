"""The import layers hold: imports go to smaller numbers only, never sideways between packages of one number."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "strop"

LAYERS = [
    {"errors"},
    {"types", "digests"},
    {"files"},
    {"segments", "statistics", "report"},
    {"batches"},
    {"objectives", "credit", "fused"},
    {"chat"},
    {"models"},
    {"constraints", "sandbox"},
    {"data", "sampling", "training"},
    {"tools"},
    {"verifiers"},
    {"worlds"},
    {"rollouts"},
    {"inference"},
    {"methods"},
    {"evals"},
    {"release"},
    {"serving"},
    {"advisor", "pipeline", "study"},
    {"cli"},
]
NUMBER = {name: number for number, names in enumerate(LAYERS) for name in names}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the layer"
            if node.module == "strop":
                found |= {f"strop.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return {name.split(".")[1] for name in found if name.startswith("strop.")}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[f.relative_to(PACKAGE).as_posix() for f in FILES])
def test_imports_go_to_lower_layers_only(file: Path) -> None:
    subject = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if subject in ("__init__", "__main__"):
        return
    assert subject in NUMBER, f"{subject} has no layer: give it one in this table and in the architecture"
    for other in imported(file) - {subject}:
        assert NUMBER[other] < NUMBER[subject], f"{subject} may not import {other}"
