"""Whoever reads the output may leave (`| head`): what is to be written is written, and the exit code stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labelling import judge_as, two
from strop.evals.people import Plan, Session


def into_a_closed_pipe(folder: Path, *arguments: str) -> tuple[int, str]:
    reads, writes = os.pipe()
    os.close(reads)
    environment = {**os.environ, "STROP_HOME": str(folder / "home")}
    command = [sys.executable, "-c", "from strop.cli import main; main()", *arguments]
    with open(writes, "wb") as closed:
        ended = subprocess.run(command, cwd=folder, stdout=closed, stderr=subprocess.PIPE, env=environment, check=False)
    return ended.returncode, ended.stderr.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    candidate, baseline = two(12)
    candidate.save(tmp_path / "new")
    baseline.save(tmp_path / "old")
    session = Session.create(tmp_path / "s", candidate, baseline, plan=Plan(num_pairs=12))
    judge_as(session, "ann", lambda place: place.pair.expected or "candidate")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (("label", "report", "s"), 0, {"report.json", "evidence.json"}),
        (("gate", "new", "--baseline", "old"), 3, {"gate_report.json", "gate_report.html", "gate_results"}),
    ],
)
def test_a_closed_pipe_loses_nothing(folder: Path, arguments: tuple[str, ...], code: int, names: set[str]) -> None:
    assert into_a_closed_pipe(folder, *arguments, "--output", "out") == (code, "")
    written = list((folder / "out").iterdir())
    assert {path.name for path in written} == names
    assert all(json.loads(path.read_text()) for path in written if path.suffix == ".json")
