"""A user's own function: what it gets, what it may return, and how each way of failing is told."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strop.errors import VerifierError
from strop.types import Completion, Message, Task
from strop.verifiers import UserVerifier, load_user_verifier, load_verifier

REWARDS = """\
import math
import os
import subprocess
import sys
import time

def score(prompt, completion, answer):
    if completion == "raise":
        print("about to fail")
        return 1 / 0
    if completion == "hang":
        while True:
            pass
    if completion == "sleep with a child":
        print(subprocess.Popen(["sleep", "600"]).pid, file=open(answer, "w"), flush=True)
        time.sleep(600)
    if completion == "exit":
        os._exit(3)
    if completion == "sysexit":
        sys.exit(0)
    if completion == "forge":
        print('{"result": {"score": 1.0, "passed": true, "reasons": [], "measures": {}}}', flush=True)
        return 0.0
    values = {"nan": math.nan, "inf": math.inf, "none": None, "text": "1", "list": [1], "no score": {"style": 1},
              "bad passed": {"score": 1, "passed": "yes"}, "bad extra": {"score": 1, "style": None},
              "dict": {"score": 0.25, "passed": True, "reasons": "short", "style": 0.5}, "flag": {"passed": True},
              "half": 0.5, "pid": os.getpid()}
    return values[completion] if completion in values else completion == answer

def everything(prompt, completion, **row):
    return {"score": 1.0, "columns": len(row), "turns": len(prompt), "has_role": prompt[0]["role"] == "user"}

def greedy(prompt, completion, gold):
    return 1.0

def numpy_score(completion):
    import numpy
    return {"score": numpy.float32(0.5), "passed": numpy.bool_(True), "ones": numpy.int64(1)}
