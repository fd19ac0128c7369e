"""Landlock: a process gives up the file system but for some folders, and what else its kernel lets it give up.

*Source*: Linux ``include/uapi/linux/landlock.h``; the calls have these numbers on every processor.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from strop.sandbox.inside import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE, _IOCTL = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_ALL_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # by version: how many bits there are
_NETWORK = 0b11  # bind and connect of TCP
_SCOPES = 0b11  # abstract sockets, signals
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def version() -> int:
    """The version of Landlock that the kernel offers. Raises: OSError if there is none."""
    return kernel.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION, what="Landlock")


@dataclass(frozen=True, kw_only=True)
class Landlock:
    """What stays open: folders to read and execute, and folders to write."""

    readable: Sequence[str]
    writable: Sequence[str]

    def enforce(self) -> None:
        """Restrict this process and all that it starts, for good. Raises: OSError."""
        offered = version()
        handled = (1 << _ALL_FILE_RIGHTS[min(offered, 5)]) - 1
        attributes = struct.pack("Q", handled)
        if offered >= 4:
            attributes += struct.pack("Q", _NETWORK)
        if offered >= 6:
            attributes += struct.pack("Q", _SCOPES)
        ruleset = kernel.syscall(_CREATE_RULESET, attributes, len(attributes), 0, what="a Landlock ruleset")
        reading = _EXECUTE | _READ_FILE | _READ_FOLDER
        for path in self.readable:
            _allow(ruleset, path, reading & handled)
        for path in _DEVICES:
            _allow(ruleset, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
        for path in self.writable:
            _allow(ruleset, path, handled & ~_IOCTL)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0, what="Landlock's restriction")
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL
            rule = struct.pack("=Qi", rights, fd)
            kernel.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0, what=f"the Landlock rule for {path}")
        finally:
            os.close(fd)
