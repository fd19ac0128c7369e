"""The sandbox: untrusted programs in, outcomes out."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from types import MappingProxyType, TracebackType

from strop.errors import SandboxError
from strop.sandbox.outcome import Limits, Outcome, SessionEnded, Tier
from strop.sandbox.session import Session
from strop.sandbox.worker import Worker

__all__ = ["Limits", "Outcome", "Sandbox", "Session", "SessionEnded", "Tier"]

_NO_FILES: Mapping[str, bytes] = MappingProxyType({})
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Sandbox:
    """Runs untrusted programs, each isolated from this machine and from the others; a context manager.

    For any number of threads, in the process that opened it.
    """

    def __init__(self, *, tier: Tier, workers: int, readable: Sequence[str]) -> None:
        self.tier = tier
        self._owner = os.getpid()
        self._turn = itertools.count()
        self._workers: list[Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(Worker(tier, readable))
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls,
        tier: Tier | None = None,
        *,
        workers: int = 2,
        allow_unsafe: bool = False,
        readable: Sequence[str] = (),
    ) -> Sandbox:
        return cls(tier=tier or "limits", workers=workers, readable=readable)

    def start(self, program: str, *, limits: Limits | None = None, files: Mapping[str, bytes] = _NO_FILES) -> Session:
        """Start a Python program (standard library only), its files beside it, to talk to it. Raises: SandboxError."""
        return self._begin(program.encode(), (), b"", limits or Limits(), files, ())

    def run(
        self,
        program: str,
        *,
        stdin: bytes = b"",
        limits: Limits | None = None,
        files: Mapping[str, bytes] = _NO_FILES,
        keep: Sequence[str] = (),
    ) -> Outcome:
        """Run a Python program to its end; of the files that it made, those to ``keep``. Raises: SandboxError."""
        return self._begin(program.encode(), (), stdin, limits or Limits(), files, keep).wait()

    def command(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits | None = None,
        files: Mapping[str, bytes] = _NO_FILES,
        keep: Sequence[str] = (),
    ) -> Outcome:
        """Run a program of the system, found in ``/usr/bin:/bin`` or by its path, likewise. Raises: SandboxError."""
        return self._begin(b"", argv, stdin, limits or Limits(), files, keep).wait()

    def close(self) -> None:
        """Kill every task and end the workers."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(
        self,
        program: bytes,
        argv: Sequence[str],
        stdin: bytes,
        limits: Limits,
        files: Mapping[str, bytes],
        keep: Sequence[str],
    ) -> Session:
        if os.getpid() != self._owner:
            raise SandboxError("a sandbox opened in another process", do="open one in each process")
        for name in (*files, *keep):
            _check_name(name)
        header = {"argv": list(argv), "program": len(program), "files": {name: len(files[name]) for name in files}}
        content = json.dumps(header).encode() + b"\n" + program + b"".join(files.values())
        channel, theirs = socket.socketpair()
        pipes = os.pipe(), os.pipe()
        given = [_sealed(content), _sealed(stdin), pipes[0][0], pipes[1][1]]
        session = Session(channel=channel, requests=pipes[0][1], answers=pipes[1][0], limits=limits, tier=self.tier)
        try:
            order = {"limits": asdict(limits), "keep": list(keep)}
            self._workers[next(self._turn) % len(self._workers)].begin(order, [theirs.fileno(), *given])
        finally:
            theirs.close()
            for fd in given:
                os.close(fd)
        return session


def _sealed(content: bytes) -> int:
    """A file in memory that nobody can change, to be read from its beginning."""
    fd = os.memfd_create("task", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise SandboxError(f"a file named {name!r}", why="it must lie beside the program", do="give a relative name")
