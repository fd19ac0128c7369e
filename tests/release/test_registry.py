"""Releases are kept by content, pointers by history, and nothing is promoted that the gate did not pass."""

import itertools
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strop.digests import digest_folder
from strop.errors import ReleaseError
from strop.evals import gate, gate_report, parse_gate_config
from strop.release import Bundle, Event, Registry
from suite_outcomes import ones, result

WHO = {"who": "Ada", "why": "it passed"}


def make_model(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "config.json").write_text("{}")
    (folder / ".hidden_lock").write_text("kept")
    return folder


def make_report(model: str, *, template: str = "t", num_right: int = 120) -> dict[str, Any]:
    """A report of 120 items of which ``num_right`` are right, where 90 % are asked."""
    candidate = {"finance": result(ones(num_right, 120), model=model, template=template)}
    config = parse_gate_config({"thresholds": {"finance.accuracy": {"min": 0.9}}})
    return gate_report(gate(candidate, None, config), candidate, None, config)


def bundle(folder: Path, *, name: str = "finance", template: str = "t") -> Bundle:
    return Bundle(name=name, folder=folder, digests={"model": digest_folder(folder), "template": template})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home" / "registry.sqlite")


def add(registry: Registry, tmp_path: Path, content: str, **report: Any) -> str:
    folder = make_model(tmp_path / "models" / content, content)
    return registry.add(bundle(folder), make_report(digest_folder(folder), **report)).digest


def test_a_release_is_copied_by_content_and_outlives_its_source(registry: Registry, tmp_path: Path) -> None:
    digest = add(registry, tmp_path, "one")
    shutil.rmtree(tmp_path / "models")
    registry.promote("finance", "production", **WHO)
    release = registry.resolve("finance@production")
    assert release.digest == digest
    assert release.bundle.folder == tmp_path / "home" / "releases" / digest
    assert (release.bundle.folder / "model.safetensors").read_text() == "one"
    assert (release.bundle.folder / ".hidden_lock").read_text() == "kept"


def test_adding_the_same_again_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "one")
    report = make_report(digest_folder(folder))
    first, second = registry.add(bundle(folder), report), registry.add(bundle(folder), report)
    assert first == second
    assert len(registry.list()) == 1


@pytest.mark.capability("LC-16")
def test_the_best_reward_does_not_promote_a_model_that_fails_its_gate(registry: Registry, tmp_path: Path) -> None:
    """The failing candidate carries the highest training reward in its metadata; only the gate's report counts."""
    folder = make_model(tmp_path / "m", "hacked")
    best = replace(bundle(folder), metadata={"mean_reward": 1.0})
    registry.add(best, make_report(digest_folder(folder), num_right=100))
    with pytest.raises(ReleaseError, match="may not be promoted: its gate says BLOCK") as caught:
        registry.promote("finance", "production", **WHO)
    assert "finance.accuracy: 0.8333" in caught.value.why
    assert registry.history("finance") == ()


@pytest.mark.parametrize("outcome", ["BLOCK", "INSUFFICIENT"])
def test_only_a_pass_is_promoted(registry: Registry, tmp_path: Path, outcome: str) -> None:
    folder = make_model(tmp_path / "m", "one")
    digest = digest_folder(folder)
    candidate = {"finance": result(ones(100, 120) if outcome == "BLOCK" else ones(50, 50), model=digest)}
    config = parse_gate_config({"thresholds": {"finance.accuracy": {"min": 0.9}}})
    registry.add(bundle(folder), gate_report(gate(candidate, None, config), candidate, None, config))
    with pytest.raises(ReleaseError, match=f"its gate says {outcome}"):
        registry.promote("finance", "production", **WHO)


def test_a_report_about_another_model_or_template_promotes_nothing(registry: Registry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "one")
    registry.add(bundle(folder), make_report("another model"))
    with pytest.raises(ReleaseError, match="its gate report is about another model"):
        registry.promote("finance", "production", **WHO)
    registry.add(bundle(folder), make_report(digest_folder(folder), template="another"))
    with pytest.raises(ReleaseError, match="its gate report is about another template"):
        registry.promote("finance", "production", **WHO)