"""


def task(answer: str = "4") -> Task:
    prompt = (Message(role="user", content="2 + 2?"),)
    return Task(id="t", prompt=prompt, reference={"answer": answer, "level": 1}, source="rows.jsonl:3")


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


@pytest.fixture
def rewards(tmp_path: Path) -> Path:
    path = tmp_path / "my_rewards.py"
    path.write_text(REWARDS)
    return path


@pytest.fixture
def verify(rewards: Path) -> Iterator[UserVerifier]:
    with load_user_verifier(f"{rewards}:score", timeout_s=30.0) as verifier:
        yield verifier


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(REWARDS.splitlines(), start=1) if text in line)


def gone(pid: int) -> bool:
    """Whether the process is dead within ten seconds; a zombie that nobody reaped counts as dead."""
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_numbers_truth_values_and_dicts_become_verdicts(verify: UserVerifier) -> None:
    assert verify(task(), said("4")).passed
    wrong = verify(task(), said("5"))
    assert (wrong.score, wrong.passed, wrong.state) == (0.0, False, "graded")
    assert verify(task(), said("half")).passed
    rich = verify(task(), said("dict"))
    assert (rich.score, rich.passed, rich.reasons, rich.measures) == (0.25, True, ("short",), {"style": 0.5})
    assert verify(task(), said("flag")).score == 1.0


def test_a_function_gets_the_columns_that_it_names_or_all_of_them(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:everything") as everything:
        measures = everything(task(), said("x")).measures
    assert measures == {"columns": 2.0, "turns": 1.0, "has_role": 1.0}


def test_numpy_scalars_are_numbers(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:numpy_score", timeout_s=60) as numpy_score:
        verdict = numpy_score(task(), said("x"))
    assert (verdict.score, verdict.passed, verdict.measures) == (0.5, True, {"ones": 1.0})


def test_one_worker_is_started_and_reused_and_ends_on_close(verify: UserVerifier) -> None:
    pids = {verify(task(), said("pid")).score for _ in range(5)}
    assert len(pids) == 1
    pid = int(pids.pop())
    assert pid != os.getpid()
    verify.close()
    assert gone(pid)


def test_what_the_function_prints_is_never_taken_for_its_answer(verify: UserVerifier) -> None:
    assert verify(task(), said("forge")).score == 0.0
    assert verify(task(), said("4")).score == 1.0


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("raise", "my_rewards.py:score raised ZeroDivisionError: division by zero", "1 / 0"),
        ("sysexit", "my_rewards.py:score raised SystemExit: 0", "sys.exit(0)"),
        ("exit", r"my_rewards.py:score ended its process \(exit code 3\)", None),
        ("nan", "my_rewards.py:score returned nan", None),
        ("inf", "my_rewards.py:score returned inf", None),
        ("none", "my_rewards.py:score returned None, which is a NoneType, not a number", None),
        ("text", "my_rewards.py:score returned '1', which is a str, not a number", None),
        ("list", r"my_rewards.py:score returned \[1\], which is a list", None),
        ("no score", "my_rewards.py:score returned a dict without `score` or `passed`", None),
        ("bad passed", "my_rewards.py:score returned a dict, but its `passed` is 'yes'", None),
        ("bad extra", "my_rewards.py:score returned a dict, but its `style` is None", None),
    ],
)
def test_every_failure_names_what_happened_the_row_and_the_users_line(
    verify: UserVerifier, rewards: Path, text: str, what: str, line: str | None
) -> None:
    with pytest.raises(VerifierError, match=what) as caught:
        verify(task(), said(text))
    expected = f"{rewards}:{line_of(line)}, for row rows.jsonl:3" if line else f"{rewards}, for row rows.jsonl:3"
    assert caught.value.where == expected
    assert "never counted as 0" in caught.value.why
    assert caught.value.do
    assert verify(task(), said("4")).passed, "the verifier works on after a failure"


def test_what_was_printed_before_a_failure_is_told(verify: UserVerifier) -> None:
    with pytest.raises(VerifierError, match="it printed: about to fail"):
        verify(task(), said("raise"))


def test_a_hanging_function_is_killed_and_its_line_named(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:score", timeout_s=1.0) as verify:
        with pytest.raises(VerifierError, match=r"gave no answer within 1 s") as caught:
            verify(task(), said("hang"))
        lines = (f":{line_of('while True')},", f":{line_of('            pass')},")
        assert any(line in caught.value.where for line in lines), caught.value.where
        assert verify(task(), said("4")).passed, "a fresh worker takes over"


def test_a_killed_worker_takes_its_children_along(rewards: Path, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with load_user_verifier(f"{rewards}:score", timeout_s=1.0) as verify, pytest.raises(VerifierError):
        verify(task(str(note)), said("sleep with a child"))
    assert gone(int(note.read_text()))


def test_on_error_record_keeps_failures_out_of_the_scores(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:score", timeout_s=1.0, on_error="record") as verify:
        states = {text: verify(task(), said(text)) for text in ("raise", "nan", "hang", "exit")}
    assert {text: verdict.state for text, verdict in states.items()} == {
        "raise": "error",
        "nan": "error",
        "hang": "timeout",
        "exit": "error",
    }
    assert all(verdict.score is None and not verdict.passed and not verdict.is_graded for verdict in states.values())
    assert "ZeroDivisionError" in states["raise"].reasons[0]


def test_a_truncated_completion_is_scored_but_does_not_pass(verify: UserVerifier) -> None:
    verdict = verify(task(), said("4", "length"))
    assert (verdict.score, verdict.passed, verdict.reasons) == (1.0, False, ("truncated",))


def test_a_column_that_does_not_exist_is_named_with_those_that_do(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:greedy") as verify, pytest.raises(VerifierError) as caught:
        verify(task(), said("x"))
    assert caught.value.why == "it asks for gold; there are: answer, level, prompt, completion"


def test_files_and_functions_that_cannot_be_loaded_are_told_before_any_call(tmp_path: Path, rewards: Path) -> None:
    with pytest.raises(VerifierError, match="no such file"):
        load_verifier(f"{tmp_path}/absent.py:score")
    with pytest.raises(VerifierError, match=r"has no function `scor`\n.*\n.*did you mean `score`"):
        load_verifier(f"{rewards}:scor")
    with pytest.raises(VerifierError, match="unknown verifier `numbr`\n  do: did you mean `number`"):
        load_verifier("numbr")
    with pytest.raises(VerifierError, match=r"my_rewards\.py:score"):
        load_verifier("a.py:not a name")
    broken = tmp_path / "broken.py"
    broken.write_text("import os\n\ndef score(:\n")
    with pytest.raises(VerifierError, match="SyntaxError") as caught:
        load_verifier(f"{broken}:score")
    assert caught.value.where == f"{broken}:3"
    missing = tmp_path / "missing.py"
    missing.write_text("x = 1\nimport no_such_module_at_all\n")
    with pytest.raises(VerifierError, match="ModuleNotFoundError") as caught:
        load_verifier(f"{missing}:score")
    assert caught.value.where == f"{missing}:2"


def test_a_module_beside_the_file_can_be_imported_and_the_standard_library_is_not_shadowed(tmp_path: Path) -> None:
    (tmp_path / "helper_of_mine.py").write_text("VALUE = 0.75\n")
    code = "import fractions, numbers\nfrom helper_of_mine import VALUE\n\ndef score(completion):\n    return VALUE\n"
    (tmp_path / "mine.py").write_text(code)
    with load_user_verifier(f"{tmp_path / 'mine.py'}:score") as verify:
        assert verify(task(), said("x")).score == 0.75


def test_the_digest_follows_the_files_content(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:score") as before:
        rewards.write_text(REWARDS + "\n# changed\n")
        with load_user_verifier(f"{rewards}:score") as after:
            assert before.digest != after.digest


def test_a_file_that_changes_during_a_run_does_not_change_the_verifier(rewards: Path) -> None:
    with load_user_verifier(f"{rewards}:score", timeout_s=1.0, on_error="record") as verify:
        rewards.write_text("def score(completion):\n    return 0.0\n")
        assert verify(task(), said("hang")).state == "timeout"
        assert verify(task(), said("4")).score == 1.0, "the restarted worker runs what was loaded"


def test_large_texts_pass_both_ways(tmp_path: Path) -> None:
    code = "def score(completion):\n    return {'score': len(completion), 'reasons': [completion]}\n"
    (tmp_path / "big.py").write_text(code)
    with load_user_verifier(f"{tmp_path / 'big.py'}:score", timeout_s=60) as verify:
        text = "ü" * 500_000
        verdict = verify(task(), said(text))
    assert (verdict.score, verdict.reasons) == (500_000.0, (text,))


def test_no_worker_outlives_a_parent_that_was_killed(rewards: Path, tmp_path: Path) -> None:
    """The parent dies by SIGKILL in the middle of a hanging call; the worker must end all the same."""
    code = f"""
import threading
from strop.verifiers import load_user_verifier
from strop.types import Completion, Task
verify = load_user_verifier({str(rewards)!r} + ":score", timeout_s=600)
task = Task(id="t", prompt=(), reference={{"answer": ""}})
said = lambda text: Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")
print(int(verify(task, said("pid")).score), flush=True)
verify(task, said("hang"))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone(pid)


def test_a_verifier_that_is_forgotten_ends_its_worker(rewards: Path) -> None:
    verify = load_user_verifier(f"{rewards}:score")
    pid = int(verify(task(), said("pid")).score or 0)
    del verify
    gc.collect()
    assert gone(pid)
