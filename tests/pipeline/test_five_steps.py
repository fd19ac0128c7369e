"""The five steps of the evaluation loop, executed by one recipe and the run after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_run import run
from strop.errors import RecipeError
from strop.evals import SuiteResult
from strop.evals.people import PeopleRule, Plan, Session, analyse, write_people_evidence
from strop.pipeline.order import check_order
from strop.pipeline.reading import parse_recipe

SUITE = {"tasks": "world:finance", "limit": 60, "max_new_tokens": 48}


def recipe(**gate: Any) -> dict[str, Any]:
    """One short stage under a guard, and a gate with slices, a red team, people and failures."""
    guard = {"suite": "world:lookup", "every": 3, "limit": 20, "action": "watch"}
    stage = {"method": "sft", "data": "world:finance/demonstrations", "limit": 64, "batch_size": 8, "steps": 6}
    return {
        "name": "loop",
        "base": "strop:tiny",
        "stage": [{**stage, "learning_rate": 2e-3, "guard": [guard]}],
        "gate": {
            "suites": [SUITE, {"tasks": "red_team:finance", "limit": 28, "max_new_tokens": 48}],
            "min_items": 20,
            "min_group_items": 10,
            "max_ungraded": 1.0,
            **gate,
        },
        "failures": {"tasks": 8},
    }


@pytest.mark.slow
@pytest.mark.capability("EV-50")
def test_a_recipe_runs_slices_regression_red_team_people_and_drift_and_its_failures_are_the_next_runs_data(
    tmp_path: Path,
) -> None:
    settings = recipe(people={"min_pairs": 5}, evidence=["people-report"])
    first = run(settings, tmp_path, tmp_path / "home", output=tmp_path / "first")
    assert first.decision is not None
    outcomes = {check.name: check.outcome for check in first.decision.checks}

    # 1 and 2: slices exist, and each run is held against its baseline on them, after the guard's looks while training
    result = first.results["sft"]["finance"]
    assert len(result.slice_names()) > 1
    assert "finance.schema_valid against the baseline" in outcomes
    assert (first.stages[0].folder / "guards.jsonl").exists()

    # 3: the red team answered in the same run; people were asked for, and are not there yet
    assert first.results["sft"]["red_team-finance"].items
    assert outcomes["evidence people-report"] == "INSUFFICIENT"
    assert first.decision.outcome != "PASS"

    # 5: what failed is next round's data, from the train split, with where it came from
    left = {one.suite: one for one in first.next_round}
    rows = [json.loads(line) for line in (tmp_path / "first/next_round/finance.jsonl").read_text().splitlines()]
    assert left["finance"].num_tasks == len(rows) == 8
    assert left["finance"].num_failed == sum(not item.samples[0].passed for item in result.items)
    assert all(row["id"].split("/")[1] == "train" for row in rows)
    assert {row["lineage"]["result"] for row in rows} == {result.digest}
    assert left["red_team-finance"].path is None

    # people judge this very candidate, and the run after, its stage cached, hears them
    folders = [tmp_path / "first/evaluations" / model for model in ("sft", "base")]
    candidate, baseline = (SuiteResult.load(folder, "finance") for folder in folders)
    plan = Plan(num_pairs=40, repeat=0, attention=0)
    session = Session.create(tmp_path / "people", candidate, baseline, plan=plan)
    ties = {aspect.name: "tie" for aspect in session.rubric.aspects}
    for place in session.places("ann"):
        session.judge("ann", place, "tie", ties, reason="", comment="", elapsed_s=1.0)
    report = analyse(session)
    write_people_evidence(tmp_path / "people-report", report.evidence(PeopleRule(min_pairs=1)))
    again = run(settings, tmp_path, tmp_path / "home", output=tmp_path / "second")
    assert again.stages[0].is_cached
    assert again.decision is not None
    heard = [check.name for check in again.decision.checks]
    assert "evidence people-report" not in heard
    assert any("people" in name for name in heard)


def test_failures_without_a_gate_are_refused(tmp_path: Path) -> None:
    settings = recipe()
    del settings["gate"]
    with pytest.raises(RecipeError, match=r"\[failures\] without \[gate\]"):
        check_order(parse_recipe(settings), tmp_path)
