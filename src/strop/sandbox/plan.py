"""How each tier is started on this machine: as whom, behind what, seeing which files."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.errors import SandboxError
from strop.sandbox.outcome import Tier

_SYSTEM = (
    *("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/libexec", "/usr/share"),
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/ocamlfind.conf"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PACKAGES = ("site-packages", "dist-packages")
_NOBODY = 65534
_FIRST_PRIVATE_UID, _NUM_PRIVATE_UIDS = 2_000_000_000, 100_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The stages of a zygote's start, each as ``launcher.main`` reads it, and the user that it runs as."""

    tier: Tier
    python: str
    stages: tuple[Mapping[str, Any], ...]
    uid: int | None
    """None: that of the caller."""


def make_plan(tier: Tier, *, scratch: str, readable: Sequence[str]) -> Plan:
    """How to start the tier. Raises: SandboxError if this machine cannot, and why."""
    if platform.system() != "Linux":
        raise SandboxError(f"no sandbox on {platform.system()}", why="the tiers are built on Linux's own calls")
    visible = [*(path for path in _SYSTEM if os.path.exists(path)), *readable]
    confinement = {
        "namespaces": tier == "namespaces",
        "landlock": tier == "landlock",
        "seccomp": tier != "limits",
        "scratch": scratch,
        "readable": [*visible, *_interpreter()] if tier == "landlock" else [],
        "inside_uid": _NOBODY,
        "inside_gid": _NOBODY,
    }
    uid = _private_uid() if os.getuid() == 0 else None
    start = {
        "drop": None if uid is None else {"uid": uid, "gid": uid},
        "reveal": _hidden_interpreter() if uid is not None else None,
        "exec": None,
        "confinement": confinement,
    }
    if tier != "namespaces":
        return Plan(tier=tier, python=_python(), stages=(start,), uid=uid)
    inner = {**start, "drop": None, "reveal": None}
    return Plan(tier=tier, python=_python(), stages=({**start, "exec": _bubblewrap(visible)}, inner), uid=uid)


def _python() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    return str(base) if base.exists() else os.path.realpath(sys.executable)


def _library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))


def _interpreter() -> list[str]:
    """What the interpreter reads, piece by piece, without the packages that are installed into it."""
    found = [path for path in _library().iterdir() if path.name not in (*_PACKAGES, "__pycache__", "test")]
    shared = [*Path(sys.base_prefix, "lib").glob("*.so*"), Path(_python())]
    return [str(path) for path in (*shared, *found) if not path.is_relative_to("/usr/lib")]


def _private_uid() -> int:
    """A user that nobody else is, so that its processes can be counted; ``nobody`` where users are few."""
    first, _, size = map(int, Path("/proc/self/uid_map").read_text().split()[:3])
    many = first == 0 and size >= _FIRST_PRIVATE_UID + _NUM_PRIVATE_UIDS
    return _FIRST_PRIVATE_UID + secrets.randbelow(_NUM_PRIVATE_UIDS) if many else _NOBODY


def _hidden_interpreter() -> Mapping[str, str] | None:
    """The folder above the interpreter that only root may enter, if there is one."""
    for folder in reversed(Path(sys.base_prefix).parents):
        if not folder.stat().st_mode & 0o001:
            return {"folder": sys.base_prefix, "closed": str(folder)}
    return None


def _bubblewrap(visible: Sequence[str]) -> list[str]:
    """The command that makes the namespaces, up to the program to run in them."""
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("bubblewrap is not installed", do="apt-get install bubblewrap, or your system's like")
    command = [found, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--uid", str(_NOBODY), "--gid", str(_NOBODY), "--cap-drop", "ALL"]
    command += ["--new-session", "--hostname", "sandbox"]
    for path in visible:
        if os.path.islink(path) and path.count("/") == 1:
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind", path, path]
    library = _library()
    if not library.is_relative_to("/usr/lib"):
        for folder in (str(library.parent), _python()):
            command += ["--ro-bind", folder, folder]
        for hidden in (str(library / name) for name in _PACKAGES):
            if os.path.isdir(hidden):
                command += ["--tmpfs", hidden, "--remount-ro", hidden]
    for path in _DEVICES:
        command += ["--dev-bind", path, path]
    return [*command, "--proc", "/proc", "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/", "--"]
