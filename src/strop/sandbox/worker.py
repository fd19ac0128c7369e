"""A zygote seen from the caller: started, ordered to fork tasks, restarted if it died, ended."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from strop.errors import SandboxError
from strop.sandbox.inside import MODULES
from strop.sandbox.outcome import Tier
from strop.sandbox.plan import Plan, make_plan

_START_S = 30.0
_END_S = 10.0
_ENTRY = """\
import json, os, sys, types
fds = [int(text) for text in sys.argv[1:]]
stage = json.loads(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
for name in ("strop", "strop.sandbox", "strop.sandbox.inside"):
    sys.modules[name] = types.ModuleType(name)
for name, source in stage["modules"]:
    module = sys.modules["strop.sandbox.inside." + name] = types.ModuleType("strop.sandbox.inside." + name)
    exec(compile(source, "<" + name + ">", "exec"), module.__dict__)
this = stage["stages"][int(os.environ.get("STROP_STAGE", "0"))]
os.environ["STROP_STAGE"] = "1"
module.main(this, fds)
"""


class Worker:
    """One zygote in its own folder for files. Raises: SandboxError if it cannot be started, with its own words."""

    def __init__(self, tier: Tier, readable: Sequence[str]) -> None:
        self._tier, self._readable = tier, readable
        self._lock = threading.Lock()
        self._is_closed = False
        self._start()

    def begin(self, order: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Have a task forked that owns the fds; a zygote that has died is replaced first.

        Raises: SandboxError if the worker is closed; ConnectionError if the zygote is dead and cannot be replaced.
        """
        message = marshal.dumps(dict(order))
        with self._lock:
            if self._is_closed:
                raise SandboxError("the sandbox is closed")
            try:
                socket.send_fds(self._control, [message], fds)
                return
            except OSError:
                self._stop()
            try:
                self._start()
                socket.send_fds(self._control, [message], fds)
            except (SandboxError, OSError) as error:
                raise ConnectionError(f"the zygote died and cannot be replaced: {error}") from None

    def close(self) -> None:
        """End the zygote and all of its tasks."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._stop()

    def _start(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="strop-sandbox-")
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the zygote
        try:
            plan = make_plan(self._tier, scratch=self._folder, readable=self._readable)
            self.uid = plan.uid
            if plan.uid is not None:
                os.chown(self._folder, plan.uid, plan.uid)
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs, _owner() as owner, _bundle(plan) as bundle:
                self._process = self._spawn(plan, [bundle, theirs.fileno(), owner])
        except BaseException as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._words.close()
            if isinstance(error, OSError):
                raise SandboxError(f"tier {self._tier} cannot be started", why=str(error)) from None
            raise
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        try:
            is_ready = bool(poller.poll(1000 * _START_S)) and self._control.recv(16) == b"ready"
        except ConnectionError:
            is_ready = False
        if not is_ready:
            self._words.seek(0)
            said = self._words.read(4000).decode(errors="replace").strip().splitlines()
            self._stop()
            raise SandboxError(f"tier {self._tier} did not start", why=said[-1] if said else "it said nothing")
        if self._tier == "namespaces":
            os.rmdir(self._folder)  # each task has a file system of its own; nobody could remove this one after a kill

    def _spawn(self, plan: Plan, fds: list[int]) -> subprocess.Popen[bytes]:
        command = [plan.python, "-S", "-P", "-s", "-c", _ENTRY, *map(str, fds)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            pass_fds=fds,
            cwd="/",
            env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )

    def _stop(self) -> None:
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # a forked copy of this process may hold it open
        self._control.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._words.close()


@contextlib.contextmanager
def _owner() -> Any:
    """An fd that tells the zygote when this process dies, however it dies."""
    fd = os.pidfd_open(os.getpid())
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _bundle(plan: Plan) -> Any:
    """A file in memory with what the stages need: the code of the other side and what each is to do."""
    files = resources.files("strop.sandbox.inside")
    modules = [(name, files.joinpath(f"{name}.py").read_text()) for name in MODULES]
    again = [plan.python, "-S", "-P", "-s", "-c", _ENTRY]
    fd = os.memfd_create("strop-sandbox")
    try:
        stages = [{**stage, "exec": [*stage["exec"], *again] if stage["exec"] else None} for stage in plan.stages]
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(json.dumps({"modules": modules, "stages": stages}).encode())
        yield fd
    finally:
        os.close(fd)
