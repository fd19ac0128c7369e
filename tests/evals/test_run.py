"""Evaluating: what is sampled, judged, measured and kept."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripted_evaluation import GREEDY, Parrot, Template, tasks
from strop.errors import DataError, MissingDependencyError, RecipeError, SandboxError, UserError, VerifierError
from strop.evals import Metric, Price, Suite, SuiteResult, evaluate, row_seed, task_suite, world_suite
from strop.sandbox import Sandbox
from strop.types import Completion, Message, SamplingParams, Task, Verdict, Verifier
from strop.verifiers import Ensemble, NumberAnswer, load_user_verifier
from strop.verifiers.code import CodeAnswer
from strop.verifiers.proofs import LEAN_PROJECT, ProofAnswer


def run(suite: Suite, sampler: Parrot | None = None, **options: object) -> SuiteResult:
    settings = {"model_digest": "m", "params": GREEDY, **options}
    return evaluate(sampler or Parrot(), Template(), suite, **settings)  # type: ignore[arg-type]


SUITE = task_suite("digits", tasks(0, 1, 7, 3), NumberAnswer())


def test_answers_are_judged_item_by_item_and_by_slice() -> None:
    outcome = run(SUITE)
    assert {item.id: item.value("accuracy") for item in outcome.items} == {"t0": 1.0, "t1": 1.0, "t2": 0.0, "t3": 1.0}
    assert outcome.rate("accuracy")[:2] == (0.75, 4)
    assert outcome.rate("accuracy", "parity=odd")[:2] == (1.0, 2)
    assert outcome.items[0].question == "say 0"
    assert outcome.items[0].texts == ("Answer: 0",)
    assert dict(outcome.digests) == {
        "model": "m",
        "template": "template",
        "tokenizer": "characters",
        "index": "",
        "tools": SUITE.tools_digest,
        "verifier": NumberAnswer().digest,
        "suite": SUITE.digest,
    }


def test_several_samples_draw_from_their_own_seeds_and_do_not_depend_on_the_other_tasks() -> None:
    warm = SamplingParams(temperature=1.0, seed=3)
    first, second = Parrot(), Parrot()
    whole = run(SUITE, first, params=warm, samples_per_task=4, num_requests=3)
    part = run(replace(SUITE, tasks=SUITE.tasks[2:]), second, params=warm, samples_per_task=4)
    assert len({seed for _, seed in first.asked}) == 16
    assert [item.samples[0].measures for item in whole.items[2:]] == [item.samples[0].measures for item in part.items]
    assert second.asked == first.asked[8:]
    expected = [float(row_seed(3, "t0", sample) % 2 == 0) for sample in range(4)]
    assert [sample.measures["accuracy"] for sample in whole.items[0].samples] == expected
    assert whole.items[0].value("accuracy") == sum(expected) / 4


def test_several_greedy_samples_are_refused() -> None:
    with pytest.raises(RecipeError, match="2 samples a task at temperature 0"):
        run(SUITE, samples_per_task=2)


def test_a_finished_evaluation_is_taken_from_the_cache_and_a_changed_one_is_not(tmp_path: Path) -> None:
    first, again, other = Parrot(), Parrot(), Parrot()
    outcome = run(SUITE, first, folder=tmp_path)
    assert run(SUITE, again, folder=tmp_path) == outcome
    assert (len(first.asked), len(again.asked)) == (4, 0)
    run(SUITE, other, folder=tmp_path, model_digest="another")
    run(replace(SUITE, verifier=NumberAnswer(tolerance=0.1)), other, folder=tmp_path)
    run(SUITE, other, folder=tmp_path, params=replace(GREEDY, max_new_tokens=9))
    assert len(other.asked) == 12


def test_a_cached_evaluation_that_was_edited_is_done_again(tmp_path: Path) -> None:
    outcome = run(SUITE, folder=tmp_path)
    (samples,) = tmp_path.glob("*/samples.jsonl")
    samples.write_text("")
    again = Parrot()
    assert run(SUITE, again, folder=tmp_path).digest == outcome.digest
    assert len(again.asked) == 4


def test_an_interrupted_evaluation_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken(task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run(replace(SUITE, measure=broken), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_chunk_by_chunk() -> None:
    told: list[tuple[str, float, float, float]] = []
    run(SUITE, num_requests=2, progress=lambda label, done, total, m: told.append((label, done, total, m["passed"])))
    assert told == [("evaluate digits", 2, 4, 1.0), ("evaluate digits", 4, 4, 0.75)]


@pytest.mark.capability("EV-38")
@pytest.mark.capability("EV-40")
def test_tokens_and_cost_are_counted_per_answer() -> None:
    price = Price(per_million_prompt_tokens=1e6, per_million_completion_tokens=2e6)
    runtime = run(SUITE, price=price).runtime()
    assert runtime["mean_tokens"] == 9  # len("Answer: 0")
    assert runtime["cost_per_request"] == 5 * 1 + 9 * 2  # len("say 0")


def test_a_users_verifier_measures_beside_the_accuracy_and_its_failures_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def score(completion, answer):\n"
        "    if answer == 7:\n"
        "        raise ValueError('no seven')\n"
        "    return {'score': 1.0, 'length': len(completion)}\n"
    )
    with load_user_verifier(f"{tmp_path / 'mine.py'}:score", on_error="record", timeout_s=30) as verify:
        outcome = run(task_suite("mine", SUITE.tasks, verify))
    assert outcome.rate("length")[:2] == (9.0, 3)
    assert outcome.rate("accuracy")[:2] == (1.0, 3)
    assert outcome.num_ungraded == 1
    assert outcome.items[2].samples[0].state == "error"


def test_a_measure_that_is_not_a_number_is_refused_with_its_task() -> None:
    bad = replace(SUITE, measure=lambda task, completion, verdict: {"style": float("nan")})
    with pytest.raises(VerifierError, match=r"measure `style` of suite digits is nan\n  where: task t0"):
        run(bad)


def test_suites_refuse_double_ids_no_tasks_and_odd_names() -> None:
    with pytest.raises(DataError, match="1 ids twice, for example 't0'"):
        task_suite("digits", [SUITE.tasks[0], SUITE.tasks[0]], NumberAnswer())
    with pytest.raises(DataError, match="no tasks"):
        task_suite("digits", [], NumberAnswer())
    with pytest.raises(DataError, match=r"cannot be called '\.\./x'"):
        task_suite("../x", SUITE.tasks, NumberAnswer())


def test_the_suites_digest_follows_tasks_slices_and_judge_but_not_where_a_row_came_from() -> None:
    moved = replace(SUITE, tasks=tuple(replace(task, source="elsewhere:1") for task in SUITE.tasks))
    assert moved.digest == SUITE.digest
    assert replace(SUITE, tasks=SUITE.tasks[:3]).digest != SUITE.digest
    assert replace(SUITE, verifier=NumberAnswer(tolerance=0.1)).digest != SUITE.digest
    assert replace(SUITE, metrics={"accuracy": Metric(direction="lower")}).digest != SUITE.digest
    resliced = replace(SUITE, tasks=tuple(replace(task, slices={"kind": "a"}) for task in SUITE.tasks))
    assert resliced.digest != SUITE.digest


def test_a_world_is_a_suite_with_all_of_its_metrics() -> None:
    from strop.worlds import get_world

    suite = world_suite(get_world("arithmetic"), num_tasks=5, name="sums", steps=2)
    assert (suite.name, len(suite.tasks)) == ("sums", 5)
    assert suite.metrics["accuracy"].direction == "higher"
    assert {task.slices["steps"] for task in suite.tasks} == {"2"}


def test_a_real_model_is_evaluated_end_to_end(chat_folder: Path, tmp_path: Path) -> None:
    from strop.models import Policy
    from strop.sampling import TorchSampler

    policy = Policy.load(chat_folder, device="cpu")
    suite = task_suite("digits", SUITE.tasks, NumberAnswer())
    params = SamplingParams(max_new_tokens=6, temperature=1.0, seed=1)
    results = [
        evaluate(
            TorchSampler(policy),
            policy.template,
            suite,
            model_digest=policy.digest(),
            params=params,
            samples_per_task=2,
            num_requests=requests,
        )
        for requests in (64, 3)
    ]
    assert [len(item.samples) for item in results[0].items] == [2, 2, 2, 2]
    assert results[0].digest == results[1].digest, "how many requests go out together changes no answer"


def proof_suite(system: str) -> Suite:
    reference = {"system": system, "statement": "1 = 1"}
    return task_suite(
        "proofs", [Task(id="t", prompt=(Message(role="user", content="1"),), reference=reference)], PROOFS
    )


TEMPLATE: Any = Template()
PROOFS = ProofAnswer(coqc="/opt/absent/coqc")


@pytest.mark.parametrize(
    ("system", "error", "what"),
    [
        ("lean", VerifierError, "no Lean project is named"),
        ("coq", MissingDependencyError, "does not run in the sandbox"),
    ],
)
def test_a_checker_that_is_not_there_is_told_before_anything_is_sampled(
    system: str, error: type[UserError], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LEAN_PROJECT, raising=False)
    parrot = Parrot()
    with PROOFS, pytest.raises(error, match=what):
        evaluate(parrot, TEMPLATE, proof_suite(system), model_digest="m", params=GREEDY)
    assert parrot.asked == []


@pytest.mark.parametrize("make", [lambda code: code, lambda code: Ensemble(members=(code, NumberAnswer()))])
def test_code_is_not_sampled_where_nothing_isolates_it(
    make: Callable[[Verifier], Verifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Sandbox:
        raise SandboxError("no sound sandbox on this machine")

    monkeypatch.setattr(Sandbox, "open", refuse)
    parrot = Parrot()
    with pytest.raises(SandboxError, match="no sound sandbox"):
        evaluate(parrot, TEMPLATE, task_suite("code", tasks(1), make(CodeAnswer())), model_digest="m", params=GREEDY)
    assert parrot.asked == []


def test_what_was_not_graded_is_no_failure_in_the_progress(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def score(answer):\n    if answer > 5:\n        raise ValueError('no')\n    return answer == 1\n"
    )
    told: list[dict[str, float]] = []
    with load_user_verifier(f"{tmp_path / 'mine.py'}:score", on_error="record", timeout_s=30) as verify:
        run(
            task_suite("mine", tasks(7, 1, 0), verify),
            num_requests=1,
            progress=lambda label, done, total, metrics: told.append(dict(metrics)),
        )
    assert [one.get("passed") for one in told] == [None, 1.0, 0.5]
