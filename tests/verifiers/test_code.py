"""Code is judged by tests that it cannot see, and each way to fail has its own state and reason."""

import pickle
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from strop.errors import SandboxError, VerifierError
from strop.sandbox import Limits, Outcome, Sandbox, Session, SessionEnded
from strop.types import Completion, Task, Verdict
from strop.verifiers import load_verifier
from strop.verifiers.code import CodeAnswer
from strop.verifiers.code.references import is_equal, same_output

CHECK = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(20) == 21\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[CodeAnswer]:
    with CodeAnswer() as opened:
        yield opened


def said(text: str, finish_reason: Any = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(**reference: Any) -> Task:
    return Task(id="t", prompt=(), reference=reference, source="f:1")


def checked(check: str, **more: Any) -> Task:
    return task(entry_point="f", check=check, **more)


def called(*tests: Mapping[str, Any]) -> Task:
    return task(entry_point="f", tests=list(tests))


def outcome(verdict: Verdict) -> tuple[str, float | None, bool]:
    return verdict.state, verdict.score, verdict.passed


RIGHT = ("graded", 1.0, True)
WRONG = ("graded", 0.0, False)


# ------------------------------------------------------------------------------------------------- what passes


def test_a_check_that_passes_is_a_pass_under_a_named_sandbox(judge: CodeAnswer) -> None:
    verdict = judge(checked(CHECK), said("def f(x):\n    return x + 1\n"))
    assert outcome(verdict) == RIGHT
    assert verdict.provenance["sandbox"] in ("namespaces", "landlock")
    assert verdict.provenance["sound"] == "True"


def test_a_wrong_value_fails_and_the_reason_does_not_give_the_right_one_away(judge: CodeAnswer) -> None:
    verdict = judge(
        checked("def check(candidate):\n    assert candidate(1) == 918273\n"), said("def f(x):\n    return 0\n")
    )
    assert outcome(verdict) == WRONG
    assert verdict.reasons == ("line 2 of the check fails (AssertionError)",)
    verdict = judge(called({"call": [1], "expect": 918273}), said("def f(x):\n    return 0\n"))
    assert outcome(verdict) == WRONG
    assert verdict.reasons == ("test 1: a wrong value",)


def test_calls_are_counted_and_the_share_that_passes_is_a_measure(judge: CodeAnswer) -> None:
    tests = [{"call": [n], "expect": n * n} for n in range(4)]
    verdict = judge(called(*tests), said("def f(n):\n    return 1 // (n - 2) and n * n\n"))
    assert outcome(verdict) == WRONG
    assert verdict.measures == {"tests_passed": 0.75}, "only f(2) divides by zero"
    assert verdict.reasons == ("test 3: the candidate raised: ZeroDivisionError: integer division or modulo by zero",)


def test_calls_take_keywords_and_the_first_answer_of_a_check_may_be_an_exception(judge: CodeAnswer) -> None:
    assert judge(
        called({"call": [1], "kwargs": {"b": [2]}, "expect": [1, 2]}), said("def f(a, b): return [a, *b]")
    ).passed
    check = (
        "def check(candidate):\n    try:\n        candidate(-1)\n    except ValueError:\n        return\n    assert 0\n"
    )
    assert judge(checked(check), said("import math\ndef f(x): return math.sqrt(x)")).passed
    assert outcome(judge(checked(check), said("def f(x): raise KeyError(x)"))) == WRONG


@pytest.mark.parametrize(
    ("expect", "answer", "passed"),
    [
        ((1, 2), "(1, 2)", True),
        ((1, 2), "[1, 2]", False),
        ([1, 2], "(1, 2)", False),
        (2, "2.0", True),
        (2.5, "2.5", True),
        (1, "True", False),
        (True, "1", False),
        ("1", "1", False),
        ({1, 2}, "{2, 1}", True),
        ({1, 2}, "[1, 2]", False),
        ({"a": [1]}, "{'a': [1.0]}", True),
        ({"a": 1}, "{'a': True}", False),
        (None, "None", True),
        (None, "0", False),
        (float("nan"), "float('nan')", True),
        ([float("nan")], "[0.0]", False),
        (b"a", "'a'", False),
        (10**400, "10**400", True),
        (10**400, "float('inf')", False),
        (3, "10**400", False),
        (3.5, "10**400", False),
        (float("nan"), "10**400", False),
        ([10**400], "[2 * 10**400]", False),
        ({1}, "{True}", False),
        ({1}, "{1.0}", True),
        ({(0, frozenset([False]))}, "{(0, frozenset([0]))}", False),
        ({(0, frozenset([False]))}, "{(0.0, frozenset([False]))}", True),
        ({True: 2}, "{1: 2}", False),
        ({1: 2}, "{1.0: 2}", True),
    ],
)
def test_values_are_compared_as_plain_types(judge: CodeAnswer, expect: Any, answer: str, passed: bool) -> None:
    assert judge(called({"call": [], "expect": expect}), said(f"def f():\n    return {answer}\n")).passed == passed


def test_equality_of_plain_values_is_symmetric_and_knows_types() -> None:
    values = [0, 0.0, False, None, "", b"", (), [], {}, set(), frozenset(), 1, 1.0, True, [1], (1,), [True], {"a": 1}]
    equal = {(repr(a), repr(b)) for a in values for b in values if is_equal(a, b)}
    pairs = {("0", "0.0"), ("1", "1.0"), ("0.0", "0"), ("1.0", "1")}
    assert equal == {(repr(a), repr(a)) for a in values} | pairs


def test_a_check_gets_tuples_as_tuples_and_may_use_the_prompts_helpers(judge: CodeAnswer) -> None:
    prompt = "def twice(x):\n    return 2 * x\n\ndef f(x):\n    '''(x, twice(x))'''\n"
    check = "def check(candidate):\n    assert candidate(3) == (3, twice(3))\n    assert type(candidate(3)) is tuple\n"
    one = checked(check, prompt=prompt)
    assert judge(one, said("    return x, twice(x)\n")).passed
    assert not judge(one, said("    return [x, twice(x)]\n")).passed
    assert not judge(one, said("```python\ndef twice(x):\n    return 0\ndef f(x):\n    return x, twice(x)\n```")).passed


def test_several_functions_of_the_answer_may_be_tested_together(judge: CodeAnswer) -> None:
    check = "def check(candidate):\n    assert decode(candidate('abc')) == 'abc' != candidate('abc')\n"
    one = checked(check, functions=["f", "decode"])
    assert judge(one, said("def f(s): return s[::-1]\ndef decode(s): return s[::-1]\n")).passed
    assert not judge(one, said("def f(s): return s[::-1]\ndef decode(s): return s\n")).passed


def test_what_a_candidate_does_to_an_argument_does_not_reach_the_test(judge: CodeAnswer) -> None:
    check = "def check(candidate):\n    x = [3, 1]\n    assert candidate(x) == [1, 3]\n    assert x == [3, 1]\n"
    assert judge(checked(check), said("def f(x):\n    x.sort()\n    return x\n")).passed
    tests = [{"call": [[3, 1]], "expect": [1, 3]}] * 2
    assert judge(called(*tests), said("def f(x):\n    x.sort()\n    return x\n")).passed


def test_random_numbers_of_a_check_are_the_same_every_time(judge: CodeAnswer) -> None:
    check = "import random\ndef check(candidate):\n    assert candidate(random.randrange(10**9)) == 0\n"
    first = judge(checked(check), said("def f(x): raise ValueError(x)"))
    again = judge(checked(check), said("def f(x): raise ValueError(x)"))
    assert first == again
    assert "ValueError: " in first.reasons[0]


def test_programs_are_judged_by_what_they_print(judge: CodeAnswer) -> None:
    sums = task(stdin_tests=[{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 5", "stdout": "10"}])
    program = "a, b = map(int, input().split())\nprint(a + b)\n"
    assert outcome(judge(sums, said(f"```python\n{program}```"))) == RIGHT
    assert judge(sums, said("print(3)")).reasons == ("test 2: a wrong output",)
    assert judge(sums, said(program + "raise SystemExit(1)")).reasons == ("test 1: exit code 1",)
    assert "exit code" in judge(sums, said("print(3")).reasons[0]
    assert outcome(judge(sums, said("import os\nprint(3, flush=True)\nos._exit(0)"))) == WRONG


def test_an_output_that_must_be_large_is_no_excess(judge: CodeAnswer) -> None:
    large = task(stdin_tests=[{"stdin": "", "stdout": "x" * 100_000 + "\n"}])
    assert outcome(judge(large, said("print('x' * 100_000)"))) == RIGHT
    assert judge(large, said("print('x' * 100_001)")).reasons == ("test 1: a wrong output",)
    assert "kB on stdout" in judge(large, said("print('x' * 1_000_000)")).reasons[0]


def test_output_is_compared_without_spaces_at_the_ends_of_lines() -> None:
    assert same_output("1 2 \n3\n\n", "1 2\n3")
    assert not same_output("1 2\n\n3", "1 2\n3")
    assert not same_output(" 1", "1")


# ------------------------------------------------------------------------------------- what fails, and as what


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        ("", "unparsable", "no code found"),
        ("I am sorry, I cannot do that.", "unparsable", "no code compiles: SyntaxError"),
        ("def f(x:\n    return x\n", "unparsable", "no code compiles: SyntaxError"),
        ("def g(x):\n    return x + 1\n", "graded", "the candidate defines no such function: f"),
        ("f = 3", "graded", "the candidate defines no such function: f"),
        (
            "def f(x):\n    raise ValueError('no')\n",
            "graded",
            "line 2 of the check: the candidate raised ValueError: no",
        ),
        ("def f(x):\n    return y\n", "graded", "the candidate raised NameError: name 'y' is not defined"),
        ("import nothing_such\ndef f(x): return x\n", "graded", "the candidate raised: ModuleNotFoundError"),
        ("def f(x):\n    return None\n", "graded", "line 2 of the check fails (AssertionError)"),
        ("def f(x):\n    yield x\n", "graded", "no plain value: a generator is not a plain value"),
        ("def f(x):\n    assert False\n", "graded", "the candidate raised AssertionError"),
        ("def f(x):\n    raise SystemExit(0)\n", "graded", "the candidate raised: SystemExit: 0"),
        ("import os\ndef f(x):\n    os._exit(0)\n", "graded", "the candidate gave no answer: its process ended"),
    ],
    ids=range(13),
)
def test_what_the_candidate_does_wrong_scores_0_with_its_reason(
    judge: CodeAnswer, text: str, state: str, reason: str
) -> None:
    verdict = judge(checked(CHECK), said(text))
    assert outcome(verdict) == (state, 0.0, False)
    assert reason in verdict.reasons[0]


def test_a_truncated_answer_fails_before_anything_runs(judge: CodeAnswer) -> None:
    assert judge(checked(CHECK), said("def f(x):\n    return x + 1\n", "length")).reasons == ("truncated",)


def test_a_candidate_that_never_answers_is_wrong_and_its_limit_is_named() -> None:
    with CodeAnswer(limits=Limits(cpu_s=1.0, wall_s=3.0)) as impatient:
        for body in ("while True: pass", "__import__('time').sleep(60)"):
            for one in (checked(CHECK), called({"call": [1], "expect": 2})):
                verdict = impatient(one, said(f"def f(x):\n    {body}\n"))
                assert outcome(verdict) == WRONG
                assert "the candidate ran into a limit" in verdict.reasons[0]


def test_a_check_that_never_ends_is_a_timeout_and_not_the_candidates_fault() -> None:
    with CodeAnswer(limits=Limits(wall_s=0.5), check_timeout_s=0.5) as impatient:
        verdict = impatient(checked("def check(c):\n    c(1)\n    while True: pass\n"), said("def f(x): return 1"))
        assert outcome(verdict) == ("timeout", None, False)
        assert verdict.reasons == ("the check itself took over 0.5 s",)
        assert not verdict.is_graded
        assert impatient(checked(CHECK), said("def f(x): return x + 1")).passed, "the next one has a new worker"


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("def check(candidate):\n    assert 1\n", "the check never called the candidate"),
        ("def check(candidate):\n    assert 1 == 2\n", "line 2 of the check raised AssertionError"),
        ("def check(candidate):\n    candidate(1)\n    nothing_such\n", "line 3 of the check raised NameError"),
        ("def check(candidate):\n    candidate(1)\n    import nothing_such\n", "raised ModuleNotFoundError"),
        ("def check(candidate):\n    candidate(1)\n    candidate(object())\n", "an argument of f cannot be passed"),
        ("def check(candidate):\n    candidate(1)\n    raise SystemExit\n", "line 3 of the check raised SystemExit"),
        ("def check(candidate:\n", "SyntaxError"),
        ("check = 1 / 0\n", "line 1 of the check raised ZeroDivisionError"),
        ("import os\ndef check(candidate):\n    candidate(1)\n    os._exit(0)\n", "process failed: exit code 0"),
        ("def check(candidate):\n    candidate(1)\n    return bytes(1 << 34)\n", "raised MemoryError"),
    ],
    ids=range(10),
)  # fmt: skip
def test_trouble_of_the_check_is_an_error_and_never_a_zero(judge: CodeAnswer, check: str, reason: str) -> None:
    verdict = judge(checked(check), said("def f(x): return x + 1"))
    assert outcome(verdict) == ("error", None, False)
    assert reason in verdict.reasons[0]


