"""From the caller's process to the zygote's: give up root, then enter bubblewrap if there is any.

The uid is dropped first: bubblewrap started by root maps its users onto root itself, whatever they are called inside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn

from strop.sandbox.inside import kernel, zygote


def main(stage: Mapping[str, Any], fds: list[int]) -> NoReturn:
    """One stage of the start: ``{"drop", "reveal", "exec", "confinement"}``."""
    if stage["reveal"]:
        _reveal(**stage["reveal"])
    if stage["drop"]:
        os.setgroups([])
        os.setresgid(*[stage["drop"]["gid"]] * 3)
        os.setresuid(*[stage["drop"]["uid"]] * 3)
    if stage["exec"]:
        for fd in fds:
            os.set_inheritable(fd, True)
        os.execv(stage["exec"][0], [*stage["exec"], *map(str, fds)])
    os.close(fds[0])
    zygote.serve(stage["confinement"], fds[1], fds[2])


def _reveal(folder: str, closed: str) -> None:
    """Make ``folder`` visible to all where ``closed``, above it, is root's own; in a mount namespace of our own."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    held = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    kernel.mount("tmpfs", closed, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=64k,mode=755")
    os.makedirs(folder, 0o755)
    kernel.mount(f"/proc/self/fd/{held}", folder, None, kernel.MS_BIND | kernel.MS_REC)
    os.close(held)
