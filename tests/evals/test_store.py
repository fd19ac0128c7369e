"""Keeping answers one by one: killed, continued, enlarged, shared by two processes, torn and edited."""

import functools
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from scripted_evaluation import GREEDY, Parrot, Template, tasks
from strop.errors import DataError, OutputError
from strop.evals import Price, Suite, SuiteResult, evaluate, task_suite
from strop.evals.costs import spent
from strop.evals.suite import Measure
from strop.types import Completion, SamplingParams, Task, Verdict
from strop.verifiers import NumberAnswer

TESTS = Path(__file__).parent.parent
CHUNK = 7
SUITE = task_suite("digits", tasks(*(n % 7 for n in range(60))), NumberAnswer())

DRIVER = """
import os, signal, sys, time
from pathlib import Path
from test_store import SUITE, CHUNK, Signing
from scripted_evaluation import GREEDY, Template
from strop.evals import evaluate, run

run._code_digest = lambda: "code"
folder, calls, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

class Dying(Signing):
    def sample(self, prompts, params, *, seeds):
        completions = super().sample(prompts, params, seeds=seeds)
        time.sleep(0.002)
        if len(self.asked) > calls * CHUNK:
            os.kill(os.getpid(), signal.SIGKILL)
        return completions

result = evaluate(
    Dying(name), Template(), SUITE, model_digest="m", params=GREEDY, folder=folder, num_requests=CHUNK
)
print(result.digest)
"""


@pytest.fixture(autouse=True)
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package may be edited while the tests run; what is kept depends on its code."""
    monkeypatch.setattr("strop.evals.run._code_digest", lambda: "code")


class Signing(Parrot):
    """Signs what it says, so that two of them never say the same."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        found = super().sample(prompts, params, seeds=seeds)
        return [replace(one, text=f"{self.name} {one.text}") for one in found]


