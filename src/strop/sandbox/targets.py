"""What the attackers of a probe aim at: planted beforehand, looked at afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.errors import SandboxError

_ORPHANS_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Secrets, listeners, a process to be killed, an open folder, and the name that orphans are to carry."""

    folder: Path
    secret: str
    nonce: str
    port: int
    abstract: str
    victim: subprocess.Popen[bytes]

    def to_json(self) -> dict[str, Any]:
        """What the attacker is told; the secret is not."""
        return {
            "private": str(self.folder / "private"),
            "public": str(self.folder / "public"),
            "owned": str(self.folder / "owned"),
            "open_folder": str(self.folder / "open"),
            "socket": str(self.folder / "open" / "socket"),
            "abstract": self.abstract,
            "port": self.port,
            "victim": self.victim.pid,
            "nonce": self.nonce,
        }

    def damage(self) -> dict[str, bool]:
        """The attacks whose success shows from outside."""
        time.sleep(_ORPHANS_S)
        orphans = processes_named(self.nonce)
        for pid in orphans:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return {
            "signal_others": self.victim.poll() is not None,
            "write_outside": any(path.name != "socket" for path in (self.folder / "open").iterdir()),
            "orphan": bool(orphans),
        }


def processes_named(name: str) -> list[int]:
    """The processes of this machine that call themselves so (at most 15 characters)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if (folder / "comm").read_text().rstrip("\n") == name:
                    found.append(int(folder.name))
    return found


@contextlib.contextmanager
def planted(uid: int | None) -> Iterator[Targets]:
    """Targets for an attacker that runs as the user ``uid``, or as this one; gone afterwards."""
    sleeper = shutil.which("sleep") or shutil.which("sleep", path=os.defpath)
    if sleeper is None:
        raise SandboxError(
            f"the probe finds no `sleep` in PATH ({os.environ.get('PATH', '')!r}) nor in {os.defpath}",
            do="install coreutils",
        )
    folder = Path(tempfile.mkdtemp(prefix="strop-targets-"))
    secret = secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        for name, mode in (("private", 0o600), ("public", 0o644), ("owned", 0o600)):
            (folder / name).write_text(secret)
            (folder / name).chmod(mode)
        if uid is not None:
            os.chown(folder / "owned", uid, uid)
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = f"strop-{secret}"
        for address in (f"\0{abstract}", str(folder / "open" / "socket")):
            named = stack.enter_context(socket.socket(socket.AF_UNIX))
            named.bind(address)
            named.listen()
        (folder / "open" / "socket").chmod(0o777)
        victim = subprocess.Popen(
            [sleeper, "120"], stdin=subprocess.DEVNULL, env={"SECRET": secret}, cwd="/", **_as_user(uid)
        )
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        yield Targets(
            folder=folder,
            secret=secret,
            nonce=f"st{secrets.token_hex(6)}",
            port=listener.getsockname()[1],
            abstract=abstract,
            victim=victim,
        )


def _as_user(uid: int | None) -> dict[str, Any]:
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
