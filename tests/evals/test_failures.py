"""Failures become data that names where it came from, and held-out items never become training data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from strop.data import read_conversations, read_preferences, read_tasks
from strop.data.lineage import lineage_of, told_lineage
from strop.errors import DataError, MismatchError, RecipeError
from strop.evals import ItemResult, SampleResult, Suite, SuiteResult, world_suite
from strop.evals.contamination import find_contamination
from strop.evals.failures import failures, more_like, require_trainable, split_of_task
from strop.evals.feedback import (
    failed_conversations,
    failed_pairs,
    failed_tasks,
    practised_conversations,
    practised_pairs,
    read_cases,
    verifier_cases,
    verifier_truth,
    world_truth,
    write_cases,
    write_rows,
)
from strop.types import Completion, Message, Task
from strop.verifiers import audit
from strop.worlds import get_world, world_names

FINANCE = get_world("finance")
WRONG = "It is 12."


def answered(suite: Suite, text_of, *, model: str = "m") -> SuiteResult:
    """The suite's real verifier on scripted answers; ``text_of(task)`` gives the texts of one task."""
    items = []
    for task in suite.tasks:
        samples = []
        for text in text_of(task):
            completion = Completion(token_ids=(1,), sampler_logprobs=(0.0,), text=text, finish_reason="stop")
            verdict = suite.verifier(task, completion)
            samples.append(
                SampleResult(
                    text=text,
                    finish_reason="stop",
                    state=verdict.state,
                    passed=verdict.passed,
                    score=verdict.score,
                    reasons=verdict.reasons,
                    measures={"accuracy": float(verdict.passed)},
                    num_prompt_tokens=1,
                    num_tokens=1,
                    latency_s=0.1,
                )
            )
        items.append(ItemResult(id=task.id, slices=dict(task.slices), question="q", samples=tuple(samples)))
    digests = {"model": model, "template": "t", "tokenizer": "k", "tools": "o", "index": ""}
    digests |= {"verifier": suite.verifier.digest, "suite": suite.digest}
    return SuiteResult(
        name=suite.name,
        digests=digests,
        params={"temperature": 0.0, "seed": 0, "samples_per_task": 1},
        metrics=suite.metrics,
        items=tuple(items),
    )


def weak_on(kind: str, suite: Suite, **how: str) -> SuiteResult:
    """Right everywhere but on one kind of request."""
    return answered(suite, lambda t: [WRONG if t.slices["kind"] == kind else FINANCE.reference_text(t)], **how)


@pytest.fixture(scope="module")
def held_out() -> Suite:
    return world_suite(FINANCE, num_tasks=80)


@pytest.fixture(scope="module")
def practice() -> Suite:
    return world_suite(FINANCE, num_tasks=80, split="train")


def test_failures_are_selected_by_slice_metric_and_state(held_out: Suite) -> None:
    result = weak_on("bypass", held_out)
    wanted = [task.id for task in held_out.tasks if task.slices["kind"] == "bypass"]
    assert [failure.item.id for failure in failures(result, held_out)] == wanted
    assert len(wanted) > 2
    assert failures(result, held_out, where="kind=spending") == ()
    assert [one.item.id for one in failures(result, held_out, metric="accuracy")] == wanted
    assert failures(result, held_out, state="timeout") == ()
    with pytest.raises(RecipeError, match="no slice"):
        failures(result, held_out, where="kind=none")
    with pytest.raises(MismatchError, match="is not the one that the results are of"):
        failures(result, world_suite(FINANCE, num_tasks=79))


