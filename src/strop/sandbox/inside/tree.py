"""Killing all that a task started, whatever it did to get away."""

from __future__ import annotations

import contextlib
import os
import signal
import time


def descendants(root: int) -> list[int]:
    """The processes below ``root``, nearest first."""
    found, at = [root], 0
    while at < len(found):
        found.extend(_children(found[at]))
        at += 1
    return found[1:]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
            found.extend(map(int, file.read().split()))
    return found


def kill_all(*, is_init: bool, timeout_s: float = 5.0) -> int:
    """Kill and reap every process below this one; how many were still running.

    As the first process of its namespace this one reaches all others at once; otherwise it must be their subreaper,
    so that whoever loses its parent comes back to it. Raises: TimeoutError if some cannot be killed.
    """
    deadline = time.monotonic() + timeout_s
    num_killed = 0
    while True:
        if is_init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            _kill(descendants(os.getpid()))
        try:
            while True:
                pid, status = os.waitpid(-1, 0 if is_init else os.WNOHANG)
                if pid == 0:
                    break
                num_killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        except ChildProcessError:
            return num_killed
        if time.monotonic() > deadline:
            raise TimeoutError("processes that cannot be killed")
        time.sleep(0.001)


def _kill(pids: list[int]) -> None:
    for pid in pids:  # stop them all first: what is stopped cannot fork
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGSTOP)
    for pid in reversed(pids):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def num_processes_of(uid: int) -> int:
    """How many threads the user runs on this machine, as the kernel's limit counts them."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    total += os.stat(f"/proc/{name}/task").st_nlink - 2
    return total
