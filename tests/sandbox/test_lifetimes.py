"""Whoever dies, nothing is left running, and the sandbox's own deaths are nobody else's failure."""

import gc
import os
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from strop.errors import SandboxError
from strop.sandbox import TIERS, Limits, Sandbox, Session, Tier, probe
from strop.sandbox.targets import processes_named

LONG = Limits(wall_s=60.0, cpu_s=60.0)
SLEEPER = """
import ctypes, os, time
ctypes.CDLL(None).prctl(15, {nonce!r}.encode())
if os.fork() == 0:
    os.setsid()
os.write(int(os.environ["STROP_ANSWERS"]), b"up\\n")
time.sleep(60)
"""
CALLER = """
import sys, time
from strop.sandbox import Limits, Sandbox
sandbox = Sandbox.open({tier!r}, workers=1, allow_unsafe=True)
session = sandbox.start({program!r}, limits=Limits(wall_s=60.0))
session.receive(30.0), session.receive(30.0)
print(sandbox._runner.workers[0]._process.pid, sandbox._runner.workers[0]._folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> Tier:
    (found,) = probe([request.param])
    if not found.attacks:
        pytest.skip(f"{found.tier} cannot be started here: {found.why}")
    return found.tier


def new_nonce() -> str:
    return f"st{secrets.token_hex(6)}"


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def asleep(sandbox: Sandbox, nonce: str) -> Session:
    """A session of two processes that carry the name."""
    session = sandbox.start(SLEEPER.format(nonce=nonce), limits=LONG)
    assert [session.receive(30.0), session.receive(30.0)] == [b"up", b"up"]
    assert len(processes_named(nonce)) == 2
    return session


@pytest.mark.capability("TU-20")
def test_a_caller_killed_in_the_middle_leaves_nothing(tier: Tier) -> None:
    nonce = new_nonce()
    program = CALLER.format(tier=tier, program=SLEEPER.format(nonce=nonce))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        zygote, folder = caller.stdout.readline().split()
        assert len(processes_named(nonce)) == 2
        assert Path(f"/proc/{zygote}").exists()
        caller.kill()
    assert within(2.0, lambda: not processes_named(nonce))
    assert within(2.0, lambda: not Path(f"/proc/{zygote}").exists() or "Z" in Path(f"/proc/{zygote}/stat").read_text())
    assert within(2.0, lambda: not Path(folder).exists())


def test_closing_ends_every_task_and_leaves_no_folder(tier: Tier) -> None:
    nonce = new_nonce()
    sandbox = Sandbox.open(tier, workers=2, allow_unsafe=True)
    sessions = [asleep(sandbox, nonce) for _ in range(1)]
    folders = [worker._folder for worker in sandbox._runner.workers]
    sandbox.close()
    assert processes_named(nonce) == []
    assert not any(map(os.path.exists, folders))
    assert sessions[0].end().state == "infrastructure"
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run("print(1)")
    sandbox.close()


def test_a_forgotten_session_is_killed(tier: Tier) -> None:
    nonce = new_nonce()
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        session = asleep(sandbox, nonce)
        del session
        gc.collect()
        assert within(2.0, lambda: not processes_named(nonce))


def test_a_killed_zygote_is_replaced_and_its_tasks_are_infrastructure(tier: Tier) -> None:
    nonce = new_nonce()
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        session = asleep(sandbox, nonce)
        zygote = sandbox._runner.workers[0]._process.pid
        children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
        inner = [int(pid) for pid in children] if tier == "namespaces" else [zygote]
        for pid in inner:
            os.kill(pid, signal.SIGKILL)
        assert session.wait().state == "infrastructure"
        assert within(2.0, lambda: not processes_named(nonce))
        assert sandbox.run("print(1)").stdout == b"1\n"


def test_the_thread_that_opened_a_sandbox_may_end(tier: Tier) -> None:
    opened: list[Sandbox] = []
    thread = threading.Thread(target=lambda: opened.append(Sandbox.open(tier, workers=1, allow_unsafe=True)))
    thread.start()
    thread.join()
    with opened[0] as sandbox:
        time.sleep(0.2)
        assert sandbox.run("print(1)").stdout == b"1\n"


def test_another_process_must_open_its_own(tier: Tier) -> None:
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        pid = os.fork()
        if pid == 0:
            try:
                sandbox.run("print(1)")
            except SandboxError:
                os._exit(42)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
        assert sandbox.run("print(1)").stdout == b"1\n"


def test_no_fd_is_lost_in_many_runs(tier: Tier) -> None:
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        sandbox.run("print(1)")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            sandbox.run("print(1)")
            sandbox.start("input()").end()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_caller_without_free_fds_is_told_so_and_loses_none(tier: Tier) -> None:
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        sandbox.run("print(1)")
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        for num_free in range(8):
            taken = [os.dup(0) for _ in range(64)]
            for fd in taken[:num_free]:
                os.close(fd)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1, limits[1]))
                with pytest.raises(SandboxError, match="could not be begun"):
                    sandbox.run("print(1)")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for fd in taken[num_free:]:
                    os.close(fd)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before
        assert sandbox.run("print(1)").stdout == b"1\n"


def test_a_forked_copy_of_the_caller_keeps_nothing_alive(tier: Tier) -> None:
    nonce = new_nonce()
    sandbox = Sandbox.open(tier, workers=1, allow_unsafe=True)
    session = asleep(sandbox, nonce)
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    try:
        started = time.monotonic()
        del session
        gc.collect()
        assert within(2.0, lambda: not processes_named(nonce))
        sandbox.close()
        assert time.monotonic() - started < 5.0
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_zygote_that_cannot_be_replaced_is_infrastructure(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        worker = sandbox._runner.workers[0]
        worker._control.close()
        with monkeypatch.context() as broken:
            broken.setattr("strop.sandbox.worker.tempfile.mkdtemp", lambda **_: "/nonexistent/folder")
            outcome = sandbox.run("print(1)")
        assert (outcome.state, outcome.exit_code) == ("infrastructure", None)
        assert "cannot be replaced" in outcome.reason
        assert sandbox.run("print(1)").stdout == b"1\n"


def test_a_forked_copy_of_the_caller_ends_nothing(tier: Tier) -> None:
    with Sandbox.open(tier, workers=1, allow_unsafe=True) as sandbox:
        sessions = [sandbox.start("import time\ntime.sleep(0.5)\nprint('done')") for _ in range(2)]
        pid = os.fork()
        if pid == 0:
            state = sessions[0].end().state
            sessions.clear()
            gc.collect()
            sandbox.close()
            os._exit(42 if state == "infrastructure" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
        assert [session.wait().stdout for session in sessions] == [b"done\n"] * 2
        assert sandbox.run("print(1)").stdout == b"1\n"
