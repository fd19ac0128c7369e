"""Programs and commands run to their end: what they are given, what they give, and how their ends are told."""

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strop.errors import SandboxError
from strop.sandbox import TIERS, Limits, Sandbox, SessionEnded, probe


@pytest.fixture(scope="module", params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    (found,) = probe([request.param])
    if not found.attacks:
        pytest.skip(f"{found.tier} cannot be started here: {found.why}")
    with Sandbox.open(request.param, allow_unsafe=True) as opened:
        yield opened


def test_a_program_finds_its_input_its_files_and_a_folder_of_its_own(sandbox: Sandbox) -> None:
    program = "import os\nprint(input(), open('a.txt').read(), open('b/c.txt').read(), sorted(os.listdir('.')))\n"
    program += "open('made', 'w').write('new')"
    outcome = sandbox.run(program, stdin=b"in\n", files={"a.txt": b"A", "b/c.txt": b"C"}, keep=["made", "missing"])
    assert outcome.stdout == b"in A C ['a.txt', 'b']\n"
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("exited", 0, "")
    assert dict(outcome.files) == {"made": b"new"}


def test_a_link_is_not_kept(sandbox: Sandbox) -> None:
    outcome = sandbox.run("import os\nos.symlink('/etc/passwd', 'made')\nos.mkdir('folder')", keep=["made", "folder"])
    assert dict(outcome.files) == {}


@pytest.mark.parametrize(
    ("program", "code", "stdout", "words"),
    [
        ("exit(3)", 3, b"", b""),
        ("import sys\nsys.exit('told')", 1, b"", b"told\n"),
        ("raise SystemExit", 0, b"", b""),
        ("import os\nprint(1, flush=True)\nos._exit(7)", 7, b"1\n", b""),
        ("1 / 0", 1, b"", b"ZeroDivisionError: division by zero\n"),
        ("def f(:", 1, b"", b"SyntaxError: invalid syntax\n"),
        ("import atexit\natexit.register(print, 'late')\nprint('early')", 0, b"early\nlate\n", b""),
        ("import threading\nthreading.Timer(0.1, print, ['late']).start()", 0, b"late\n", b""),
        ("class A:\n    pass\nimport pickle\nprint(pickle.loads(pickle.dumps(A())).__module__)", 0, b"__main__\n", b""),
        ("print(__name__, 'strop.sandbox' in __import__('sys').modules)", 0, b"__main__ False\n", b""),
        ("import sys\nprint(sys.argv)", 0, b"['program.py']\n", b""),
        ("print('ä')", 0, b"\xc3\xa4\n", b""),
        ("import io\nf = io.open(1, 'w', closefd=False)\nf.write('unflushed')", 0, b"unflushed", b""),
        ("import multiprocessing, random, tempfile\ntempfile.TemporaryFile().write(b'x')", 0, b"", b""),
    ],
)
def test_a_program_ends_as_the_interpreter_would_end_it(
    sandbox: Sandbox, program: str, code: int, stdout: bytes, words: bytes
) -> None:
    outcome = sandbox.run(program)
    assert (outcome.state, outcome.exit_code, outcome.stdout) == ("exited", code, stdout)
    assert outcome.stderr.endswith(words)
    assert outcome.tier == sandbox.tier


def test_a_death_by_signal_is_named(sandbox: Sandbox) -> None:
    outcome = sandbox.run("import ctypes\nctypes.string_at(0)")
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("killed", -11, "signal 11 (Segmentation fault)")


def test_hashes_are_the_same_in_every_run(sandbox: Sandbox) -> None:
    """A set's order may reach the output, and the same text must get the same verdict."""
    assert len({sandbox.run("print(hash('strop'), {'a', 'b', 'c'})").stdout for _ in range(4)}) == 1


def test_every_run_has_its_own_randomness(sandbox: Sandbox) -> None:
    assert len({sandbox.run("import random\nprint(random.random())").stdout for _ in range(4)}) == 4


def test_many_threads_run_at_once_without_mixing(sandbox: Sandbox) -> None:
    found: dict[int, bytes] = {}

    def run(number: int) -> None:
        found[number] = sandbox.run(f"print({number})", limits=Limits(wall_s=60)).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"{number}\n".encode() for number in range(24)}


