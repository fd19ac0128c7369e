"""A filter of system calls, written as a classic BPF program and loaded through ``prctl``.

A refused call fails with EPERM. Calls of another instruction set kill the process; calls newer than the table, and
``clone3``, whose flags no filter can read, fail with ENOSYS, so that the C library falls back to ``clone``; ``clone``
may not make namespaces, and ``prlimit`` may not reach another process: its supervisor has the task's user.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import struct

from strop.sandbox.inside import kernel
from strop.sandbox.inside.syscalls import HIGHEST_KNOWN, MACHINES

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; low halves come first
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NEW_NAMESPACES = 0x7E020000 | 0x80  # CLONE_NEW{USER,PID,NET,IPC,UTS,CGROUP,NS} and NEWTIME
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]


def program(machine: str, *, shares_files: bool = False) -> list[Instruction]:
    """The filter for a processor as (code, jump if true, jump if false, operand). Raises: KeyError if unknown.

    ``shares_files``: the task sees files of its user that are not the task's, so what an owner may do is refused.
    """
    known = MACHINES[machine]
    refused = {**known.refused, **(known.refused_in_shared_files if shares_files else {})}
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    unknown = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    built: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, known.audit_arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_GREATER, 0, 1, HIGHEST_KNOWN),  # the x32 calls of x86_64 are greater too
        unknown,
        (_JUMP_EQUAL, 0, 1, known.clone3),
        unknown,
    ]
    for number in sorted(refused.values()):
        built += [(_JUMP_EQUAL, 0, 1, number), refuse]
    built += [
        (_JUMP_EQUAL, 0, 4, known.prlimit),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 0, 1, 0),  # of this process itself
        (_RETURN, 0, 0, _ALLOW),
        refuse,
        (_JUMP_EQUAL, 0, 3, known.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        refuse,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return built


@functools.cache
def packed_program(*, shares_files: bool) -> bytes:
    """The filter for this processor as the kernel reads it. Raises: OSError."""
    if kernel.machine() not in MACHINES:
        raise OSError(errno.ENOSYS, f"no table of system calls for {kernel.machine()}")
    built = program(kernel.machine(), shares_files=shares_files)
    return b"".join(struct.pack("HBBI", *instruction) for instruction in built)


def forbid(*, shares_files: bool) -> None:
    """Put this process and all that it starts under the filter, for good. Raises: OSError."""
    packed = packed_program(shares_files=shares_files)
    code = ctypes.create_string_buffer(packed, len(packed))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(packed) // 8, ctypes.addressof(code)))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))
