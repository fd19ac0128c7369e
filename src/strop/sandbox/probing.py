"""What each tier withstands on this machine, found out by attacking it."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strop.digests import digest_json
from strop.errors import SandboxError
from strop.sandbox.outcome import TIERS, Limits, Tier
from strop.sandbox.runner import Runner
from strop.sandbox.targets import Targets, planted

_LIMITS = Limits(wall_s=20.0, cpu_s=10.0, memory_mb=256, processes=8)
_ATTACKS = Path(__file__).parent / "attacks.py"


@dataclass(frozen=True, kw_only=True)
class TierProbe:
    """What one tier withstood: ``attacks`` says of each by its name whether it was contained.

    Empty ``attacks``: the tier cannot be started. ``why`` tells what is wrong; it is empty if the tier is sound, that
    is if it withstood them all.
    """

    tier: Tier
    is_sound: bool
    attacks: Mapping[str, bool]
    why: str

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {**asdict(self), "attacks": dict(self.attacks)}

    @property
    def digest(self) -> str:
        """The digest of tier, attacks and what came of them."""
        return digest_json(self.to_json())


def probe(tiers: Sequence[Tier] | None = None, *, refresh: bool = False) -> tuple[TierProbe, ...]:
    """Each tier (all if None) attacked in a real task, once in this process unless ``refresh``."""
    if refresh:
        _attacked.cache_clear()
        _last.clear()
    with _lock:
        found = tuple(_attacked(tier) for tier in tiers or TIERS)
        _last.update({one.tier: one for one in found})
        return found


def probed() -> tuple[TierProbe, ...]:
    """What was attacked in this process so far, strongest tier first; attacks nothing."""
    return tuple(_last[tier] for tier in TIERS if tier in _last)


_lock = threading.Lock()
_last: dict[Tier, TierProbe] = {}


@functools.cache
def _attacked(tier: Tier) -> TierProbe:
    try:
        runner = Runner(tier)
    except SandboxError as error:
        return TierProbe(tier=tier, is_sound=False, attacks={}, why=error.why or error.what)
    try:
        with planted(runner.workers[0].uid) as targets:
            contained = dict(_contained(runner, targets))
    except SandboxError as error:
        return TierProbe(tier=tier, is_sound=False, attacks={}, why=error.what)
    finally:
        runner.close()
    escaped = [name for name, is_contained in contained.items() if not is_contained]
    why = "not contained: " + ", ".join(escaped) if escaped else ""
    return TierProbe(tier=tier, is_sound=not escaped, attacks=contained, why=why)


def _contained(runner: Runner, targets: Targets) -> Iterator[tuple[str, bool]]:
    """Each attack and whether it failed, by what the attacker says and by what is seen from here."""
    instructions = json.dumps({**targets.to_json(), "processes": _LIMITS.processes, "memory_mb": _LIMITS.memory_mb})
    program = _ATTACKS.read_bytes()
    said: dict[str, bool] = {}
    for name in ("first", "second"):  # the second looks for what the first left
        outcome = runner.begin(program, stdin=instructions.encode(), limits=_LIMITS, files={}).wait()
        if outcome.state != "exited" or outcome.exit_code != 0:
            words = outcome.stderr.decode(errors="replace").strip().splitlines()
            raise SandboxError(
                f"the {name} attacker could not run: {outcome.reason or (words or ['it was killed'])[-1]}"
            )
        for attack, has_succeeded in json.loads(outcome.stdout).items():
            said[attack] = said.get(attack, False) or has_succeeded
    seen = targets.damage()
    for attack in sorted(said | seen):
        yield attack, not (said.get(attack, False) or seen.get(attack, False))