def start(folder: Path, calls: int, name: str) -> "subprocess.Popen[str]":
    """Another process that evaluates, and kills itself with signal 9 inside the request after ``calls``."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'evals'}"}
    command = [sys.executable, "-c", DRIVER, str(folder), str(calls), name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(suite: Suite, folder: Path, sampler: Parrot | None = None, **options: object) -> SuiteResult:
    settings = {"model_digest": "m", "params": GREEDY, "num_requests": CHUNK, "folder": folder, **options}
    return evaluate(sampler or Parrot(), Template(), suite, **settings)  # type: ignore[arg-type]


def kept(folder: Path) -> Path:
    (file,) = folder.glob("*/samples.jsonl")
    return file


def test_killed_half_way_an_evaluation_loses_the_chunk_in_flight_only(tmp_path: Path) -> None:
    process = start(tmp_path / "killed", 3, "I")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert kept(tmp_path / "killed").read_bytes().count(b"\n") == 3 * CHUNK
    again, calm = Signing("I"), Signing("I")
    result = run(SUITE, tmp_path / "killed", again)
    assert len(again.asked) == 60 - 3 * CHUNK
    assert result.digest == run(SUITE, tmp_path / "calm", calm).digest
    assert len(calm.asked) == 60


def test_a_larger_run_starts_with_the_smaller_ones_answers_and_a_changed_task_is_asked_again(tmp_path: Path) -> None:
    small, large, changed, sampled = Parrot(), Parrot(), Parrot(), Parrot()
    first = run(replace(SUITE, tasks=SUITE.tasks[:20]), tmp_path, small)
    whole = run(SUITE, tmp_path, large)
    assert (len(small.asked), len(large.asked)) == (20, 40)
    assert whole.items[:20] == first.items, "latency and all"
    assert whole.digest == run(SUITE, tmp_path / "at once").digest
    other = replace(SUITE.tasks[3], reference={"answer": 5})
    run(replace(SUITE, tasks=(*SUITE.tasks[:3], other, *SUITE.tasks[4:])), tmp_path, changed)
    assert [text for text, _ in changed.asked] == ["say 3"]
    warm = SamplingParams(temperature=1.0)
    run(SUITE, tmp_path, params=warm, samples_per_task=2)
    run(SUITE, tmp_path, sampled, params=warm, samples_per_task=3)
    assert len(sampled.asked) == 60, "only the third sample of each"


def test_another_suite_that_asks_the_same_takes_the_answers_and_another_measure_does_not(tmp_path: Path) -> None:
    twin, measured = Parrot(), Parrot()
    run(SUITE, tmp_path)
    run(replace(SUITE, name="twin", version="2"), tmp_path, twin)
    run(replace(SUITE, measure=lambda task, completion, verdict: {"one": 1.0}), tmp_path, measured)
    assert (len(twin.asked), len(measured.asked)) == (0, 60)


def at_least(bound: float, *odd: object) -> Measure:
    return lambda task, completion, verdict: {"long": float(len(completion.text) >= bound), "odd": float(len(odd))}


def test_a_measure_that_was_edited_or_closes_over_another_value_measures_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(replace(SUITE, measure=at_least(3)), tmp_path / "a").items[0].value("long") == 1.0
    assert run(replace(SUITE, measure=at_least(99)), tmp_path / "a").items[0].value("long") == 0.0
    monkeypatch.syspath_prepend(tmp_path)
    for value in (1.0, 2.0):
        (tmp_path / "own_measure.py").write_text(f"def own(task, completion, verdict): return {{'one': {value}}}\n")
        sys.modules.pop("own_measure", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        own = importlib.import_module("own_measure").own
        assert run(replace(SUITE, measure=own), tmp_path / "b").items[0].value("one") == value


@pytest.mark.parametrize("measure", [at_least(3, object()), functools.partial(at_least, 3)])
def test_a_measure_that_nothing_identifies_is_refused(tmp_path: Path, measure: Measure) -> None:
    with pytest.raises(DataError, match="has no identity"):
        run(replace(SUITE, measure=measure), tmp_path)


def test_torn_and_edited_lines_count_as_absent(tmp_path: Path) -> None:
    outcome = run(SUITE, tmp_path)
    file = kept(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b"graded", b"guided")
    lines[9] = b"\xff\x00 no line at all\n"
    file.write_bytes(b"".join(lines)[:-4])  # the last line lacks its end
    again, once_more = Parrot(), Parrot()
    assert run(SUITE, tmp_path, again).digest == outcome.digest
    assert len(again.asked) == 3
    assert run(SUITE, tmp_path, once_more).digest == outcome.digest
    assert once_more.asked == [], "what stands behind a torn line is found"


def test_a_last_line_that_lacks_only_its_line_end_holds_for_every_process(tmp_path: Path) -> None:
    run(SUITE, tmp_path, Signing("first"))
    file = kept(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    more = replace(SUITE, tasks=(*SUITE.tasks, *(replace(task, id=f"new {task.id}") for task in SUITE.tasks[:1])))
    here = run(more, tmp_path, Signing("second"))
    assert here.items[59].texts[0].startswith("first")
    assert run(more, tmp_path, Signing("third")).digest == here.digest


def test_two_processes_at_once_spoil_nothing_and_agree(tmp_path: Path) -> None:
    first, second = start(tmp_path, 1000, "first"), start(tmp_path, 1000, "second")
    digests = [process.communicate(timeout=60)[0].strip() for process in (first, second)]
    assert digests[0]
    assert digests[0] == digests[1], "where both answered, the first line holds for both"
    lines = kept(tmp_path).read_bytes().splitlines()
    places = {tuple(json.loads(line.partition(b" ")[2])[:2]) for line in lines}
    assert len(places) == len(lines) == 60
    nobody = Parrot()
    assert run(SUITE, tmp_path, nobody).digest == digests[0]
    assert nobody.asked == []


def test_a_price_is_no_reason_to_ask_again_and_the_answers_keep_their_latency(tmp_path: Path) -> None:
    free = run(SUITE, tmp_path)
    nobody = Parrot()
    price = Price(per_million_prompt_tokens=1e6, per_million_completion_tokens=2e6)
    paid = run(SUITE, tmp_path, nobody, price=price)
    assert nobody.asked == []
    assert [s.latency_s for s in paid.samples] == [s.latency_s for s in free.samples]
    total = spent(paid)
    num_prompt_tokens = sum(len(f"say {n}") for n in range(60))
    assert (total.num_answers, total.num_prompt_tokens, total.num_tokens) == (60, num_prompt_tokens, 60 * 9)
    assert total.cost == num_prompt_tokens + 2 * 60 * 9
    assert spent(free).cost is None
    assert "cost" in total.told()
    assert "cost" not in spent(free).told()


def test_progress_counts_what_was_there_and_tells_rate_and_cost(tmp_path: Path) -> None:
    told: list[tuple[float, dict[str, float]]] = []
    price = Price(per_million_prompt_tokens=0, per_million_completion_tokens=1e6)
    run(replace(SUITE, tasks=SUITE.tasks[:20]), tmp_path)
    run(SUITE, tmp_path, price=price, progress=lambda label, done, total, m: told.append((done, dict(m))))
    assert [done for done, _ in told] == [20, 27, 34, 41, 48, 55, 60]
    assert [metrics["cost"] for _, metrics in told] == [done * 9 for done, _ in told]
    assert "items_per_s" not in told[0][1]
    assert all(metrics["items_per_s"] > 0 for _, metrics in told[1:])


@dataclass(frozen=True)
class Failing:
    """The machine fails on t3; everything else is judged as numbers are."""

    state: str
    name: str = "failing"
    digest: str = "failing"
    is_isolated: bool = True

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        if task.id == "t3":
            return Verdict(score=None, passed=False, state=self.state)  # type: ignore[arg-type]
        return NumberAnswer()(task, completion)


@pytest.mark.parametrize(("state", "num_asked"), [("infrastructure", 1), ("timeout", 0), ("error", 0)])
def test_a_failure_of_the_machine_is_not_kept_and_one_of_the_answer_is(
    state: str, num_asked: int, tmp_path: Path
) -> None:
    suite = replace(SUITE, verifier=Failing(state))
    assert run(suite, tmp_path).num_ungraded == 1
    again = Parrot()
    assert run(suite, tmp_path, again).num_ungraded == 1
    assert len(again.asked) == num_asked


class Halves(Parrot):
    """Ends every answer with half a surrogate pair, as JSON from a server can."""

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        return [replace(one, text=f"{one.text} \ud83d") for one in super().sample(prompts, params, seeds=seeds)]


def test_half_a_surrogate_pair_in_an_answer_is_kept_saved_and_read_as_a_question_mark(tmp_path: Path) -> None:
    result = run(SUITE, tmp_path / "store", Halves())
    result.save(tmp_path)
    assert SuiteResult.load(tmp_path, "digits").digest == result.digest
    assert result.items[0].texts == ("Answer: 0 ?",)


def test_answers_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not keep the answers"):
        run(SUITE, tmp_path / "file")
