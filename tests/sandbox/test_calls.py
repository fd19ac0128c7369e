"""A candidate is called from outside, by copy, and whatever it does but answer is its own fault and named."""

from collections.abc import Iterator
from typing import Any

import pytest

from strop.sandbox import Limits, Sandbox
from strop.sandbox.calls import Candidate, CandidateError
from strop.sandbox.codec import CodecError

FORGE = """
import json, os, sys
def asked():
    frame = sys._getframe()
    while "request" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["request"]
def pipe():
    frame = sys._getframe()
    while "answers" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["answers"].fileno()
def say(**content):
    os.write(pipe(), json.dumps(content).encode() + b"\\n")
"""

MISCOUNT = """
import sys
def miscount():
    names = sys._getframe(2).f_globals
    send = names["_send"]
    names["_send"] = lambda pipe, said: send(pipe, {**said, "answered": 7} if "answered" in said else said)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.open() as opened:
        yield opened


def call(sandbox: Sandbox, source: str, *args: Any, limits: Limits | None = None, **kwargs: Any) -> Any:
    """What ``f`` of the source returns, if it also ends as it should."""
    with Candidate(sandbox, [source], limits=limits) as candidate:
        value = candidate.call("f", args, kwargs)
        candidate.finish()
        return value


def failure(sandbox: Sandbox, source: str, *args: Any, limits: Limits | None = None) -> CandidateError:
    with pytest.raises(CandidateError) as caught:
        call(sandbox, source, *args, limits=limits)
    return caught.value


def test_values_come_back_with_their_types(sandbox: Sandbox) -> None:
    source = "def f(a, b=2):\n    return {'sum': (a + b, [a], {b}), 1: float('inf')}\n"
    found = call(sandbox, source, 40, b=2)
    assert found == {"sum": (42, [40], {2}), 1: float("inf")}
    assert [type(one) for one in found["sum"]] == [int, list, set]


def test_functions_of_one_candidate_share_its_state(sandbox: Sandbox) -> None:
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)\ndef g():\n    return seen\n"
    with Candidate(sandbox, [source]) as candidate:
        assert [candidate.call("f", [x]) for x in "abc"] == [1, 2, 3]
        assert candidate.call("g") == ["a", "b", "c"]
        assert candidate.num_calls == 4
        candidate.finish()


def test_an_argument_is_a_copy_so_what_is_done_to_it_stays_inside(sandbox: Sandbox) -> None:
    given = [3, 1, 2]
    assert call(sandbox, "def f(x):\n    x.sort()\n    x.append(9)\n    return x\n", given) == [1, 2, 3, 9]
    assert given == [3, 1, 2]


def test_one_object_passed_twice_arrives_as_two(sandbox: Sandbox) -> None:
    both = [1]
    assert call(sandbox, "def f(a, b):\n    a.append(2)\n    return b\n", both, both) == [1]


def test_the_first_source_that_compiles_is_executed(sandbox: Sandbox) -> None:
    with Candidate(sandbox, ["def f(:", "def f(): return 'second'", "def f(): return 'third'"]) as candidate:
        assert candidate.call("f") == "second"


def test_what_a_candidate_prints_and_its_demonstration_are_no_answer(sandbox: Sandbox) -> None:
    source = "def f():\n    print('1')\n    return 2\nif __name__ == '__main__':\n    raise SystemExit(f())\n"
    assert call(sandbox, source) == 2


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("def f(:", "uncompiled", "SyntaxError"),
        ("(" * 1000, "uncompiled", ""),
        ("def f(): pass\n\0", "uncompiled", ""),
        ("raise ValueError('early')", "raised", "ValueError: early"),
        ("raise SystemExit(0)", "exit", "SystemExit: 0"),
        ("g = 1", "missing", "f"),
        ("f = 1", "missing", "f"),
        ("def f(): return object()", "refused", "a object is not a plain value"),
        ("class L(list): pass\ndef f(): return L()", "refused", "a L is not a plain value"),
        ("def f(): return (x for x in [1])", "refused", "a generator is not a plain value"),
        ("def f():\n    x = []\n    x.append(x)\n    return x", "refused", "nested more than 100 deep"),
        ("class E(BaseException): pass\ndef f(): raise E('out')", "exit", "E: out"),
        ("def f(): raise KeyboardInterrupt", "exit", "KeyboardInterrupt"),
        ("def f(): raise StopIteration", "exit", "StopIteration"),
        ("import os\nos._exit(0)", "ended", "exit code 0"),
        ("import os\ndef f(): os._exit(7)", "ended", "exit code 7"),
        ("import os\ndef f(): os.closerange(3, 64)", "ended", ""),
        ("import os, signal\ndef f(): os.kill(os.getpid(), signal.SIGSEGV)", "ended", ""),
    ],
    ids=range(18),
)
def test_each_way_not_to_answer_has_its_name(sandbox: Sandbox, source: str, kind: str, message: str) -> None:
    error = failure(sandbox, source)
    assert error.kind == kind
    assert message in error.message


def test_an_exception_is_told_by_the_nearest_of_pythons_own_classes(sandbox: Sandbox) -> None:
    with Candidate(
        sandbox,
        ["class Mine(KeyError): pass\ndef f(): raise Mine('k')\ndef g(): return 1\nclass ValueError(Exception): pass\n"
         "def h(): raise ValueError('not the real one')"],
    ) as candidate:  # fmt: skip
        with pytest.raises(CandidateError) as caught:
            candidate.call("f")
        assert (caught.value.kind, caught.value.exception) == ("raised", KeyError)
        with pytest.raises(CandidateError) as caught:
            candidate.call("h")
        assert caught.value.exception is Exception
        assert candidate.call("g") == 1, "after an exception it can be called again"
        candidate.finish()


def test_an_exception_whose_text_raises_is_still_told(sandbox: Sandbox) -> None:
    source = "class E(Exception):\n    def __str__(self): raise SystemExit\ndef f(): raise E\n"
    assert failure(sandbox, source).exception is Exception


@pytest.mark.parametrize(
    ("source", "limits"),
    [
        ("def f():\n    while True: pass", Limits(cpu_s=1.0, wall_s=20.0)),
        ("while True: pass", Limits(cpu_s=1.0, wall_s=20.0)),
        ("import time\ndef f(): time.sleep(100)", Limits(wall_s=1.0)),
        ("def f(): return len(bytearray(10**9))", Limits(memory_mb=128)),
        ("def f():\n    while True: print('x' * 1000)", Limits(output_kb=16)),
    ],
    ids=["cpu", "cpu while loading", "wall", "memory", "output"],
)
def test_a_limit_is_the_candidates_own_fault(sandbox: Sandbox, source: str, limits: Limits) -> None:
    error = failure(sandbox, source, limits=limits)
    assert error.kind == "limit" or error.exception is MemoryError


def test_the_answers_share_one_limit_of_time(sandbox: Sandbox) -> None:
    source = "import time\ndef f(): time.sleep(0.4)"
    with Candidate(sandbox, [source], limits=Limits(wall_s=1.0)) as candidate:
        candidate.call("f")
        candidate.call("f")
        with pytest.raises(CandidateError, match="within 1 s") as caught:
            candidate.call("f")
        assert caught.value.kind == "limit"


@pytest.mark.parametrize(
    "source",
    [
        FORGE + "say(nonce='0' * 32, value=1)\ndef f(): return 1",
        FORGE + "def f():\n    say(nonce='0' * 32, value=1)\n    return 1",
        FORGE + "def f():\n    say(nonce=asked()['nonce'], value=1)\n    return 1",
        FORGE + "def f():\n    say(nonce=asked()['nonce'], value={'object': 'evil'})\n    return 1",
        FORGE + "def f():\n    say(nonce=asked()['nonce'], forged=True)\n    return 1",
        FORGE + "def f():\n    say(nonce=asked()['nonce'], answered=1)\n    return 1",
        FORGE + "def f():\n    os.write(pipe(), b'[' * 50000 + b'\\n')\n    return 1",
        FORGE + "def f():\n    os.write(pipe(), b'\\xff\\n')\n    return 1",
        FORGE + "def f():\n    os.write(pipe(), b'null\\n')\n    return 1",
        MISCOUNT + "def f(): return miscount()",
    ],
    ids=range(10),
)  # fmt: skip
def test_answers_that_nobody_asked_for_break_the_protocol(sandbox: Sandbox, source: str) -> None:
    assert failure(sandbox, source).kind == "protocol"


def test_a_forged_answer_with_the_right_nonce_is_worth_what_it_says_and_no_more(sandbox: Sandbox) -> None:
    source = FORGE + "def f():\n    say(nonce=asked()['nonce'], value=3)\n    os._exit(0)"
    with Candidate(sandbox, [source]) as candidate:
        assert candidate.call("f") == 3, "as if f had returned it"
        with pytest.raises(CandidateError) as caught:
            candidate.finish()
        assert caught.value.kind == "ended", "but it must live to the end"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import atexit, os\natexit.register(os._exit, 3)\ndef f(): return 1", "ended"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ndef f(): return 1", "limit"),
    ],
)
def test_the_right_value_is_not_enough_if_the_end_is_wrong(sandbox: Sandbox, source: str, kind: str) -> None:
    assert failure(sandbox, source).kind == kind


def test_requests_hold_a_fresh_nonce_and_nothing_but_the_call(sandbox: Sandbox) -> None:
    source = FORGE + "def f(*args):\n    return asked()"
    with Candidate(sandbox, [source]) as candidate:
        first, second = candidate.call("f", ["a"]), candidate.call("f", ["a"])
    assert first.keys() == {"nonce", "call", "args", "kwargs"}
    assert len(first["nonce"]) == 32
    assert first["nonce"] != second["nonce"]
    assert {**first, "nonce": ""} == {**second, "nonce": ""}


def test_an_argument_that_is_not_plain_is_the_callers_fault(sandbox: Sandbox) -> None:
    with Candidate(sandbox, ["def f(x): return 1"]) as candidate:
        with pytest.raises(CodecError):
            candidate.call("f", [object()])
        assert candidate.call("f", [1]) == 1
        candidate.finish()


def test_a_large_argument_and_a_large_value_pass(sandbox: Sandbox) -> None:
    assert call(sandbox, "def f(x): return x * 2", list(range(20_000))) == [*range(20_000)] * 2