def test_a_check_that_stumbles_over_a_value_is_the_candidates_fault(judge: CodeAnswer) -> None:
    check = "def check(candidate):\n    assert abs(candidate(1) - 2.0) < 1e-6\n"
    verdict = judge(checked(check), said("def f(x): return None"))
    assert outcome(verdict) == WRONG
    assert verdict.reasons == ("line 2 of the check fails (TypeError)",)


def test_closing_while_a_candidate_runs_is_not_its_failure() -> None:
    with CodeAnswer() as closing:
        assert closing(called({"call": [1], "expect": 1}), said("def f(x): return x")).passed
        timer = threading.Timer(1.0, closing.close)
        timer.start()
        verdict = closing(called({"call": [1], "expect": 1}), said("def f(x):\n    while True: pass\n"))
        timer.join()
        assert outcome(verdict) == ("infrastructure", None, False)


@pytest.mark.parametrize("answer", ["range(10**12)", "[range(10**12)]", "1 << (1 << 21)"])
def test_a_value_that_only_the_check_would_pay_for_is_the_candidates_fault(judge: CodeAnswer, answer: str) -> None:
    check = "def check(candidate):\n    assert sorted(candidate(1)) == [1]\n"
    verdict = judge(checked(check), said(f"def f(x): return {answer}"))
    assert outcome(verdict) == WRONG
    assert "more than 1048576" in verdict.reasons[0]