def test_a_command_of_the_system_runs_under_the_same_limits(sandbox: Sandbox) -> None:
    outcome = sandbox.command(["sort", "-r"], stdin=b"a\nb\n")
    assert (outcome.state, outcome.exit_code, outcome.stdout) == ("exited", 0, b"b\na\n")
    script = "cat given; echo made > out; exec sleep 60"
    outcome = sandbox.command(["sh", "-c", script], files={"given": b"x"}, keep=["out"], limits=Limits(wall_s=0.5))
    assert (outcome.state, outcome.stdout, dict(outcome.files)) == ("timeout", b"x", {"out": b"made\n"})
    assert sandbox.command(["sh", "-c", "yes"]).state == "output"
    assert sandbox.command(["sh", "-c", "while :; do :; done"], limits=Limits(cpu_s=0.3)).state == "cpu"


@pytest.mark.parametrize("name", ["no-such-program", "/etc/hostname/sub", "/no/such/program"])
def test_a_command_that_does_not_exist_is_its_callers_error(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(SandboxError, match=f"finds no program `{name}`") as told:
        sandbox.command([name])
    assert "Error" in told.value.why


def test_text_is_given_as_utf_8(sandbox: Sandbox) -> None:
    outcome = sandbox.run("print(input(), open('a.txt').read())", stdin="ä\n", files={"a.txt": "ö"})
    assert outcome.stdout == b"\xc3\xa4 \xc3\xb6\n"


@pytest.mark.parametrize(
    ("program", "given", "what"),
    [
        (123, {}, "the program 123"),
        ("\udc80", {}, "the program is no UTF-8"),
        ("", {"stdin": 5}, "stdin is of type int"),
        ("", {"files": {"a.txt": 1.5}}, "the file 'a.txt' is of type float"),
        ("", {"files": ["a.txt"]}, "files is "),
        ("", {"files": {1: b""}}, "files is "),
        ("", {"keep": "made"}, "keep is 'made'"),
        ("", {"limits": {"wall_s": 1}}, "limits is "),
    ],
)
def test_what_cannot_be_given_to_a_task_is_named(sandbox: Sandbox, program: Any, given: Any, what: str) -> None:
    with pytest.raises(SandboxError, match=what) as told:
        sandbox.run(program, **given)
    assert told.value.do or told.value.why


def test_a_command_is_a_list_of_strings(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="the command is"):
        sandbox.command(["sort", 1])  # type: ignore[list-item]


def test_a_limit_that_is_no_number_is_named() -> None:
    with pytest.raises(SandboxError, match="the limit memory_mb is 'x'"):
        Limits(memory_mb="x")  # type: ignore[arg-type]


def test_a_tier_that_does_not_exist_is_told_with_the_nearest_and_all_of_them() -> None:
    with pytest.raises(SandboxError, match="there is no tier 'landlok'") as told:
        Sandbox.open("landlok")  # type: ignore[arg-type]
    assert told.value.do.startswith("did you mean `landlock`?")
    assert all(tier in told.value.do for tier in TIERS)


def test_an_empty_path_does_not_hide_what_the_probe_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    before = probe(["landlock"], refresh=True)
    monkeypatch.setenv("PATH", "")
    try:
        assert probe(["landlock"], refresh=True) == before
    finally:
        monkeypatch.undo()
        probe(refresh=True)


def test_a_session_speaks_line_by_line(sandbox: Sandbox) -> None:
    program = "import os\nr = os.fdopen(int(os.environ['STROP_REQUESTS']), 'rb')\n"
    program += "w = os.fdopen(int(os.environ['STROP_ANSWERS']), 'wb', 0)\nfor line in r: w.write(line.upper())"
    with sandbox.start(program) as session:
        for line in (b"one", b"", b"x" * 300_000):
            session.send(line)
            assert session.receive(10.0) == line.upper()
        with pytest.raises(TimeoutError, match="no line within"):
            session.receive(0.05)
        outcome = session.end()
    assert (outcome.state, outcome.reason) == ("killed", "ended by the caller")
    assert session.end() is outcome
    for again in (lambda: session.receive(1.0), lambda: session.send(b"x")):
        with pytest.raises(SessionEnded) as caught:
            again()
        assert caught.value.outcome is outcome


def test_the_last_lines_of_a_session_come_before_its_end(sandbox: Sandbox) -> None:
    program = "import os\nw = int(os.environ['STROP_ANSWERS'])\nos.write(w, b'one\\ntwo\\nunfinished')\nexit(4)"
    session = sandbox.start(program)
    assert [session.receive(10.0), session.receive(10.0)] == [b"one", b"two"]
    with pytest.raises(SessionEnded) as caught:
        session.receive(10.0)
    assert (caught.value.outcome.state, caught.value.outcome.exit_code) == ("exited", 4)


def test_a_session_that_does_not_listen_ends_at_its_limit(sandbox: Sandbox) -> None:
    session = sandbox.start("import time\ntime.sleep(60)", limits=Limits(wall_s=0.5))
    with pytest.raises(SessionEnded) as caught:
        session.send(b"x" * 10_000_000)
    assert caught.value.outcome.state == "timeout"


def test_an_endless_answer_ends_the_session(sandbox: Sandbox) -> None:
    program = "import os\nw = int(os.environ['STROP_ANSWERS'])\nwhile True: os.write(w, b'x' * 65536)"
    session = sandbox.start(program, limits=Limits(file_mb=1))
    with pytest.raises(SessionEnded) as caught:
        session.receive(30.0)
    assert (caught.value.outcome.state, caught.value.outcome.reason) == ("output", "an answer of more than 1 MB")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a\0b"])
def test_files_lie_beside_the_program(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(SandboxError, match="a file named"):
        sandbox.run("", files={name: b""})
    with pytest.raises(SandboxError, match="a file named"):
        sandbox.run("", keep=[name])


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True, None])
@pytest.mark.parametrize("limit", ["wall_s", "memory_mb", "processes"])
def test_a_limit_that_is_no_positive_number_is_refused(limit: str, value: Any) -> None:
    with pytest.raises(SandboxError, match=limit):
        Limits(**{limit: value})