def test_the_results_identity_is_computed_once_however_many_items_failed(
    held_out: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of all items: computed for each failure, 2,000 of them took minutes."""
    result, asked = answered(held_out, lambda task: [WRONG]), []
    own = SuiteResult.digest.fget
    monkeypatch.setattr(SuiteResult, "digest", property(lambda self: asked.append(1) or own(self)))
    assert len(failures(result, held_out)) > 50
    assert len(asked) == 1
    assert verifier_cases(result, held_out, lambda task, text: True)
    assert len(asked) == 2


def test_an_answer_that_could_not_be_judged_failed_nothing_unless_it_is_asked_for(held_out: Suite) -> None:
    result = weak_on("bypass", held_out)
    first = result.items[0]
    lost = replace(first.samples[0], state="timeout", passed=False, score=None)
    result = replace(result, items=(replace(first, samples=(lost,)), *result.items[1:]))
    assert first.id not in [failure.item.id for failure in failures(result, held_out)]
    assert [one.item.id for one in failures(result, held_out, state="timeout")] == [first.id]


def test_held_out_items_are_refused_as_tasks_pairs_and_answers(held_out: Suite) -> None:
    found = failures(weak_on("bypass", held_out), held_out)
    for make in (failed_tasks, failed_pairs, failed_conversations):
        with pytest.raises(DataError, match=r"finance/test/.* may not be trained on"):
            make(found)
        with pytest.raises(DataError, match="may not be trained on"):
            make(found, is_held_out=False)
    own = Task(id="mine", prompt=(Message(role="user", content="q"),))
    with pytest.raises(DataError, match="nobody said that no gate asks it"):
        require_trainable([own])
    require_trainable([own], is_held_out=False)


def test_every_world_says_the_split_of_its_tasks() -> None:
    for name in world_names():
        world = get_world(name)
        for split in ("train", "dev", "test"):
            assert split_of_task(world.tasks(split, 1)[0]) == split, name


@pytest.mark.capability("EV-62")
def test_a_failing_slice_feeds_new_train_tasks_whose_lineage_survives_reading(held_out: Suite, tmp_path: Path) -> None:
    """More of the failing kind, in the failures' proportions, none of the suite's own items, nor of its prompts."""
    result = weak_on("bypass", held_out)
    found = failures(result, held_out)
    drawn = more_like(FINANCE, found, 12, by=("kind", "tenant"))
    assert {task.slices["kind"] for task in drawn} == {"bypass"}
    failing = [failure.task.slices["tenant"] for failure in found]
    for tenant in set(failing):
        share = 12 * failing.count(tenant) / len(failing)
        assert abs([task.slices["tenant"] for task in drawn].count(tenant) - share) < 1
    asked = {repr(task.prompt) for task in held_out.tasks}
    assert all(split_of_task(task) == "train" and repr(task.prompt) not in asked for task in drawn)

    assert find_contamination({"next": drawn}, [held_out]).suites[0].of("exact", "quoted", "cluster") == []
    leaked = [failure.task for failure in found]
    assert find_contamination({"next": leaked}, [held_out]).suites[0].of("exact"), "the check would have found them"

    write_rows(tmp_path / "tasks.jsonl", drawn)
    write_rows(tmp_path / "pairs.jsonl", practised_pairs(drawn, FINANCE))
    write_rows(tmp_path / "sft.jsonl", practised_conversations(drawn, FINANCE))
    rows = {
        "tasks": read_tasks(tmp_path / "tasks.jsonl"),
        "pairs": read_preferences(tmp_path / "pairs.jsonl"),
        "sft": read_conversations(tmp_path / "sft.jsonl"),
    }
    failed_ids = {failure.item.id for failure in found}
    for kind, read in rows.items():
        assert len(read) == 12
        for row in read:
            lineage = lineage_of(row)
            assert lineage is not None, kind
            assert lineage["item"] in failed_ids
            assert (lineage["result"], lineage["model"]) == (result.digest, "m")
            assert lineage["suite_digest"] == held_out.digest
            assert lineage["slices"]["kind"] == "bypass"
        (told,) = told_lineage(read).values()
        assert told.startswith("12 rows from")
        assert result.digest[:12] in told


def test_tasks_of_every_world_read_back_as_they_were_and_their_verifier_passes_the_reference(tmp_path: Path) -> None:
    for name in world_names():
        world = get_world(name)
        suite = world_suite(world, num_tasks=2, split="train")
        result = answered(suite, lambda task: ["no idea"])
        found = failures(result, suite)
        assert found, name
        write_rows(tmp_path / f"{name}.jsonl", failed_tasks(found))
        for failure, read in zip(found, read_tasks(tmp_path / f"{name}.jsonl"), strict=True):
            assert (read.id, read.prompt, read.tools) == (failure.task.id, failure.task.prompt, failure.task.tools)
            assert read.slices == failure.task.slices
            assert read.reference == json.loads(json.dumps(dict(failure.task.reference))), name
            assert read.cluster == failure.task.cluster
            text = world.reference_text(failure.task)
            answer = Completion(token_ids=(1,), sampler_logprobs=(0.0,), text=text, finish_reason="stop")
            assert world.verifier(read, answer).passed, name


def test_pairs_prefer_an_own_passing_answer_then_the_baselines_then_the_reference(practice: Suite) -> None:
    wrong = weak_on("bypass", practice)
    found = failures(wrong, practice)
    assert {lineage_of(pair)["chosen"] for pair in failed_pairs(found, world=FINANCE)} == {"reference"}
    better = answered(practice, lambda task: [FINANCE.reference_text(task) + " "], model="old")
    pairs = failed_pairs(found, world=FINANCE, baseline=better)
    assert {lineage_of(pair)["chosen"] for pair in pairs} == {"baseline"}
    mixed = answered(practice, lambda task: [WRONG, FINANCE.reference_text(task)])
    pairs = failed_pairs(failures(mixed, practice), world=FINANCE, baseline=better)
    assert {lineage_of(pair)["chosen"] for pair in pairs} == {"own sample"}
    assert all(pair.rejected == (Message(role="assistant", content=WRONG),) for pair in pairs)
    called = [pair for pair in pairs if pair.chosen[0].tool_calls]
    assert called, "a call is a call of the turn, not text that looks like one"
    assert all("<tool_call>" not in pair.chosen[0].content for pair in pairs)
    assert failed_pairs(found) == [], "where nobody knows a right answer there is no pair"


def test_verdicts_that_were_wrong_become_cases_of_an_audit(practice: Suite, tmp_path: Path) -> None:
    """A verifier that lets everything pass, and the world that knows its honest mistakes."""

    class Gullible:
        name, digest = "gullible", "g"

        def __call__(self, task: Task, completion: Completion):
            return replace(practice.verifier(task, completion), passed=True, score=1.0, state="graded")

    suite = replace(practice, verifier=Gullible())
    result = answered(suite, lambda task: FINANCE.mutations(task)[:1] or [FINANCE.reference_text(task)])
    cases = verifier_cases(result, suite, world_truth(FINANCE))
    assert len(cases) == sum(bool(FINANCE.mutations(task)) for task in practice.tasks)
    assert not any(case.should_pass for case, _ in cases)
    assert {lineage["kind"] for _, lineage in cases} == {"false accept"}
    assert cases[0][1]["result"] == result.digest
    assert len(verifier_cases(result, suite, verifier_truth(practice.verifier))) == len(cases)

    write_cases(tmp_path / "cases.jsonl", cases)
    read = read_cases(tmp_path / "cases.jsonl")
    assert [(case.text, case.should_pass) for case in read] == [(case.text, case.should_pass) for case, _ in cases]
    assert audit(Gullible(), read).num_false_accept == len(cases)
    assert audit(practice.verifier, read).num_false_accept == 0


def test_cases_of_another_draw_are_refused(held_out: Suite) -> None:
    result = answered(held_out, lambda task: [WRONG])
    other = replace(held_out, tasks=tuple(replace(task, id=f"{task.id}x") for task in held_out.tasks))
    with pytest.raises(MismatchError, match="does not ask item"):
        verifier_cases(result, other, lambda task, text: True)
    prompts = [task.prompt for task in held_out.tasks]
    asked = replace(result, items=tuple(replace(i, prompt=p) for i, p in zip(result.items, prompts, strict=True)))
    assert verifier_cases(asked, held_out, lambda task, text: True)
    reworded = tuple(replace(task, prompt=(Message(role="user", content="?"),)) for task in held_out.tasks)
    with pytest.raises(MismatchError, match="does not ask item"):
        verifier_cases(asked, replace(held_out, tasks=reworded), lambda task, text: True)
    with pytest.raises(MismatchError) as told:
        failures(replace(result, version="fresh-77"), other)
    assert "@77" in str(told.value.do)


def test_nothing_that_failed_writes_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing failed"):
        write_rows(tmp_path / "rows.jsonl", [])
    assert not list(tmp_path.iterdir())


def test_too_rare_a_slice_is_told(held_out: Suite) -> None:
    odd = replace(held_out.tasks[0], slices={"kind": "never"})
    suite = replace(held_out, tasks=(odd, *held_out.tasks[1:]))
    found = failures(answered(suite, lambda task: [WRONG]), suite)[:1]
    with pytest.raises(DataError, match="gave 0 of 3 tasks with kind=never"):
        more_like(FINANCE, found, 3)


@pytest.mark.parametrize("odd", [{"suite": ["s"]}, {"item": 3}, {"result": None}, {"model": {}}])
def test_a_lineage_column_that_is_not_ours_is_left_alone(tmp_path: Path, odd: dict[str, object]) -> None:
    lineage = {"suite": "s", "item": "i", "result": "r", "model": "m"}
    rows = [{"prompt": "Hello", "completion": "Hi", "lineage": {**lineage, **more}} for more in ({}, odd)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = list(read_conversations(tmp_path / "rows.jsonl"))
    assert [lineage_of(row) is None for row in read] == [False, True]
    assert len(told_lineage(read)) == 1