def test_a_check_cannot_swallow_the_end_of_its_candidate(judge: CodeAnswer) -> None:
    check = "def check(candidate):\n    try:\n        candidate(1)\n    except BaseException:\n        pass\n"
    for body in ("raise SystemExit", "__import__('os')._exit(0)", "return object()", "raise StopIteration"):
        assert outcome(judge(checked(check), said(f"def f(x):\n    {body}\n"))) == WRONG
    assert judge(checked(check), said("def f(x): raise ValueError")).passed, "as it would in one process"


def test_a_loop_over_the_candidate_is_not_ended_by_it(judge: CodeAnswer) -> None:
    check = "def check(candidate):\n    assert list(map(candidate, [1, 2])) in ([], [2, 3])\n"
    assert judge(checked(check), said("def f(x): return x + 1")).passed
    assert outcome(judge(checked(check), said("def f(x): raise StopIteration"))) == WRONG


FAILED = Outcome(state="infrastructure", exit_code=None, tier="namespaces", reason="its supervisor died")


def no_start(*args: Any, **options: Any) -> Session:
    raise SandboxError("no more processes")


def no_answer(*args: Any) -> bytes:
    raise SessionEnded(FAILED)


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    [
        ("start", no_start, "no more processes"),
        ("run", no_start, "no more processes"),
        ("run", lambda *args, **options: FAILED, "its supervisor died"),
        ("receive", no_answer, "its supervisor died"),
        ("send", no_answer, "its supervisor died"),
    ],
)
def test_a_failure_of_the_sandbox_is_infrastructure_and_never_a_reward(
    judge: CodeAnswer, monkeypatch: pytest.MonkeyPatch, name: str, broken: Any, reason: str
) -> None:
    program = task(stdin_tests=[{"stdin": "", "stdout": "1"}])
    tasks = [program] if name == "run" else [checked(CHECK), called({"call": [1], "expect": 2})]
    with monkeypatch.context() as patch:
        patch.setattr(Session if name in ("receive", "send") else Sandbox, name, broken)
        for one in tasks:
            verdict = judge(one, said("def f(x): return x + 1"))
            assert outcome(verdict) == ("infrastructure", None, False)
            assert verdict.reasons == (reason,)
    assert judge(tasks[0], said("def f(x): return x + 1\nprint(1)")).passed, "mended, it judges again"


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"entry_point": "f"},
        {"entry_point": "f", "tests": []},
        {"tests": [{"call": [1], "expect": 1}]},
        {"entry_point": "1f", "tests": [{"call": [1], "expect": 1}]},
        {"entry_point": "f", "tests": [{"call": [1]}]},
        {"entry_point": "f", "tests": [{"call": 1, "expect": 1}]},
        {"entry_point": "f", "tests": [{"call": "ab", "expect": 1}]},
        {"entry_point": "f", "tests": [{"call": [1], "expect": 1, "expected": 2}]},
        {"entry_point": "f", "tests": [{"call": [1], "expect": object()}]},
        {"entry_point": "f", "tests": ["assert f(1) == 1"]},
        {"entry_point": "f", "check": 3},
        {"entry_point": "f", "check": "assert f(1) == 2"},
        {"entry_point": "f", "check": CHECK, "functions": "f"},
        {"entry_point": "f", "check": CHECK, "tests": [{"call": [1], "expect": 1}]},
        {"entry_point": "f", "check": CHECK, "prompt": 1},
        {"stdin_tests": [{"stdin": "1"}]},
        {"stdin_tests": [{"stdin": "1", "stdout": 1}]},
    ],
    ids=range(18),
)
def test_a_task_whose_tests_cannot_be_read_is_refused(reference: dict[str, Any]) -> None:
    with pytest.raises(VerifierError, match="does not say how its code is judged") as caught:
        CodeAnswer()(task(**reference), said("def f(x): return 1"))
    assert caught.value.where == "f:1"


