"""One task in the sandbox and the pipes to it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
from dataclasses import replace
from types import TracebackType

from strop.sandbox.outcome import Limits, Outcome, SessionEnded, Tier

_GRACE_S = 60.0
"""How much longer than its limit a task may take to be set up and reported, on a busy machine."""


class Session:
    """One task's process tree: lines to it, lines from it, and its end; a context manager. Not for several threads.

    The task reads requests from the fd in ``STROP_REQUESTS`` and writes answers to the one in ``STROP_ANSWERS``.
    """

    def __init__(self, *, channel: socket.socket, requests: int, answers: int, limits: Limits, tier: Tier) -> None:
        self._channel, self._requests, self._answers = channel, requests, answers
        self._limits, self._tier = limits, tier
        self._line = bytearray()
        self._outcome: Outcome | None = None
        self._deadline = time.monotonic() + limits.wall_s + _GRACE_S
        self._lock = threading.Lock()
        self._owner = os.getpid()
        os.set_blocking(requests, False)

    def send(self, line: bytes) -> None:
        """Write one line, without its end, as fast as the task reads. Raises: SessionEnded."""
        left = memoryview(line + b"\n")
        while left:
            if self._outcome is not None:
                raise SessionEnded(self._outcome)
            ready = self._wait([(self._requests, select.POLLOUT)], self._deadline)
            if self._requests not in ready:
                raise SessionEnded(self.end())
            try:
                left = left[os.write(self._requests, left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise SessionEnded(self.wait()) from None

    def receive(self, timeout_s: float) -> bytes:
        """The next line of the task, without its end.

        Raises: TimeoutError if there is none in time; SessionEnded if there will be none, also where the line is
        longer than ``file_mb``.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._line:
            if self._outcome is not None:
                raise SessionEnded(self._outcome)
            ready = self._wait([(self._answers, select.POLLIN)], deadline)
            if self._answers in ready:
                self._read_more()
            elif ready:
                raise SessionEnded(self.end())
            else:
                raise TimeoutError(f"no line within {timeout_s:g} s")
        line, _, rest = self._line.partition(b"\n")
        self._line = rest
        return bytes(line)

    def end(self) -> Outcome:
        """Kill what is left of the tree; how the task ended. Again: the same."""
        return self._finish(kill=True)

    def wait(self) -> Outcome:
        """How the task ended, once it has, at the latest at its limit of time."""
        return self._finish(kill=False)

    def fail(self, reason: str) -> None:
        """It could not be begun: the sandbox's own failure."""
        self._outcome = self._failed(reason)
        self._close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __del__(self) -> None:
        if hasattr(self, "_owner") and self._outcome is None:
            self._close()  # its supervisor sees it and kills the tree

    def _wait(self, fds: list[tuple[int, int]], deadline: float) -> set[int]:
        """Which of the fds is ready; the channel alone if the task is over; none if it is too late."""
        poller = select.poll()
        if self._outcome is None:
            poller.register(self._channel, select.POLLIN)
        for fd, event in fds:
            if fd >= 0:
                poller.register(fd, event)
        return {fd for fd, _ in poller.poll(max(0.0, 1000 * (deadline - time.monotonic())))}

    def _read_more(self) -> None:
        found = os.read(self._answers, 1 << 16)
        self._line += found
        if not found:
            os.close(self._answers)
            self._answers = -1
        elif len(self._line) > self._limits.file_mb << 20 and b"\n" not in found:
            reason = f"an answer of more than {self._limits.file_mb} MB"
            self._outcome = replace(self.end(), state="output", exit_code=None, reason=reason)
            self._line.clear()
            raise SessionEnded(self._outcome)

    def _finish(self, *, kill: bool) -> Outcome:
        if self._outcome is None and os.getpid() != self._owner:
            self.fail("a session that another process began")
        with self._lock:
            if self._outcome is None:
                if kill:
                    with contextlib.suppress(OSError):
                        self._channel.shutdown(socket.SHUT_WR)
                try:
                    self._outcome = self._report(time.monotonic() + _GRACE_S if kill else self._deadline)
                finally:
                    self._close()
            return self._outcome

    def _report(self, deadline: float) -> Outcome:
        """What the supervisor tells; its silence is the sandbox's failure."""
        received = bytearray()
        try:
            while True:
                self._channel.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self._channel.recv(1 << 20)
                if not piece:
                    break
                received += piece
        except OSError as error:
            return self._failed(f"no report of its end: {error}")
        line, _, rest = received.partition(b"\n")
        if not line:
            return self._failed("its supervisor ended without a report")
        report = json.loads(line)
        parts: dict[str, bytes] = {}
        for name, size in report.pop("parts"):
            parts[name], rest = bytes(rest[:size]), rest[size:]
        if report["state"] == "infrastructure":
            return self._failed(report["reason"])
        files = {name.removeprefix("file:"): content for name, content in parts.items() if name.startswith("file:")}
        return Outcome(stdout=parts["stdout"], stderr=parts["stderr"], files=files, tier=self._tier, **report)

    def _failed(self, reason: str) -> Outcome:
        return Outcome(state="infrastructure", exit_code=None, tier=self._tier, reason=reason)

    def _close(self) -> None:
        if os.getpid() == self._owner:  # a forked copy must not end the task, nor keep it alive by holding the channel
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        for fd in (self._requests, self._answers):
            if fd >= 0:
                os.close(fd)
        self._requests = self._answers = -1