def test_memory_is_counted_in_whole_megabytes() -> None:
    with pytest.raises(SandboxError, match="memory_mb"):
        Limits(memory_mb=2.5)  # type: ignore[arg-type]


def test_a_task_has_its_own_five_fds_and_no_other_whatever_their_numbers(sandbox: Sandbox) -> None:
    program = "import os\nfound = []\nfor fd in range(9000):\n    try: os.fstat(fd)\n    except OSError: continue\n"
    program += "    found.append(fd)\nprint(found)"
    assert sandbox.run(program).stdout == b"[0, 1, 2, 3, 4]\n"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 6000:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (6000, hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(5000)]
    try:
        with Sandbox.open(sandbox.tier, workers=1, allow_unsafe=True) as opened:
            assert opened.run(program).stdout == b"[0, 1, 2, 3, 4]\n"
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "program",
    [
        "import os\nfor n in range(3000):\n    os.mkdir('d'); os.chdir('d')",
        "import os\nos.mkdir('a', 0o300); open('a/b', 'w')",
        "import os\nos.mkdir('a'); os.mkdir('a/a'); os.mkdir('b'); os.mkdir('b/a'); open('b/a/x', 'w')",
        "for n in range(3000): open(str(n), 'w')",
        "import os\nos.symlink('.', 'loop'); os.mkfifo('pipe'); os.link('pipe', 'again')",
    ],
)
def test_whatever_a_task_leaves_in_its_folder_is_removed(sandbox: Sandbox, program: str) -> None:
    outcome = sandbox.run(program, limits=Limits(wall_s=60.0, cpu_s=60.0))
    assert outcome.state in ("exited", "output")
    assert [found for worker in sandbox._runner.workers for found in Path(worker._folder).glob("*")] == []


def test_more_files_than_anybody_needs_are_too_many(sandbox: Sandbox) -> None:
    program = "import time\nfor n in range(9000): open(str(n), 'w').close()\ntime.sleep(1)\nprint('made')"
    outcome = sandbox.run(program, limits=Limits(wall_s=60.0, cpu_s=60.0))
    assert outcome.state == "output"
    assert outcome.stdout == b""
