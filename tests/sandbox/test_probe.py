"""Tiers are attacked before they are trusted; what cannot be started or does not withstand is said, never hidden."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strop.errors import SandboxError
from strop.sandbox import TIERS, Sandbox, TierProbe, probe
from strop.sandbox.probing import _attacked

SOURCES = Path(__file__).parent.parent.parent / "src"
OUTSIDE = {
    *("read_public_file", "read_passwd", "read_environment_of_others", "write_outside", "remember"),
    *("signal_others", "trace"),
}
NETWORK = {"loopback", "datagram", "abstract_socket", "named_socket"}


@pytest.fixture
def _fresh() -> Iterator[None]:
    _attacked.cache_clear()
    yield
    _attacked.cache_clear()


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder in which programs are found: it has ``sleep`` and no ``bwrap``."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "sleep").symlink_to(shutil.which("sleep") or "")
        monkeypatch.setenv("PATH", name)
        yield Path(name)


@pytest.mark.capability("TU-20")
def test_where_nothing_isolates_the_attacks_succeed() -> None:
    """The control of the probe: under limits alone each attack that a sound tier contains really works."""
    (found,) = probe(["limits"])
    assert not found.is_sound
    escaped = {name for name, is_contained in found.attacks.items() if not is_contained}
    assert escaped >= OUTSIDE | NETWORK
    assert found.why == "not contained: " + ", ".join(sorted(escaped))
    assert {"too_many_processes", "too_much_memory", "orphan"} & escaped == set()


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
def test_a_sound_tier_withstood_every_attack_and_says_which(tier: str) -> None:
    (found,) = probe([tier])  # type: ignore[list-item]
    if not found.attacks:
        pytest.skip(f"{tier} cannot be started here: {found.why}")
    (weak,) = probe(["limits"])
    assert found.attacks.keys() == weak.attacks.keys()
    assert found.is_sound == all(found.attacks.values())
    assert (found.why == "") == found.is_sound


def test_a_probe_is_plain_data_with_a_digest() -> None:
    one = TierProbe(tier="limits", is_sound=False, attacks={"orphan": False}, why="x")
    assert json.loads(json.dumps(one.to_json())) == {
        "tier": "limits",
        "is_sound": False,
        "attacks": {"orphan": False},
        "why": "x",
    }
    other = TierProbe(tier="limits", is_sound=False, attacks={"orphan": True}, why="x")
    assert one.digest != other.digest
    assert len(one.digest) == 64


def test_a_tier_is_attacked_once_unless_refreshed() -> None:
    first = probe(["limits"])[0]
    assert probe(["limits"])[0] is first
    assert probe(["limits"], refresh=True)[0] is not first


def test_the_strongest_sound_tier_is_taken() -> None:
    sound = [found.tier for found in probe() if found.is_sound]
    if not sound:
        pytest.skip("no sound tier here")
    with Sandbox.open(workers=1) as sandbox:
        assert sandbox.tier == sound[0] == sandbox.probe.tier
        assert sandbox.run("print(1)").tier == sandbox.tier


def test_limits_alone_are_refused_unless_asked_for_as_unsafe() -> None:
    with pytest.raises(SandboxError, match="not sound") as caught:
        Sandbox.open("limits")
    assert "read_passwd" in caught.value.why
    with Sandbox.open("limits", workers=1, allow_unsafe=True) as sandbox:
        assert (sandbox.tier, sandbox.probe.is_sound) == ("limits", False)
        assert sandbox.run("print(1)").stdout == b"1\n"


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("", "bubblewrap is not installed"),
        ("echo bwrap: No permissions to create new namespace >&2; exit 1", "No permissions to create new namespace"),
        ("exit 1", "it said nothing"),
    ],
)
def test_without_bubblewrap_the_tier_says_why_and_the_next_is_taken(programs: Path, script: str, why: str) -> None:
    if script:
        (programs / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "bwrap").chmod(0o755)
    (landlock,) = probe(["landlock"])
    (found,) = probe(["namespaces"])
    assert (found.is_sound, found.attacks) == (False, {})
    assert why in found.why
    if landlock.is_sound:
        with Sandbox.open(workers=1) as sandbox:
            assert sandbox.tier == "landlock"
    with pytest.raises(SandboxError, match="namespaces") as caught:
        Sandbox.open("namespaces", allow_unsafe=True)
    assert why in caught.value.why


@pytest.mark.usefixtures("_fresh")
def test_where_no_tier_is_sound_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(tier: str) -> TierProbe:
        return TierProbe(tier=tier, is_sound=False, attacks={}, why=f"{tier} is broken")  # type: ignore[arg-type]

    monkeypatch.setattr("strop.sandbox.probing._attacked", refused)
    for allow_unsafe in (False, True):
        with pytest.raises(SandboxError, match="no sound sandbox") as caught:
            Sandbox.open(allow_unsafe=allow_unsafe)
        assert caught.value.why == "; ".join(f"{tier}: {tier} is broken" for tier in TIERS)


@pytest.mark.skipif(os.getuid() != 0, reason="already an ordinary user")
def test_an_ordinary_user_has_the_same_tiers() -> None:
    python = "/usr/bin/python3"
    version = subprocess.run([python, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True)
    if version.stdout != b"True\n":
        pytest.skip(f"no {python} of version 3.11 or newer, for a user who may not read {sys.base_prefix}")
    program = "from strop.sandbox import probe\nprint([(p.tier, p.is_sound, p.why) for p in probe()])"
    found = subprocess.run(
        [python, "-c", program], user=54321, group=54321, extra_groups=[], cwd="/", capture_output=True,
        env={"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr.decode()
    mine = {each.tier: each.is_sound for each in probe()}
    assert {tier: is_sound for tier, is_sound, _ in eval(found.stdout)} == mine, found.stdout


@pytest.mark.usefixtures("_fresh")
def test_a_probe_takes_no_mark_of_another_one_for_its_own_and_leaves_none() -> None:
    def marks() -> set[str]:
        return {path.name for path in Path("/var/tmp").iterdir()}

    before = marks()
    for _ in range(2):  # with names of their own: else the second finds the first one's, which another user owns
        (found,) = probe(["limits"], refresh=True)
        assert not found.attacks["remember"]
    assert not {name for name in marks() - before if name.startswith("st")}
