"""A ledger of looks: how often each held-out suite was used to decide something, by whom, with what outcome.

Every decision that a candidate had to pass on the same held-out items tells whoever chooses the next candidate
something about them. The ledger makes that visible, and a bound on it can be set beforehand.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from strop.digests import digest_json
from strop.errors import MismatchError, OutputError
from strop.evals.results import SuiteResult
from strop.files import append_whole
from strop.types import Check, Outcome

NAME = "looks.jsonl"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One use of one suite in one decision."""

    suite: str
    suite_digest: str
    model: str
    """Digest of the candidate."""
    outcome: str
    who: str
    time: str
    """UTC, ISO 8601."""


def record_looks(path: Path | str, candidate: Mapping[str, SuiteResult], *, outcome: Outcome, who: str) -> None:
    """Append a look at every suite of ``candidate``; only ever appended, whole lines, synced. Raises: OutputError."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = "".join(
        json.dumps(asdict(_look(name, result, outcome, who, now)), sort_keys=True) + "\n"
        for name, result in candidate.items()
    )
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            append_whole(descriptor, lines.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(
            f"could not note the look in {path}",
            where=str(path),
            why=(error.strerror or str(error)).lower(),
            do="free some space, or choose another STROP_HOME; a decision without its look is not counted",
        ) from error


def _look(name: str, result: SuiteResult, outcome: Outcome, who: str, now: str) -> Look:
    digests = result.digests
    return Look(suite=name, suite_digest=digests["suite"], model=digests["model"], outcome=outcome, who=who, time=now)


def read_looks(path: Path | str) -> tuple[Look, ...]:
    """All looks so far, oldest first; none where there is no ledger yet. Raises: MismatchError for a damaged one."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # whoever appends is waited for
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise MismatchError(
            f"the ledger of looks {path} cannot be read", where=str(path), why=str(error), do="mend or move it aside"
        ) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Look(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise MismatchError(
                f"the ledger of looks {path} cannot be read",
                where=f"{path}:{number}",
                why=f"the line is none that strop wrote: {error}",
                do="mend or remove that line; a ledger that forgets would count too few looks",
            ) from error
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Evidence for a gate: how often the candidate's suites have been looked at before this decision.

    A look is one (suite, candidate) pair: deciding the same candidate again on the same items teaches nothing new, and
    counts once. With ``max_looks`` more than that many candidates on one suite are INSUFFICIENT: the set is worn out,
    and a fresh one is needed. No alpha is spent here: each decision is still made at the gate's own level. What the
    count is good for is a bound: with k looks at level alpha, the chance that at least one harmful change passes
    unseen is at most k times that of one. ``strict_alpha`` tells the level that would hold over all ``max_looks``
    together (Bonferroni: alpha / max_looks); put it into the gate's ``alpha`` if that is what is wanted.
    """

    past: tuple[Look, ...]
    candidate: Mapping[str, SuiteResult]
    max_looks: int | None = None
    alpha: float = 0.05
    name: str = "looks"

    @property
    def digest(self) -> str:
        """Identity of the counted looks and the bound."""
        return digest_json([[asdict(look) for look in self._counted()], self.max_looks])

    @property
    def strict_alpha(self) -> float | None:
        """alpha / max_looks; None without a bound."""
        return None if self.max_looks is None else self.alpha / self.max_looks

    def _counted(self) -> list[Look]:
        asked = {result.digests["suite"]: result.digests["model"] for result in self.candidate.values()}
        return [look for look in self.past if asked.get(look.suite_digest, look.model) != look.model]

    def findings(self) -> Sequence[Check]:
        """One check a suite."""
        return [self._check(name, result) for name, result in self.candidate.items()]

    def _check(self, name: str, result: SuiteResult) -> Check:
        model = result.digests["model"]
        before = [look for look in self.past if look.suite_digest == result.digests["suite"] and look.model != model]
        models = list(dict.fromkeys(look.model for look in before))
        number = len(models) + 1
        worn = self.max_looks is not None and number > self.max_looks
        bound = "" if self.max_looks is None else f" of at most {self.max_looks}"
        reason = f"this is look {number}{bound} at these held-out items"
        if before:
            reason += f" (the last for model {before[-1].model[:12]}, {before[-1].time}: {before[-1].outcome})"
        if worn:
            reason += "; whoever chose this candidate may have fitted them: draw a fresh set (fresh:NAME, or new items)"
        numbers = {
            "look": number,
            "max_looks": self.max_looks,
            "strict_alpha": self.strict_alpha,
        }
        outcome: Outcome = "INSUFFICIENT" if worn else "PASS"
        return Check(name=f"{name}: looks", outcome=outcome, reason=reason, numbers=numbers)
