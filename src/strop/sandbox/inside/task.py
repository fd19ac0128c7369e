"""The last steps of a task's process before the untrusted program: fds, limits, confinement, files."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # ``signal`` without its enumerations, which touch many pages
import atexit
import builtins
import fcntl
import marshal
import os
import resource
import signal
import site
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

REQUESTS, ANSWERS = 3, 4
_NUM_FILES = 64
_ALL_FDS = 1 << 30  # the caller's may have any number
_FREE_FDS = 64  # above those that a task is given
_PATH = "/usr/bin:/bin"
NOT_RUN = "there is no such program to run: "
"""How the reason begins where the system would not start what the caller named."""
_OURS: list[str] = []
_FORGOTTEN: list[types.ModuleType] = []  # hidden, but not taken apart: that copies many pages


class Ends(NamedTuple):
    """The fds of a task: what it reads and writes, its sealed content, and the pipe that says it is confined."""

    stdin: int
    stdout: int
    stderr: int
    requests: int
    answers: int
    content: int
    ready: int


def prepare() -> None:
    """What every task needs and no task changes, done once in the zygote: each page touched in a task is copied."""
    os.environ.clear()
    os.environ.update(PATH=_PATH, HOME="/tmp", TMPDIR="/tmp", LANG="C.UTF-8")
    os.environ.update(STROP_REQUESTS=str(REQUESTS), STROP_ANSWERS=str(ANSWERS))
    site.setquit()
    _OURS.extend(name for name in sys.modules if name.partition(".")[0] == "strop")


def become(
    ends: Ends, limits: Mapping[str, Any], scratch: str, num_processes: int, confine: Callable[[], None]
) -> NoReturn:
    """Turn this process into the task: run the Python program, or be replaced by a foreign one.

    A failure before the program's first step is written into ``ends.ready``: it is the sandbox's own.
    """
    ready = ends.ready
    try:
        os.setsid()
        content, ready = _take(ends)
        os.chdir(scratch)
        _limit(limits, num_processes)
        if os.environ["HOME"] != scratch:
            os.environ["HOME"] = os.environ["TMPDIR"] = scratch
        header, program = _unpack(content)
        confine()
        os.write(ready, b"1")
        if header["argv"]:
            _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
            os.close(REQUESTS)
            os.close(ANSWERS)
            del os.environ["STROP_REQUESTS"], os.environ["STROP_ANSWERS"]
            os.execvp(header["argv"][0], header["argv"])
        os.close(ready)
    except BaseException as error:
        os.write(ready, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    execute(program, _fresh_interpreter())


def _take(ends: Ends) -> tuple[int, int]:
    """Put the fds in their places and close all others; where the content and the ready pipe are now."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FREE_FDS) for fd in ends]
    for place, fd in enumerate(high[:5]):
        os.dup2(fd, place)
    content, ready = os.dup2(high[5], 5, inheritable=False), os.dup2(high[6], 6, inheritable=False)
    os.closerange(7, _ALL_FDS)
    return content, ready


def _limit(limits: Mapping[str, Any], num_processes: int) -> None:
    cpu_s = max(1, -int(-limits["cpu_s"] // 1))
    bounds = (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_NOFILE, _NUM_FILES, _NUM_FILES),
        (resource.RLIMIT_FSIZE, limits["file_mb"] << 20, limits["file_mb"] << 20),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_NPROC, num_processes, num_processes),
        (resource.RLIMIT_AS, limits["memory_mb"] << 20, limits["memory_mb"] << 20),
    )
    for kind, soft, hard in bounds:
        resource.setrlimit(kind, (soft, hard))


def _unpack(content: int) -> tuple[dict[str, Any], bytes]:
    """The header and the program of the content; its files are written into the working directory."""
    with os.fdopen(content, "rb") as file:
        header: dict[str, Any] = marshal.loads(file.read(int(file.readline())))
        program = file.read(header["program"])
        for name, size in header["files"].items():
            if os.path.dirname(name):
                os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as target:
                target.write(file.read(size))
    return header, program


def _fresh_interpreter() -> dict[str, Any]:
    """What a program finds when it is started by itself: its own ``__main__``, streams and names."""
    _FORGOTTEN.extend(map(sys.modules.pop, _OURS))
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    sys.argv = ["program.py"]
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = open(fd, mode, encoding="utf-8", errors=None if fd < 2 else "backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    _signal.signal(_signal.SIGINT, signal.default_int_handler)
    return main.__dict__


def execute(program: bytes, namespace: dict[str, Any]) -> NoReturn:
    """Run the program and end the process as the interpreter would, but without taking itself apart first.

    That part takes longer than most programs. What matters of it is done: threads are joined, exit functions called,
    files that were left open flushed.
    """
    code = 1
    try:
        exec(compile(program, "<program>", "exec", dont_inherit=True), namespace)
        code = 0
    except SystemExit as ending:
        code = _exit_code(ending.code)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        namespace.clear()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = code or 120  # as the interpreter says that its output could not be written
    os._exit(code)


def _exit_code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    print(value, file=sys.stderr)
    return 1
