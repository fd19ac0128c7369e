"""Killed at any moment and started again, a run ends with the weights and data of an undisturbed one."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from guarded_run import teach, write_guarded_files
from small_run import write_files

TESTS = Path(__file__).parent.parent
INTERVAL = 2


def steps_by_attempt(root: Path, home: str) -> list[list[tuple[str, int]]]:
    """For every attempt in a home, the training steps that it took, in order."""
    files = sorted(root.glob(f"{home}.*.jsonl"), key=lambda file: file.stat().st_mtime)
    attempts = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[(label, int(step)) for label, step in lines if ":" not in label] for lines in attempts]


@pytest.mark.slow
@pytest.mark.capability("IM-02")
def test_ten_kills_change_nothing_and_repeat_at_most_one_interval(tmp_path: Path, chat_folder: Path) -> None:
    write_files(tmp_path)
    command = [sys.executable, str(TESTS / "kill_driver.py"), str(chat_folder), str(tmp_path), "10"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["killed"] == 10
    calm = told["homes"].pop("calm")
    assert calm["models"]
    for home, result in told["homes"].items():
        assert result == calm, home
        reached: dict[str, int] = {}
        for taken in steps_by_attempt(tmp_path, home):
            assert all(after[1] == before[1] + 1 for before, after in pairwise(taken) if after[0] == before[0])
            first = dict(reversed(taken))
            for label, step in first.items():
                assert reached.get(label, 0) - step + 1 <= INTERVAL, (home, label)
            reached |= dict(taken)
        assert not list((tmp_path / home / "cache" / "work").iterdir())


@pytest.mark.slow
@pytest.mark.capability("CP-17")
def test_ten_kills_of_a_guarded_stage_change_neither_its_weights_nor_what_its_guard_did(
    tmp_path: Path, chat_folder: Path
) -> None:
    write_guarded_files(tmp_path)
    taught = teach(chat_folder, tmp_path)
    command = [sys.executable, str(TESTS / "kill_driver.py"), str(taught), str(tmp_path), "10", "guarded"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["killed"] == 10
    calm = told["homes"].pop("calm")
    assert "roll_back" in calm["looks"][0]
    for home, result in told["homes"].items():
        assert result == calm, home