# ------------------------------------------------------------------------------------------ what enters the sandbox


def test_nothing_that_is_expected_ever_enters_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    start, send, run = Sandbox.start, Session.send, Sandbox.run

    def spy_start(self: Sandbox, program: str, **options: Any) -> Session:
        sent.append(f"{program} {options}")
        return start(self, program, **options)

    def spy_send(self: Session, line: bytes) -> None:
        sent.append(line.decode())
        send(self, line)

    def spy_run(self: Sandbox, program: str, **options: Any) -> Any:
        sent.append(f"{program} {options}")
        return run(self, program, **options)

    monkeypatch.setattr(Sandbox, "start", spy_start)
    monkeypatch.setattr(Session, "send", spy_send)
    monkeypatch.setattr(Sandbox, "run", spy_run)
    check = "SECRET = 'expected-7261'\ndef check(candidate):\n    assert candidate('given-7261') == SECRET\n"
    tests = [{"call": ["given-7261"], "expect": "expected-7261"}]
    programs = [{"stdin": "given-7261", "stdout": "expected-7261"}]
    answer = said("def f(x):\n    return x.replace('given', 'expec' + 'ted')\nprint(f('given-7261'))\n")
    with CodeAnswer() as judge:
        for one in (checked(check), called(*tests), task(stdin_tests=programs)):
            assert judge(one, answer).passed
    text = "\n".join(sent)
    assert text.count("given-7261") >= 3
    assert "expected-7261" not in text
    assert "SECRET" not in text
    assert "check(candidate)" not in text


