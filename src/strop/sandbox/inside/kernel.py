"""The system calls that Python does not offer, through ctypes; each raises OSError."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 4, 38, 36, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE = {"x86_64": 56, "aarch64": 220}

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_the_interpreter = ctypes.PyDLL(None, use_errno=True)


def machine() -> str:
    """The name of the processor's instruction set, as ``uname`` says it."""
    return platform.machine()


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: int | bytes | None, what: str = "") -> int:
    """The system call by its number; integers are passed as longs, bytes as pointers."""
    converted = [ctypes.c_long(item) if isinstance(item, int) else ctypes.c_char_p(item) for item in arguments]
    _libc.syscall.restype = ctypes.c_long
    return _checked(_libc.syscall(ctypes.c_long(number), *converted), what or f"system call {number}")


def prctl(option: int, value: int = 0, extra: int = 0) -> int:
    """``prctl`` with up to two arguments."""
    arguments = [ctypes.c_ulong(item) for item in (value, extra, 0, 0)]
    return _checked(_libc.prctl(ctypes.c_int(option), *arguments), f"prctl {option}")


def unshare(flags: int) -> None:
    """Leave the shared namespaces that ``flags`` names."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """``mount``; ``kind`` is None for bind mounts and changes of propagation."""
    encoded = [item.encode() if item is not None else None for item in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _checked(result, f"mount of {kind or source} on {target}")


def clone(flags: int) -> int:
    """A fork into new namespaces: 0 in the child, its process number here. Only for processes with one thread."""
    number = ctypes.c_long(_CLONE[machine()])
    zeros = [ctypes.c_long(0)] * 4
    function = _libc_holding_the_interpreter.syscall
    function.restype = ctypes.c_long
    return _checked(function(number, ctypes.c_long(flags | signal.SIGCHLD), *zeros), "clone into new namespaces")


def drop_capabilities() -> None:
    """Give up every capability; with ``no_new_privs`` none can come back, whatever the bounding set says."""
    with contextlib.suppress(OSError):
        prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
