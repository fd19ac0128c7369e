"""The attacker of a probe: run as a task, it tries to get out and says what succeeded.

Standard library only. It reads its aims as JSON from its input and prints ``{attack: has succeeded}``. What it does is
harmless where it succeeds: it opens without writing, creates what it removes, and kills only its own victim.
"""

from __future__ import annotations

import ctypes
import functools
import json
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_NAME, _PTRACE_TRACEME, _CLONE_NEWUSER = 15, 0, 0x10000000


def read(path: str) -> bool:
    """Whether the file can be read."""
    with open(path, "rb") as file:
        return bool(file.read(1))


def connect(address: Any, family: int) -> bool:
    """Whether somebody outside answers."""
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        client.connect(address)
    return True


def send_datagram() -> bool:
    """Whether a packet can leave by some address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", 9))
    return True


def can_write(folder: str) -> bool:
    """Whether a file can be made in the folder."""
    path = os.path.join(folder, f"strop-{os.getpid()}")
    try:
        with open(path, "w"):
            pass
    except OSError:
        return False
    os.unlink(path)
    return True


def write_system() -> bool:
    """Whether some folder that all programs read can be written to."""
    return any(map(can_write, ("/", "/etc", "/usr/lib", "/dev")))


def leave_file(folder: str) -> bool:
    """Create a file outside for good; it is looked for afterwards."""
    with open(os.path.join(folder, "left"), "w"):
        return True


def remembers(nonce: str) -> bool:
    """Whether an earlier task's traces are here; called by the nonce, or another probe's would be taken for them."""
    marks = [f"{place}/{nonce}" for place in (os.getcwd(), "/tmp", "/dev/shm", "/var/tmp") if can_write(place)]
    had = any(map(os.path.exists, marks))
    for mark in marks:
        with open(mark, "a"):
            pass
        if had:
            os.unlink(mark)
    return had


def orphan(nonce: str) -> bool:
    """Leave a process behind that calls itself by the nonce; it is looked for afterwards."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _libc.prctl(_PR_SET_NAME, nonce.encode())
            os.closerange(0, 64)
            time.sleep(60)
        os._exit(0)
    os.wait()
    return False


def exceed_processes(limit: int) -> bool:
    """Whether more processes than the limit can be had at once."""
    children: list[int] = []
    try:
        while len(children) <= limit:
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            children.append(pid)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return True


def exceed_memory(limit_mb: int) -> bool:
    """Whether more memory than the limit can be had."""
    mmap.mmap(-1, limit_mb << 20).close()
    return True


def has_capabilities() -> bool:
    """Whether any capability is left, in any set of its own."""
    data = (ctypes.c_uint32 * 6)()
    if _libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data) != 0:
        return True
    return any(data)


def change_kernel() -> bool:
    """Whether a setting of the kernel could be written; nothing is written."""
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return True


def inherited() -> bool:
    """Whether there is an open fd that is not the task's."""
    return any(map(is_open, range(5, 1 << 16)))


def is_open(fd: int) -> bool:
    """Whether the fd is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def look_into_supervisor() -> bool:
    """Whether something of the process that watches this one can be opened."""
    return any(attempt(functools.partial(read, f"/proc/{os.getppid()}/{name}")) for name in ("environ", "maps", "mem"))


def change_file(path: str) -> bool:
    """Whether the mode of a file of the same user can be changed; it is not."""
    os.chmod(path, 0o600)
    return True


def limit_supervisor() -> bool:
    """Whether the process that watches this one can be given limits; harmless ones."""
    resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0))
    return True


def kill_others(victim: int) -> bool:
    """Signal a process outside; whether it died is looked at afterwards."""
    os.kill(victim, signal.SIGKILL)
    return True


def attempt(attack: Callable[[], bool]) -> bool:
    """Whether the attack succeeded; to be refused is to fail."""
    try:
        return attack()
    except (OSError, MemoryError):
        return False


def main() -> None:
    """All attacks, one after the other."""
    aims = json.loads(sys.stdin.read())
    attacks: dict[str, Callable[[], bool]] = {
        "read_private_file": lambda: read(aims["private"]),
        "read_public_file": lambda: read(aims["public"]),
        "read_passwd": lambda: read("/etc/passwd"),
        "read_environment_of_others": lambda: read(f"/proc/{aims['victim']}/environ"),
        "read_supervisor": look_into_supervisor,
        "limit_supervisor": limit_supervisor,
        "inherited_files": inherited,
        "change_file": lambda: change_file(aims["owned"]),
        "write_outside": lambda: leave_file(aims["open_folder"]),
        "write_system": write_system,
        "remember": lambda: remembers(aims["nonce"]),
        "loopback": lambda: connect(("127.0.0.1", aims["port"]), socket.AF_INET),
        "datagram": send_datagram,
        "abstract_socket": lambda: connect("\0" + aims["abstract"], socket.AF_UNIX),
        "named_socket": lambda: connect(aims["socket"], socket.AF_UNIX),
        "capabilities": has_capabilities,
        "change_kernel": change_kernel,
        "user_namespace": lambda: _libc.unshare(_CLONE_NEWUSER) == 0,
        "too_much_memory": lambda: exceed_memory(aims["memory_mb"]),
        "too_many_processes": lambda: exceed_processes(aims["processes"]),
        "orphan": lambda: orphan(aims["nonce"]),
        "trace": lambda: _libc.ptrace(_PTRACE_TRACEME, 0, 0, 0) == 0,
        "signal_others": lambda: kill_others(aims["victim"]),
    }
    print(json.dumps({name: attempt(attack) for name, attack in attacks.items()}))


if __name__ == "__main__":
    main()
