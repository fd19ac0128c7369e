"""A baseline is asked only what the candidate's results can be held against."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from strop.errors import MismatchError
from strop.evals import ItemResult, SuiteResult
from strop.pipeline.comparable import require_comparable
from strop.pipeline.evaluation import SuiteRun, load_suites
from strop.pipeline.recipe import SuiteTable
from strop.pipeline.workspace import Workspace


def asked(folder: Path, limit: int, **table: object) -> tuple[SuiteRun, ...]:
    entry = SuiteTable.model_validate({"tasks": "world:finance", "limit": limit, **table})
    return load_suites([entry], Workspace(root=folder, home=folder))


def answered(run: SuiteRun) -> SuiteResult:
    """A result with what the suite run would write into it, and no answers."""
    params = vars(run.params) | {"samples_per_task": run.samples_per_task}
    return SuiteResult(
        name=run.suite.name,
        digests={"suite": run.suite.digest, "verifier": run.suite.verifier.digest},
        params={key: list(value) if isinstance(value, tuple) else value for key, value in params.items()},
        metrics=run.suite.metrics,
        items=tuple(ItemResult(id=task.id, slices=task.slices, question="", samples=()) for task in run.suite.tasks),
    )


def test_the_same_suite_asked_the_same_way_is_let_by(tmp_path: Path) -> None:
    suites = asked(tmp_path, 30)
    require_comparable(suites, {"finance": answered(suites[0])})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"limit": 50}, ["the candidate has 30 items, the configuration asks 50", "limit = 30"]),
        ({"limit": 20}, ["the candidate has 30 items, the configuration asks 20", "limit = 30"]),
        ({"limit": 30, "max_new_tokens": 7}, [" and 7", "max_new_tokens", "set the same in `suites`"]),
        ({"limit": 30, "name": "other"}, ["on suite finance", "the configuration does not ask it"]),
    ],
    ids=["more", "fewer", "shorter answers", "another suite"],
)
def test_what_could_not_be_paired_is_told_with_the_cause(
    tmp_path: Path, table: dict[str, object], told: list[str]
) -> None:
    there = {"finance": answered(asked(tmp_path, 30)[0])}
    with pytest.raises(MismatchError) as error:
        require_comparable(asked(tmp_path, **table), there)  # type: ignore[arg-type]
    for part in told:
        assert part in str(error.value)


def test_other_tasks_of_the_same_number_are_other_items(tmp_path: Path) -> None:
    (run,) = asked(tmp_path, 30)
    odd = replace(run.suite, tasks=(replace(run.suite.tasks[0], id="other"), *run.suite.tasks[1:]))
    with pytest.raises(MismatchError, match=re.escape("both have 30 items, and 1 of them are others")):
        require_comparable([run], {"finance": answered(replace(run, suite=odd))})


def test_a_suite_that_changed_since_is_not_the_same(tmp_path: Path) -> None:
    (run,) = asked(tmp_path, 30)
    there = answered(run)
    with pytest.raises(MismatchError, match="others now than when"):
        require_comparable([run], {"finance": replace(there, digests={**there.digests, "suite": "older"})})


def test_a_suite_on_one_side_only_is_named_with_its_side(tmp_path: Path) -> None:
    (run,) = asked(tmp_path, 30)
    with pytest.raises(MismatchError, match="the candidate has no results of it, and the configuration asks it"):
        require_comparable([run], {})
    with pytest.raises(MismatchError, match="the configuration does not ask it, and the candidate has results"):
        require_comparable([], {"finance": answered(run)})
