"""Every promotion can be explained and made again from its record, and a record that was tampered with is found."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strop.digests import digest_folder, digest_json
from strop.errors import MismatchError, ReleaseError
from strop.evals import Metric, SuiteResult, gate, gate_report, parse_gate_config
from strop.evals.gating.evidence import BlockingTest
from strop.evals.gating.recorded import RecordedEvidence, evidence_of, repeat
from strop.evals.people.evidence import PeopleEvidence
from strop.evals.people.rule import PeopleRule
from strop.release import Bundle, Registry
from strop.types import Check
from suite_outcomes import DIGESTS, ones, result

CONFIG = parse_gate_config(
    {"thresholds": {"finance.accuracy": {"min": 0.9}, "calls.accuracy": {"min": 0.5}}, "margins": {"calls.*": 0.2}}
)
PEOPLE = RecordedEvidence(
    name="people",
    digest="f" * 64,
    kept=(
        Check(name="people: enough", outcome="PASS", reason="200 pairs"),
        BlockingTest(name="people: preferred", p_value=0.4, told="96 of 190", numbers={"wins": 96}),
    ),
)


def made(num_right: int, model: str, name: str) -> SuiteResult:
    rated = {"accuracy": Metric(direction="higher")}
    one = result(ones(num_right, 150), name=name, metrics=rated, slices=["a", "b"] * 75, model=model)
    return replace(one, digests={**DIGESTS, "tokenizer": "k", "index": "", "model": model})


def sides(model: str, num_right: int = 145) -> tuple[dict[str, SuiteResult], dict[str, SuiteResult]]:
    candidate = {name: made(num_right, model, name) for name in ("finance", "calls")}
    return candidate, {name: made(143, "old", name) for name in ("finance", "calls")}


def decided(model: str, num_right: int = 145) -> tuple[dict[str, Any], Any, Any]:
    candidate, baseline = sides(model, num_right)
    decision = gate(candidate, baseline, CONFIG, [PEOPLE])
    return gate_report(decision, candidate, baseline, CONFIG, [PEOPLE], who="Grace"), candidate, baseline


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home" / "registry.sqlite")


def add(registry: Registry, tmp_path: Path, content: str, num_right: int = 145, *, keep: bool = True) -> str:
    folder = tmp_path / "models" / content
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(content)
    report, candidate, baseline = decided(digest_folder(folder), num_right)
    bundle = Bundle(name="finance", folder=folder, digests={"model": digest_folder(folder), "template": "t"})
    kept = {"candidate": candidate, "baseline": baseline} if keep else {}
    return registry.add(bundle, report, **kept).digest


@pytest.mark.capability("EV-63")
def test_every_promotion_is_made_again_from_its_record(registry: Registry, tmp_path: Path) -> None:
    """Two releases, two promotions, a rollback: each names who, when, why, versions, and each decision repeats."""
    first = add(registry, tmp_path, "one")
    registry.promote("finance", "production", who="Ada", why="the first")
    second = add(registry, tmp_path, "two", 148)
    registry.promote("finance", "production", who="Bob", why="better at calls")
    registry.rollback("finance", "production", who="Ada", why="customers complained")
    records = registry.records("finance", "production")
    assert [record.event.digest for record in records] == [first, second, first]
    assert [record.problems() for record in records] == [[], [], []]
    told = "\n".join(records[1].told())
    report = records[1].report
    for part in ("Bob", "better at calls", "Grace", second, report["digest"], report["config_digest"], "f" * 64):
        assert part[:12] in told
    for name, suite in report["candidate"]["suites"].items():
        assert f"suite {name} (version 1), 150 items" in told
        assert suite["result"] in told
    assert "rolled back" in "\n".join(records[2].told())
    assert registry.records("other") == ()


def test_the_order_in_which_suites_metrics_and_drifts_were_given_changes_nothing_in_the_record(tmp_path: Path) -> None:
    """Files are read back sorted by name; what was decided stood in another order, and says the same."""
    rated = {name: Metric(direction="higher", dimension="helpfulness") for name in ("z", "a")}
    goldens = {
        name: {old: {"text": f"{name} {old}"} for old in ("user", "tools", "mail")} for name in ("before", "after")
    }

    def side(when: str) -> dict[str, SuiteResult]:
        made = {}
        for name in ("finance", "calls"):
            items = [
                replace(one, samples=(replace(one.samples[0], measures={"z": 1.0, "a": 1.0}),))
                for one in result(ones(150, 150)).items
            ]
            digests = {**DIGESTS, "tokenizer": "k", "index": "", "template": when}
            lock = {"template": when, "goldens": goldens[when], "tokenizer": "k"}
            plain = result(items=items, name=name, metrics=rated)
            made[name] = replace(plain, digests=digests, surroundings={"template": lock})
        return made

    candidate, baseline = side("after"), side("before")
    config = parse_gate_config({"dimensions": ["helpfulness"], "allow_template_change": True})
    report = gate_report(gate(candidate, baseline, config), candidate, baseline, config)
    read = []
    for name, results in (("candidate", candidate), ("baseline", baseline)):
        for one in results.values():
            one.save(tmp_path / name)
        read.append({one: SuiteResult.load(tmp_path / name, one) for one in ("calls", "finance")})
    assert repeat(report, *read).outcome == report["outcome"] == "PASS"


def test_a_repeated_decision_has_the_same_checks_from_reports_and_results_read_back(tmp_path: Path) -> None:
    report, candidate, baseline = decided("m1")
    report = json.loads(json.dumps(report, sort_keys=True))
    for folder, results in (("new", candidate), ("old", baseline)):
        for one in results.values():
            one.save(tmp_path / folder)
    loaded = [
        {name: SuiteResult.load(tmp_path / folder, name) for name in ("calls", "finance")} for folder in ("new", "old")
    ]
    again = repeat(report, *loaded)
    assert again.outcome == report["outcome"] == "PASS"
    assert {check.name for check in again.checks} == {check["name"] for check in report["checks"]}
    assert "people: preferred" in {check.name for check in again.checks}
    assert evidence_of(report) == (PEOPLE,)


@pytest.mark.capability("EV-44")
def test_a_release_that_asks_for_people_needs_their_record_and_keeps_it(registry: Registry, tmp_path: Path) -> None:
    """Without a session of these two models nothing is decided; with one its digest stands in the record.

    60 wins, 20 ties, 40 losses: win rate (60 + 10) / 120 = 0.583.
    """
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").write_text("x")
    model = digest_folder(folder)
    config = CONFIG.model_copy(update={"people": PeopleRule(min_pairs=100, min_win_rate=0.5)})
    candidate, baseline = sides(model)
    session = PeopleEvidence(
        session="5" * 64,
        candidate=model,
        baseline="old",
        suite="finance",
        wins=60,
        ties=20,
        losses=40,
        num_identical=0,
        annotators=("Ada",),
        excluded=(),
        last=datetime.now(UTC).isoformat(),
    )
    bundle = Bundle(name="finance", folder=folder, digests={"model": model, "template": "t"})
    outcomes = []
    for evidence in ([], [replace(session, candidate="another")], [session]):
        decision = gate(candidate, baseline, config, evidence)
        report = gate_report(decision, candidate, baseline, config, evidence)
        outcomes.append(decision.outcome)
        registry.add(bundle, report, candidate=candidate, baseline=baseline)
        if decision.outcome != "PASS":
            with pytest.raises(ReleaseError, match="INSUFFICIENT"):
                registry.promote("finance", "production", who="Ada", why="x")
    assert outcomes == ["INSUFFICIENT", "INSUFFICIENT", "PASS"]
    registry.promote("finance", "production", who="Ada", why="people prefer it", report=report["digest"])
    (record,) = registry.records()
    assert record.problems() == []
    told = "\n".join(record.told())
    assert "win rate 0.583" in told
    assert "evidence people:" in told
    assert "5" * 64 in json.dumps(record.report["evidence"])


def test_what_was_tampered_with_is_named(registry: Registry, tmp_path: Path) -> None:
    digest = add(registry, tmp_path, "one")
    registry.promote("finance", "production", who="Ada", why="the first")
    (record,) = registry.records()

    samples = record.results / "candidate" / "samples_finance.jsonl"
    whole = samples.read_text()
    samples.write_text(whole.replace('"latency_s": 0.5', '"latency_s": 0.1'))
    assert "cannot use the results of finance" in record.problems()[0]
    samples.write_text(whole)
    assert record.problems() == []

    result(ones(150, 150), name="finance").save(record.results / "candidate")
    assert "are not those that were decided on" in record.problems()[0]

    (registry.folder / digest / "model.safetensors").write_text("other")
    assert "its content now has the digest" in record.problems()[0]

    edited = replace(record, report={**record.report, "outcome": "BLOCK"})
    assert any("does not match its digest" in problem for problem in edited.problems())


def test_a_report_whose_decision_is_not_that_of_its_results_is_refused(registry: Registry, tmp_path: Path) -> None:
    """A report that says PASS, with a digest that fits, about results that are blocked."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").write_text("x")
    report, candidate, baseline = decided(digest_folder(folder), num_right=100)
    assert report["outcome"] == "BLOCK"
    forged = {**report, "outcome": "PASS"}
    forged["digest"] = digest_json({key: value for key, value in forged.items() if key != "digest"})
    bundle = Bundle(name="finance", folder=folder, digests={"model": digest_folder(folder), "template": "t"})
    with pytest.raises(MismatchError, match="was PASS and is BLOCK when it is made again"):
        registry.add(bundle, forged, candidate=candidate, baseline=baseline)
    assert registry.list() == ()


@pytest.mark.capability("LC-16")
def test_a_model_whose_gate_failed_is_kept_with_its_record_and_not_promoted(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "bad", num_right=100)
    with pytest.raises(ReleaseError, match="its gate says BLOCK"):
        registry.promote("finance", "production", who="Ada", why="the best reward")
    assert registry.records() == ()


def test_a_promotion_without_kept_results_says_so(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "one", keep=False)
    registry.promote("finance", "production", who="Ada", why="the first")
    (record,) = registry.records()
    assert "were not kept" in record.problems()[0]
