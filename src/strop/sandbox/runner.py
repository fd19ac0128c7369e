"""Tasks started in one tier, whatever the tier is worth."""

from __future__ import annotations

import fcntl
import itertools
import marshal
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath

from strop.errors import SandboxError
from strop.sandbox.outcome import Limits, Tier
from strop.sandbox.session import Session
from strop.sandbox.worker import Worker

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Runner:
    """Some workers of one tier, taken in turn. Raises: SandboxError if the tier cannot be started, and why."""

    def __init__(self, tier: Tier, *, workers: int = 1, readable: Sequence[str] = ()) -> None:
        self.tier = tier
        self.workers: list[Worker] = []
        self._owner = os.getpid()
        self._turn = itertools.count()
        try:
            for _ in range(workers):
                self.workers.append(Worker(tier, readable))
        except BaseException:
            self.close()
            raise

    def begin(
        self,
        program: bytes,
        *,
        limits: Limits,
        files: Mapping[str, bytes],
        argv: Sequence[str] = (),
        stdin: bytes = b"",
        keep: Sequence[str] = (),
    ) -> Session:
        """Start a task: ``argv`` if there is one, the Python program otherwise. Raises: SandboxError."""
        if os.getpid() != self._owner:
            raise SandboxError("a sandbox that another process opened", do="open one in each process")
        for name in files:
            _check_name(name)
        for name in keep:
            _check_name(name, is_plain=True)
        header = {"argv": list(argv), "program": len(program), "files": {name: len(files[name]) for name in files}}
        packed = marshal.dumps(header)
        content = b"%d\n" % len(packed) + packed + program + b"".join(files.values())
        order = {"limits": asdict(limits), "keep": list(keep)}
        fds: list[int] = []
        try:
            channel, theirs = socket.socketpair()
            fds += os.pipe()
            fds += os.pipe()
            fds.append(_sealed(content))
            fds.append(_sealed(stdin))
        except OSError as error:
            for fd in fds:
                os.close(fd)
            raise SandboxError("a task could not be begun", why=str(error)) from None
        their_requests, requests, answers, their_answers, *sealed = fds
        given = [*sealed, their_requests, their_answers]
        session = Session(channel=channel, requests=requests, answers=answers, limits=limits, tier=self.tier)
        try:
            self.workers[next(self._turn) % len(self.workers)].begin(order, [theirs.fileno(), *given])
        except ConnectionError as error:
            session.fail(str(error))
        finally:
            theirs.close()
            for fd in given:
                os.close(fd)
        return session

    def close(self) -> None:
        """Kill every task and end the workers; a forked copy of the process that opened them leaves them alone."""
        if os.getpid() != self._owner:
            return
        for worker in self.workers:
            worker.close()


def _sealed(content: bytes) -> int:
    """A file in memory that nobody can change, to be read from its beginning."""
    fd = os.memfd_create("task", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_name(name: str, *, is_plain: bool = False) -> None:
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in name or (is_plain and len(path.parts) > 1):
        why = "it must lie beside the program" + (", in no folder" if is_plain else "")
        raise SandboxError(f"a file named {name!r}", why=why, do="give a relative name")