def test_where_reports_of_a_release_disagree_a_promotion_names_the_one_that_it_rests_on(
    registry: Registry, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "m", "one")
    blocked, passed = (make_report(digest_folder(folder), num_right=right) for right in (60, 120))
    digest = registry.add(bundle(folder), blocked).digest
    assert registry.add(bundle(folder), passed).report == passed
    with pytest.raises(ReleaseError, match="2 gate reports that do not agree") as caught:
        registry.promote("finance", "production", **WHO)
    assert f"{blocked['digest'][:12]} says BLOCK, {passed['digest'][:12]} says PASS" in caught.value.why
    with pytest.raises(ReleaseError, match="may not be promoted: its gate says BLOCK"):
        registry.promote("finance", "production", report=blocked["digest"], **WHO)
    with pytest.raises(ReleaseError, match="has no report `0123`"):
        registry.promote("finance", "production", report="0123", **WHO)
    event = registry.promote("finance", "production", report=passed["digest"][:12], **WHO)
    assert event.report_digest == passed["digest"]
    assert [one.report["outcome"] for one in registry.reports("finance", digest)] == ["BLOCK", "PASS"]
    assert len(registry.list()) == 1


def test_a_promotion_rests_on_its_own_report_whatever_is_added_later(registry: Registry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "one")
    passed, stricter = make_report(digest_folder(folder)), make_report(digest_folder(folder), num_right=60)
    one = registry.add(bundle(folder), passed).digest
    registry.promote("finance", "production", **WHO)
    registry.add(bundle(folder), stricter)
    assert registry.resolve("finance@production").report["outcome"] == "PASS"
    assert registry.grounds("finance") == {"production": (one, passed["digest"])}


def test_a_rollback_rests_on_the_report_of_the_promotion_that_it_goes_back_to(
    registry: Registry, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "m", "one")
    first, second = (make_report(digest_folder(folder), num_right=right) for right in (118, 120))
    one = registry.add(bundle(folder), first).digest
    registry.promote("finance", "production", **WHO)
    registry.add(bundle(folder), second)
    registry.promote("finance", "production", digest=add(registry, tmp_path, "two"), **WHO)
    assert registry.rollback("finance", "production", **WHO).report_digest == first["digest"]
    assert registry.grounds("finance") == {"production": (one, first["digest"])}
    registry.add(bundle(folder), make_report(digest_folder(folder), num_right=60))
    registry.promote("finance", "production", digest=registry.list()[1].digest, **WHO)
    with pytest.raises(ReleaseError, match="its gate says BLOCK"):
        registry.rollback("finance", "production", **WHO)


def test_an_edited_report_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", "one")
    report = make_report(digest_folder(folder), num_right=60)
    with pytest.raises(ReleaseError, match="its content does not match its digest"):
        registry.add(bundle(folder), {**report, "outcome": "PASS"})


def test_a_folder_that_is_not_the_evaluated_model_is_refused(registry: Registry, tmp_path: Path) -> None:
    evaluated, other = make_model(tmp_path / "a", "one"), make_model(tmp_path / "b", "two")
    swapped = replace(bundle(evaluated), folder=other)
    with pytest.raises(ReleaseError, match="is not the model that was evaluated"):
        registry.add(swapped, make_report(digest_folder(evaluated)))
    named = replace(bundle(other), digests={"model": "weights of two", "template": "t"})
    read = lambda folder: "weights of " + (folder / "model.safetensors").read_text()  # noqa: E731
    assert registry.add(named, make_report("weights of two"), identify=read).digest == digest_folder(other)


