"""One task watched from its first step to the death of its last process."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # as in ``task``
import contextlib
import json
import os
import resource
import select
import signal
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from strop.sandbox.inside import folders, kernel, tree
from strop.sandbox.inside.landlock import Landlock
from strop.sandbox.inside.seccomp import forbid
from strop.sandbox.inside.task import NOT_RUN, Ends, become

_TICK_S = 0.05
_SETUP_S = 30.0
_UNKNOWN = (b"FileNotFoundError", b"NotADirectoryError", b"PermissionError")
NAMESPACES = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC


class Supervisor:
    """Starts one task and reports how it ended; the process that holds it ends with it.

    With namespaces it is the first process of its own, out of the task's reach, and all ends with it. Without, it is
    the subreaper of whatever the task starts.
    """

    def __init__(
        self, order: Mapping[str, Any], confinement: Mapping[str, Any], channel: socket.socket, lifelines: Sequence[int]
    ):
        self.limits: Mapping[str, Any] = order["limits"]
        self.keep: Sequence[str] = order["keep"]
        self.confinement = confinement
        self.channel = channel
        self.lifelines = lifelines
        self.is_init: bool = confinement["namespaces"]
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.ready = b""
        self.scratch = ""
        self.measured = 0.0
        self.pid = 0
        self.begun = 0.0  # the limit of time counts from the program's first step

    def start(self, content: int, stdin: int, requests: int, answers: int) -> NoReturn:
        """Fork the task, watch it, report, and end."""
        try:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            self.scratch = self._enter()
            pipes = [os.pipe() for _ in range(3)]
            ends = Ends(stdin, pipes[0][1], pipes[1][1], requests, answers, content, pipes[2][1])
            num_processes = self.limits["processes"] + self._num_others()
            self.begun = time.monotonic()
            self.pid = os.fork()
            if self.pid == 0:
                kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
                self.channel.detach()  # or it closes, when it is forgotten, an fd that by then is the task's
                become(ends, self.limits, self.scratch, num_processes, self._confine)
            for fd in ends:
                os.close(fd)
            report = self._watch([end for end, _ in pipes])
        except BaseException as error:
            report = {"state": "infrastructure", "reason": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(OSError):
                tree.kill_all(is_init=self.is_init)
        self._leave(report)

    def _enter(self) -> str:
        """Make the task's own surroundings; the folder it may write to."""
        if not self.is_init:
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            scratch = os.path.join(self.confinement["scratch"], os.urandom(8).hex())
            os.mkdir(scratch, 0o700)
            return scratch
        user, group = self.confinement["inside_uid"], self.confinement["inside_gid"]
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(fd, text.encode())
            os.close(fd)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        plain = kernel.MS_NOSUID | kernel.MS_NODEV
        size = f"size={self.limits['scratch_mb']}m,nr_inodes={folders.MAX_ENTRIES},mode=700"
        kernel.mount("tmpfs", "/tmp", "tmpfs", plain, size)
        kernel.mount("proc", "/proc", "proc", plain | kernel.MS_NOEXEC)
        return "/tmp"

    def _num_others(self) -> int:
        """Processes that the kernel counts against the task's limit and that are not the task's."""
        return 1 if self.is_init else tree.num_processes_of(os.getuid())

    def _confine(self) -> None:
        kernel.drop_capabilities()
        if self.confinement["landlock"]:
            Landlock(readable=self.confinement["readable"], writable=[self.scratch]).enforce()
        if self.confinement["seccomp"]:
            forbid(shares_files=not self.confinement["namespaces"])

    def _watch(self, ends: Sequence[int]) -> dict[str, Any]:
        """Until the task ends, or must: the report, with nothing of it left running."""
        names = dict(zip(ends, ("stdout", "stderr", "ready")))
        cause = self._until_over(names)
        if cause:
            os.kill(self.pid, signal.SIGKILL)
        _, status, _ = os.wait4(self.pid, 0)
        wall_s = time.monotonic() - self.begun
        num_left = tree.kill_all(is_init=self.is_init)
        for fd in ends:
            os.set_blocking(fd, False)
            while self._read(fd, names[fd]):
                pass
        state, reason = cause or self._excess_of_output() or self._ending(status)
        if num_left and state != "infrastructure":
            reason = f"{reason}; processes left behind and killed: {num_left}".lstrip("; ")
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "state": state,
            "reason": reason,
            "exit_code": os.waitstatus_to_exitcode(status) if cause is None else None,
            "wall_s": wall_s,
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }

    def _until_over(self, names: Mapping[int, str]) -> tuple[str, str] | None:
        """Read what the task writes until it is over: why it must end, None if it ended by itself."""
        watched = os.pidfd_open(self.pid)
        poller = select.poll()
        for fd in (*names, watched, self.channel.fileno(), *self.lifelines):
            poller.register(fd, select.POLLIN)
        while True:
            events = [fd for fd, _ in poller.poll(1000 * self._patience_s())]
            for fd in events:
                if fd in names:
                    if not self._read(fd, names[fd]):
                        poller.unregister(fd)
                elif fd == self.channel.fileno():
                    return "killed", "ended by the caller"
            if watched in events:
                return None
            if any(fd in events for fd in self.lifelines):
                return "infrastructure", "the sandbox was closed, or its zygote died"
            excess = self._excess()
            if excess:
                return excess

    def _patience_s(self) -> float:
        """When to look again at the latest."""
        left_s = self.begun + (self.limits["wall_s"] if self.ready else _SETUP_S) - time.monotonic()
        left_s = max(0.0, min(left_s, self.limits["cpu_s"] - _cpu_s(self.pid))) + 0.001
        return float(left_s if self.is_init else min(left_s, _TICK_S))

    def _read(self, fd: int, name: str) -> bool:
        """Take what there is; whether more may come."""
        try:
            found = os.read(fd, 65536)
        except BlockingIOError:
            return False
        if name == "ready":
            self.begun = self.begun if self.ready else time.monotonic()
            self.ready = (self.ready + found)[:500]
        else:
            kept = self.output[name]
            kept += found[: self.limits["output_kb"] * 1024 + 1 - len(kept)]
        return bool(found)

    def _excess(self) -> tuple[str, str] | None:
        """The limit that the running task has passed."""
        limits = self.limits
        lasted_s = time.monotonic() - self.begun
        if not self.ready:
            return ("infrastructure", "the task was not set up in time") if lasted_s >= _SETUP_S else None
        if lasted_s >= limits["wall_s"]:
            return "timeout", f"longer than {limits['wall_s']:g} s"
        if _cpu_s(self.pid) >= limits["cpu_s"]:
            return "cpu", f"more than {limits['cpu_s']:g} s of processor time"
        return self._excess_of_scratch() or self._excess_of_output()

    def _excess_of_scratch(self) -> tuple[str, str] | None:
        """Without a file system of its own the task's folder is measured from time to time."""
        if self.is_init or time.monotonic() < self.measured + _TICK_S:
            return None
        self.measured = time.monotonic()
        try:
            found = folders.sizes(self.scratch)
        except OSError as error:
            return "output", f"a folder that cannot be looked into: {error.strerror}"
        if len(found) > folders.MAX_ENTRIES:
            return "output", f"more than {folders.MAX_ENTRIES} files"
        if sum(found) > self.limits["scratch_mb"] << 20:
            return "output", f"files of more than {self.limits['scratch_mb']} MB together"
        return None

    def _excess_of_output(self) -> tuple[str, str] | None:
        for name, content in self.output.items():
            if len(content) > self.limits["output_kb"] * 1024:
                return "output", f"more than {self.limits['output_kb']} kB on {name}"
        return None

    def _ending(self, status: int) -> tuple[str, str]:
        """The state and the reason of a task that ended by itself."""
        if self.ready != b"1":
            said = self.ready.removeprefix(b"1")
            is_unknown = self.ready != said and said.startswith(_UNKNOWN)  # after its confinement only it is started
            return "infrastructure", (NOT_RUN if is_unknown else "the task could not be set up: ") + said.decode(
                errors="replace"
            )
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGXCPU:
            return "cpu", f"more than {self.limits['cpu_s']:g} s of processor time"
        if code == -signal.SIGXFSZ:
            return "output", f"a file of more than {self.limits['file_mb']} MB"
        last_words = bytes(self.output["stderr"][-2000:]).lower()
        if code != 0 and (b"memoryerror" in last_words or b"out of memory" in last_words):
            return "memory", f"more than {self.limits['memory_mb']} MB"
        written = self._excess_of_files() if code != 0 else ""
        if written:
            return "output", written
        if code < 0:
            return "killed", f"signal {-code} ({signal.strsignal(-code)})"
        refused = code != 0 and b"blockingioerror: [errno 11]" in last_words
        return "exited", f"its limit of {self.limits['processes']} processes was reached" if refused else ""

    def _excess_of_files(self) -> str:
        largest = 0
        with contextlib.suppress(OSError):
            largest = max(folders.sizes(self.scratch), default=0)
        if largest >= self.limits["file_mb"] << 20:
            return f"a file of {self.limits['file_mb']} MB, the limit"
        place = os.statvfs(self.scratch)
        if self.is_init and (place.f_bavail == 0 or place.f_favail == 0):
            return f"the {self.limits['scratch_mb']} MB for files were full"
        return ""

    def _leave(self, report: dict[str, Any]) -> NoReturn:
        """Tell the caller, clean up, and be gone."""
        try:
            parts = {name: bytes(kept[: self.limits["output_kb"] * 1024]) for name, kept in self.output.items()}
            parts.update((f"file:{name}", content) for name, content in self._kept())
            report["parts"] = [[name, len(content)] for name, content in parts.items()]
            if not self.is_init and self.scratch:
                with contextlib.suppress(OSError):
                    folders.remove(self.scratch)
            self.channel.sendall(json.dumps(report).encode() + b"\n" + b"".join(parts.values()))
        except OSError:
            pass  # nobody is left to tell
        finally:
            os._exit(0)

    def _kept(self) -> list[tuple[str, bytes]]:
        """The plain files that the caller asked for and the task made."""
        found = []
        for name in self.keep:
            with contextlib.suppress(OSError):
                fd = os.open(os.path.join(self.scratch, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(fd, "rb") as file:
                    if stat.S_ISREG(os.fstat(fd).st_mode):
                        found.append((name, file.read(self.limits["file_mb"] << 20)))
        return found


def _cpu_s(pid: int) -> float:
    """Processor time of one process so far."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0
