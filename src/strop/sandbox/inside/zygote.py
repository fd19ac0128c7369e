"""A warm interpreter that forks for every task and does nothing else.

It never reads what a task holds: the content comes as a sealed file whose fd it hands on. So nothing of one task is in
the memory from which the next is forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import marshal
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import Any, NoReturn

from strop.sandbox.inside import kernel
from strop.sandbox.inside.seccomp import packed_program
from strop.sandbox.inside.supervisor import NAMESPACES, Supervisor
from strop.sandbox.inside.task import prepare

_PRELOADED = (
    "bisect cmath collections copy dataclasses datetime decimal fractions functools hashlib heapq itertools json math "
    "operator random re statistics string traceback typing"
)


def serve(confinement: Mapping[str, Any], control: int, owner: int) -> NoReturn:
    """Fork a task for every order on the control socket.

    Ends when the caller closes the socket or dies.
    """
    for name in _PRELOADED.split():
        importlib.import_module(name)
    if confinement["seccomp"]:
        packed_program(shares_files=not confinement["namespaces"])  # kept for every task
    prepare()
    gc.collect()
    gc.freeze()  # so that a collection in a task does not touch, and thereby copy, every page
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as the first process of a namespace it then cannot be interrupted
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    orders = socket.socket(fileno=control)
    alive, held = os.pipe()  # its end tells the supervisors that this process has ended, however it did
    poller = select.poll()
    poller.register(orders, select.POLLIN)
    poller.register(owner, select.POLLIN)
    orders.send(b"ready")
    while not any(fd == owner for fd, _ in poller.poll()):
        message, fds, _, _ = socket.recv_fds(orders, 65536, 5)
        if not message:
            break
        channel = socket.socket(fileno=fds[0])
        if _fork(channel, is_isolated=confinement["namespaces"]) == 0:
            orders.close()
            os.close(held)
            Supervisor(marshal.loads(message), confinement, channel, (alive, owner)).start(*fds[1:])
        channel.close()
        for fd in fds[1:]:
            os.close(fd)
    os.close(held)
    _end(confinement["scratch"])


def _end(scratch: str) -> NoReturn:
    """End once all supervisors have, and leave no folder behind."""
    with contextlib.suppress(OSError):
        os.wait()  # returns, by failing, when there is no child left: their endings are ignored
    with contextlib.suppress(OSError):
        os.rmdir(scratch)
    os._exit(0)


def _fork(channel: socket.socket, *, is_isolated: bool) -> int:
    try:
        return kernel.clone(NAMESPACES) if is_isolated else os.fork()
    except OSError as error:
        report = {"state": "infrastructure", "reason": str(error), "parts": []}
        channel.sendall(json.dumps(report).encode() + b"\n")
        return -1