def test_a_release_that_changed_on_disk_is_neither_promoted_nor_resolved(registry: Registry, tmp_path: Path) -> None:
    digest = add(registry, tmp_path, "one")
    registry.promote("finance", "production", **WHO)
    file = tmp_path / "home" / "releases" / digest / "model.safetensors"
    file.write_text("tampered")
    with pytest.raises(ReleaseError, match="is not what was added"):
        registry.resolve("finance@production")
    with pytest.raises(ReleaseError, match="is not what was added"):
        registry.promote("finance", "candidate", **WHO)
    shutil.rmtree(file.parent)
    with pytest.raises(ReleaseError, match="its folder is gone"):
        registry.resolve(digest)
    shutil.rmtree(tmp_path / "models")
    assert add(registry, tmp_path, "one") == digest
    assert registry.resolve("finance@production").digest == digest, "adding a good copy again mends it"


def test_rollback_goes_back_one_standing_promotion_at_a_time(registry: Registry, tmp_path: Path) -> None:
    one, two, three = (add(registry, tmp_path, content) for content in ("one", "two", "three"))
    for digest in (one, two, three):
        registry.promote("finance", "production", digest=digest, **WHO)
    assert registry.rollback("finance", "production", **WHO).digest == two
    assert registry.rollback("finance", "production", **WHO).digest == one
    with pytest.raises(ReleaseError, match="it points to its first release"):
        registry.rollback("finance", "production", **WHO)
    registry.promote("finance", "production", digest=three[:10], **WHO)
    assert registry.rollback("finance", "production", **WHO).digest == one
    assert registry.resolve("finance@production").digest == one
    actions = [event.action for event in registry.history("finance", "production")]
    assert actions == ["promote"] * 3 + ["rollback"] * 2 + ["promote", "rollback"]


def test_rollback_verifies_the_older_release_again(registry: Registry, tmp_path: Path) -> None:
    one = add(registry, tmp_path, "one")
    registry.promote("finance", "production", **WHO)
    add(registry, tmp_path, "two")
    registry.promote("finance", "production", **WHO)
    (tmp_path / "home" / "releases" / one / "config.json").write_text('{"changed": 1}')
    with pytest.raises(ReleaseError, match="is not what was added"):
        registry.rollback("finance", "production", **WHO)
    assert registry.aliases("finance")["production"] != one


@pytest.mark.capability("EV-63")
def test_every_promotion_is_recorded_with_who_when_why_and_on_which_report(registry: Registry, tmp_path: Path) -> None:
    one = add(registry, tmp_path, "one")
    registry.promote("finance", "production", who="Ada", why="first release")
    two = add(registry, tmp_path, "two")
    event = registry.promote("finance", "production", who="Grace", why="better at refusals")
    first, second = registry.history("finance")
    assert second == event
    assert (first.who, first.why, first.digest, first.previous) == ("Ada", "first release", one, None)
    assert (second.who, second.why, second.digest, second.previous) == ("Grace", "better at refusals", two, one)
    release = registry.resolve(two)
    assert second.report_digest == release.report["digest"]
    assert release.report["candidate"]["model"] == release.bundle.digests["model"]
    assert first.time <= second.time
    assert first.strop_version


