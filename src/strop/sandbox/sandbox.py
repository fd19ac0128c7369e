"""The sandbox: untrusted programs in, outcomes out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType

from strop.errors import SandboxError
from strop.sandbox.content import checked_files, checked_limits, checked_names, in_bytes, program_bytes
from strop.sandbox.inside.task import NOT_RUN
from strop.sandbox.outcome import TIERS, Limits, Outcome, SessionEnded, Tier
from strop.sandbox.probing import TierProbe, probe
from strop.sandbox.runner import Runner
from strop.sandbox.session import Session

__all__ = ["Limits", "Outcome", "Sandbox", "Session", "SessionEnded", "Tier"]

_LIMITS = Limits()
_NO_FILES: Mapping[str, bytes | str] = MappingProxyType({})


class Sandbox:
    """Runs untrusted programs, each isolated from this machine and from the others; a context manager.

    For any number of threads, in the process that opened it. ``tier`` says how it isolates, ``probe`` what of it was
    tried on this machine. ``files`` are put beside the program; names in ``keep`` are read back into
    ``Outcome.files``, and one that the program did not write is missing there. A string, as ``stdin`` or in ``files``,
    is given as UTF-8.
    """

    def __init__(self, runner: Runner, found: TierProbe) -> None:
        self._runner = runner
        self.tier = runner.tier
        self.probe = found

    @classmethod
    def open(
        cls,
        tier: Tier | None = None,
        *,
        workers: int = 2,
        allow_unsafe: bool = False,
        readable: Sequence[str] = (),
    ) -> Sandbox:
        """The given tier, or the strongest that withstands its attacks here, with ``workers`` warm processes.

        A task sees the system's programs and libraries and ``readable``, more folders or files. ``allow_unsafe`` opens
        what does not withstand: the given tier, or the strongest that starts. Raises: SandboxError, also for a tier
        that does not exist.
        """
        if workers < 1:
            raise SandboxError(f"{workers} workers", do="ask for at least one")
        if isinstance(readable, str):
            raise SandboxError(f"readable is the string {readable!r}", do="give a list of paths")
        if tier is not None and tier not in TIERS:
            near = difflib.get_close_matches(str(tier), TIERS, n=1)
            known = f"the tiers are {', '.join(TIERS)}; None takes the strongest that holds"
            raise SandboxError(f"there is no tier {tier!r}", do=(f"did you mean `{near[0]}`? " if near else "") + known)
        asked = TIERS if tier is None else (tier,)
        found: list[TierProbe] = []
        for each in asked:
            found += probe([each])
            if found[-1].is_sound:
                return cls(Runner(each, workers=workers, readable=readable), found[-1])
        running = next((each for each in found if each.attacks), None)
        if allow_unsafe and running:
            return cls(Runner(running.tier, workers=workers, readable=readable), running)
        raise SandboxError(
            "no sound sandbox on this machine" if tier is None else f"the tier {tier} is not sound on this machine",
            why="; ".join(f"{each.tier}: {each.why}" for each in found),
            do="install bubblewrap, or use a kernel with Landlock; allow_unsafe=True runs the code without protection",
        )

    def start(self, program: str, *, limits: Limits = _LIMITS, files: Mapping[str, bytes | str] = _NO_FILES) -> Session:
        """Start a Python program (standard library only) to talk to it. Raises: SandboxError."""
        return self._begin(program_bytes(program), limits, files)

    def run(
        self,
        program: str,
        *,
        stdin: bytes | str = b"",
        limits: Limits = _LIMITS,
        files: Mapping[str, bytes | str] = _NO_FILES,
        keep: Sequence[str] = (),
    ) -> Outcome:
        """Run a Python program (standard library only) to its end. Raises: SandboxError."""
        return self._begin(program_bytes(program), limits, files, stdin=stdin, keep=keep).wait()

    def command(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | str = b"",
        limits: Limits = _LIMITS,
        files: Mapping[str, bytes | str] = _NO_FILES,
        keep: Sequence[str] = (),
    ) -> Outcome:
        """Run a program of the system, found in ``/usr/bin:/bin`` or by its path, likewise.

        Raises: SandboxError, also where there is no such program.
        """
        if not argv or isinstance(argv, str):
            raise SandboxError(f"the command {argv!r}", do="give a list: the program and its arguments")
        argv = checked_names("the command", argv)
        outcome = self._begin(b"", limits, files, argv=argv, stdin=stdin, keep=keep).wait()
        if outcome.state == "infrastructure" and outcome.reason.startswith(NOT_RUN):
            raise SandboxError(
                f"the sandbox finds no program `{argv[0]}`",
                why=outcome.reason.removeprefix(NOT_RUN),
                do="name one of /usr/bin or /bin, or give its path and open the sandbox with its folder in `readable`",
            )
        return outcome

    def _begin(
        self,
        program: bytes,
        limits: Limits,
        files: Mapping[str, bytes | str],
        *,
        argv: Sequence[str] = (),
        stdin: bytes | str = b"",
        keep: Sequence[str] = (),
    ) -> Session:
        return self._runner.begin(
            program,
            argv=argv,
            stdin=in_bytes("stdin", stdin),
            limits=checked_limits(limits),
            files=checked_files(files),
            keep=checked_names("keep", keep),
        )

    def close(self) -> None:
        """Kill every task and end the workers."""
        self._runner.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
