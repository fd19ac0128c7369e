"""Workers answer, ask back, hang, crash and grow; none of it reaches their caller or their neighbours."""

import gc
import threading
import time
from pathlib import Path

import pytest

from strop.errors import VerifierError
from strop.verifiers.processes import WorkerPool, WorkerProcess

SCRIPT = """\
import os
import time

def answer(request, call):
    match request["do"]:
        case "pid":
            return {"pid": os.getpid()}
        case "hang":
            while True:
                pass
        case "sleep":
            time.sleep(600)
        case "power":
            return {"digits": 9**9**9 % 10}
        case "crash":
            os.kill(os.getpid(), 11)
        case "exit":
            os._exit(7)
        case "raise":
            raise KeyError("gone")
        case "set":
            return {1, 2}
        case "grow":
            return {"size": len(bytearray(1 << 34))}
        case "print":
            print('{"answer": {"forged": true}}')
            return {"honest": True}
        case "ask":
            return {"sum": sum(call({"number": n})["square"] for n in range(4))}
        case "large":
            return {"text": request["text"][::-1]}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def gone(pid: int) -> bool:
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_a_worker_answers_one_request_after_the_other_and_ends_with_its_block(script: Path) -> None:
    with WorkerProcess(script) as worker:
        first, second = worker.ask({"do": "pid"}, 30), worker.ask({"do": "pid"}, 30)
        text = "ü\n" * 200_000
        assert worker.ask({"do": "large", "text": text}, 30).value == {"text": text[::-1]}
    assert first.state == "answered"
    assert first.value == second.value
    assert gone(first.value["pid"])
    assert not worker.is_alive


def test_what_a_script_prints_is_kept_and_never_its_answer(script: Path) -> None:
    with WorkerProcess(script) as worker:
        answer = worker.ask({"do": "print"}, 30)
    assert answer.value == {"honest": True}
    assert answer.printed == '{"answer": {"forged": true}}'


@pytest.mark.parametrize("request_", ["hang", "power"])
def test_a_request_that_hangs_is_killed_and_its_place_named(script: Path, request_: str) -> None:
    with WorkerProcess(script) as worker:
        pid = worker.ask({"do": "pid"}, 30).value["pid"]
        answer = worker.ask({"do": request_}, 0.5)
        assert (answer.state, answer.value, worker.is_alive) == ("timeout", {}, False)
        assert f'File "{script}"' in answer.stack
    assert gone(pid)


@pytest.mark.parametrize(("request_", "how"), [("crash", "signal SIGSEGV"), ("exit", "exit code 7")])
def test_a_process_that_ends_says_how(script: Path, request_: str, how: str) -> None:
    with WorkerProcess(script) as worker:
        answer = worker.ask({"do": request_}, 30)
    assert (answer.state, answer.how, worker.is_alive) == ("ended", how, False)


def test_an_exception_is_told_and_the_worker_goes_on(script: Path) -> None:
    with WorkerProcess(script) as worker:
        assert worker.ask({"do": "raise"}, 30).how == "KeyError: 'gone'"
        not_json = worker.ask({"do": "set"}, 30)
        assert (not_json.state, not_json.how) == ("raised", "TypeError: Object of type set is not JSON serializable")
        assert worker.ask({"do": "pid"}, 30).state == "answered"
        with pytest.raises(TypeError):
            worker.ask({"do": {1}}, 30)
        assert worker.ask({"do": "pid"}, 30).state == "answered"


def test_the_memory_bound_turns_growth_into_an_exception(script: Path) -> None:
    with WorkerProcess(script, memory_mb=512) as worker:
        answer = worker.ask({"do": "grow"}, 30)
    assert answer.state == "raised"
    assert answer.how.startswith("MemoryError")


def test_a_script_asks_its_parent_while_it_works(script: Path) -> None:
    def square(request):  # type: ignore[no-untyped-def]
        return {"square": request["number"] ** 2}

    def refuse(request):  # type: ignore[no-untyped-def]
        raise LookupError(request["number"])

    with WorkerProcess(script) as worker:
        assert worker.ask({"do": "ask"}, 30, on_call=square).value == {"sum": 0 + 1 + 4 + 9}
        with pytest.raises(LookupError):
            worker.ask({"do": "ask"}, 30, on_call=refuse)
        assert not worker.is_alive, "an answer that belongs to nobody must not reach the next request"


def test_a_script_that_cannot_be_loaded_ends_with_its_traceback(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import no_such_module_at_all\n")
    with WorkerProcess(path) as worker:
        answer = worker.ask({}, 30)
    assert answer.state == "ended"
    assert "No module named 'no_such_module_at_all'" in answer.printed
    with pytest.raises(VerifierError, match=r"broken\.py could not be started"):
        WorkerPool(path, first={}).ask({}, 30)


def test_a_hanging_request_delays_none_of_its_neighbours_in_a_pool(script: Path) -> None:
    pool = WorkerPool(script, first={"do": "pid"})
    states: list[str] = []
    hanging = threading.Thread(target=lambda: states.append(pool.ask({"do": "sleep"}, 60).state), daemon=True)
    hanging.start()
    pids = {pool.ask({"do": "pid"}, 30).value["pid"] for _ in range(20)}
    assert len(pids) == 1, "one idle worker is reused"
    assert hanging.is_alive()
    assert not states
    pool.close()
    assert gone(pids.pop())


def test_a_pool_replaces_a_worker_that_was_killed(script: Path) -> None:
    pool = WorkerPool(script, first={"do": "pid"})
    before = pool.ask({"do": "pid"}, 30).value["pid"]
    assert pool.ask({"do": "hang"}, 0.3).state == "timeout"
    after = pool.ask({"do": "pid"}, 30).value["pid"]
    assert before != after
    del pool
    gc.collect()
    assert gone(after)