def test_aliases_are_apart(registry: Registry, tmp_path: Path) -> None:
    one = add(registry, tmp_path, "one")
    registry.promote("finance", "production", **WHO)
    two = add(registry, tmp_path, "two")
    registry.promote("finance", "candidate", **WHO)
    assert registry.aliases("finance") == {"candidate": two, "production": one}
    with pytest.raises(ReleaseError, match="cannot be rolled back"):
        registry.rollback("finance", "candidate", **WHO)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("finance@producton", "did you mean `finance@production`"),
        ("finanse@production", "did you mean `finance@production`"),
        ("0123", "there is no release `0123`"),
        ("0" * 64, "known: finance@production"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(
    registry: Registry, tmp_path: Path, reference: str, told: str
) -> None:
    add(registry, tmp_path, "one")
    registry.promote("finance", "production", **WHO)
    with pytest.raises(ReleaseError, match=told):
        registry.resolve(reference)


def test_promotions_need_a_person_a_reason_a_known_name_and_a_change(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="there is no release `finance`"):
        registry.promote("finance", "production", **WHO)
    with pytest.raises(ReleaseError, match="nothing was ever promoted"):
        registry.rollback("finance", "production", **WHO)
    digest = add(registry, tmp_path, "one")
    with pytest.raises(ReleaseError, match="needs a person and a reason"):
        registry.promote("finance", "production", who="Ada", why=" ")
    with pytest.raises(ReleaseError, match="cannot be an alias"):
        registry.promote("finance", "a@b", **WHO)
    with pytest.raises(ReleaseError, match="there is no release `finance with digest 0123`"):
        registry.promote("finance", "production", digest="0123", **WHO)
    registry.promote("finance", "production", **WHO)
    with pytest.raises(ReleaseError, match=r"points to release \w+ already"):
        registry.promote("finance", "production", digest=digest, **WHO)
    assert len(registry.history("finance")) == 1


@pytest.mark.parametrize("table", ["releases", "events"])
@pytest.mark.parametrize("verb", ["UPDATE {0} SET name = 'x'", "DELETE FROM {0}", "REPLACE INTO {0} SELECT * FROM {0}"])
def test_no_row_is_ever_changed(registry: Registry, tmp_path: Path, table: str, verb: str) -> None:
    add(registry, tmp_path, "one")
    registry.promote("finance", "production", **WHO)
    database = sqlite3.connect(registry.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(verb.format(table))
    database.close()


def test_a_file_that_is_no_registry_is_told(tmp_path: Path) -> None:
    (tmp_path / "registry.sqlite").write_text("hello, this is no database at all, but a text of some length")
    with pytest.raises(ReleaseError, match="file is not a database"):
        Registry(tmp_path / "registry.sqlite").list()
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError, match="the release registry cannot be used"):
        Registry(tmp_path / "file" / "registry.sqlite").list()


def test_a_registry_of_a_newer_version_is_not_touched(registry: Registry) -> None:
    registry.list()
    database = sqlite3.connect(registry.path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ReleaseError, match="newer than this strop"):
        registry.list()


BUSY = """
import itertools, json, sys
from pathlib import Path
from strop.digests import digest_folder
from strop.errors import ReleaseError
from strop.release import Bundle, Event, Registry

home, models = map(Path, sys.argv[1:])
registry = Registry(home / "registry.sqlite")
for number in itertools.count():
    folder = models / ("one", "two", "three")[number % 3]
    digest = digest_folder(folder)
    bundle = Bundle(name="finance", folder=folder, digests={"model": digest, "template": "t"})
    registry.add(bundle, json.loads((models / (folder.name + ".json")).read_text()))
    if registry.aliases("finance").get("production") != digest:
        registry.promote("finance", "production", who="Ada", why="next", digest=digest)
    if number % 4 == 3:
        registry.rollback("finance", "production", who="Ada", why="back")
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_consistent_registry(tmp_path: Path) -> None:
    """A process that adds, promotes and rolls back without pause is killed with SIGKILL at random moments."""
    home, models = tmp_path / "home", tmp_path / "models"
    for content in ("one", "two", "three"):
        folder = make_model(models / content, content)
        (models / f"{content}.json").write_text(json.dumps(make_report(digest_folder(folder))))
    rng = random.Random(0)
    before: tuple[Event, ...] = ()
    for _ in range(4):
        command = [sys.executable, "-c", BUSY, str(home), str(models)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(rng.randint(1, 6)):
                assert child.stdout.readline(), "the process works until it is killed"
            time.sleep(rng.uniform(0.0, 0.03))
            child.kill()
        registry = Registry(home / "registry.sqlite")
        events = registry.history("finance")
        assert events[: len(before)] == before, "history only grows"
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert all(later.previous == earlier.digest for earlier, later in itertools.pairwise(events))
        assert registry.resolve("finance@production").digest == events[-1].digest
        with closing(sqlite3.connect(registry.path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        before = events
    assert {event.action for event in before} == {"promote", "rollback"}


def test_a_kill_before_the_row_is_written_leaves_a_folder_that_the_next_try_uses(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "m", "one")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "_write", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            registry.add(bundle(folder), make_report(digest_folder(folder)))
    assert registry.list() == ()
    assert registry.add(bundle(folder), make_report(digest_folder(folder))).digest == digest_folder(folder)
