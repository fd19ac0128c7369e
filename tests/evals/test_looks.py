"""The ledger of looks at held-out suites."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from strop.errors import MismatchError, OutputError
from strop.evals import GateConfig, SuiteResult, gate
from strop.evals.looks import Looks, read_looks, record_looks
from suite_outcomes import ones, result


def candidate(model: str, suite: str = "s") -> dict[str, SuiteResult]:
    return {"finance": result(ones(90, 100), model=model, suite=suite)}


def numbers(path: Path, asked: dict[str, SuiteResult], max_looks: int | None = None) -> tuple[int, str]:
    (check,) = Looks(past=read_looks(path), candidate=asked, max_looks=max_looks).findings()
    return check.numbers["look"], check.outcome


def test_a_look_is_a_candidate_on_the_same_items_and_the_same_one_again_is_none(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    assert numbers(path, candidate("a")) == (1, "PASS")
    for model in ("a", "a", "b"):
        record_looks(path, candidate(model), outcome="BLOCK", who="ci")
    assert numbers(path, candidate("b")) == (2, "PASS")
    assert numbers(path, candidate("c")) == (3, "PASS")
    assert numbers(path, candidate("c", suite="fresh items")) == (1, "PASS")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["model"], line["outcome"], line["who"]) for line in lines] == [
        ("a", "BLOCK", "ci"),
        ("a", "BLOCK", "ci"),
        ("b", "BLOCK", "ci"),
    ]


def test_beyond_the_bound_the_gate_says_insufficient_and_a_fresh_set_helps(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    config = GateConfig(min_items=1, thresholds={"finance.accuracy": {"min": 0.5}})
    for number in range(3):
        asked = candidate(f"m{number}")
        looks = Looks(past=read_looks(path), candidate=asked, max_looks=2)
        decision = gate(asked, None, config, [looks])
        assert decision.outcome == ("PASS" if number < 2 else "INSUFFICIENT")
        record_looks(path, asked, outcome=decision.outcome, who="ci")
    (check,) = [one for one in decision.checks if one.outcome == "INSUFFICIENT"]
    assert "look 3 of at most 2" in check.reason
    assert "fresh" in check.reason
    assert check.numbers["strict_alpha"] == 0.05 / 2
    assert numbers(path, candidate("m9", suite="new"), max_looks=2) == (1, "PASS")


def _many(path: str, who: str) -> None:
    for number in range(40):
        record_looks(path, candidate(f"{who}{number}"), outcome="PASS", who=who)


def test_two_processes_at_once_lose_no_look(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_many, args=(str(path), who)) for who in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len({look.model for look in read_looks(path)}) == 80


def test_a_disk_that_ends_in_between_leaves_no_half_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "looks.jsonl"
    record_looks(path, candidate("a"), outcome="PASS", who="ci")
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, bytes(content[:-40]))

    monkeypatch.setattr("strop.files.os.write", full)
    with pytest.raises(OutputError, match="could not note the look"):
        record_looks(path, candidate("b"), outcome="PASS", who="ci")
    monkeypatch.undo()
    assert [look.model for look in read_looks(path)] == ["a"]
    record_looks(path, candidate("c"), outcome="PASS", who="ci")
    assert [look.model for look in read_looks(path)] == ["a", "c"]


def test_a_damaged_ledger_is_no_short_one_and_an_unwritable_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    record_looks(path, candidate("a"), outcome="PASS", who="ci")
    path.write_text(path.read_text() + '{"suite": "fin')
    with pytest.raises(MismatchError, match="cannot be read") as told:
        read_looks(path)
    assert told.value.where == f"{path}:2"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(MismatchError, match="cannot be read"):
        read_looks(path)
    with pytest.raises(OutputError, match="could not note the look"):
        record_looks(tmp_path / "looks.jsonl" / "x", candidate("a"), outcome="PASS", who="ci")