# ----------------------------------------------------------------------------------------------- the verifier itself


def test_it_is_chosen_by_name_and_its_digest_names_code_and_settings() -> None:
    judge = load_verifier("code")
    assert isinstance(judge, CodeAnswer)
    assert judge.digest == CodeAnswer().digest
    others = [
        replace(judge, limits=Limits(wall_s=3.0)),
        replace(judge, check_timeout_s=1.0),
        replace(judge, tier="landlock"),
    ]
    assert len({judge.digest, *(other.digest for other in others)}) == 4


def test_a_copy_for_another_process_judges_alike(judge: CodeAnswer) -> None:
    judge(checked(CHECK), said("def f(x): return x"))
    with pickle.loads(pickle.dumps(judge)) as copy:
        assert copy == judge
        assert copy.digest == judge.digest
        assert copy(checked(CHECK), said("def f(x): return x + 1")).passed


def test_threads_may_share_it_and_a_slow_candidate_holds_up_its_own_only(judge: CodeAnswer) -> None:
    found: dict[int, Verdict] = {}

    def work(number: int) -> None:
        body = "__import__('time').sleep(2) or x + 1" if number == 0 else f"x + {number % 2}"
        found[number] = judge(checked(CHECK), said(f"def f(x):\n    return {body}\n"))
        order.append(number)

    order: list[int] = []
    threads: Sequence[threading.Thread] = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number].passed for number in range(12)] == [True, *(number % 2 == 1 for number in range(1, 12))]
    assert order[-1] == 0
