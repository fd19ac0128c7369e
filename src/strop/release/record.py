"""The record of a decision: who, when, why, on what grounds; with all that it takes to make the decision again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.digests import digest_folder
from strop.errors import MismatchError, ReleaseError, UserError
from strop.evals.gating.recorded import repeat
from strop.evals.gating.report import check_gate_report
from strop.evals.results import SuiteResult, load_all
from strop.files import new_folder, write_json
from strop.release.bundle import Bundle, Event, Release

Results = Mapping[str, SuiteResult]
GATE_RESULTS = "gate_results"
"""Where `strop gate --output` keeps the results that it decided on."""


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """One promotion or rollback with the grounds that it rests on."""

    event: Event
    bundle: Bundle
    """What was promoted."""
    report: Mapping[str, Any]
    """The gate report that allowed it."""
    results: Path
    """The folder where the results are kept that the gate decided on."""

    def problems(self) -> list[str]:
        """Why the promotion cannot be reproduced from its record, in words; none if it can.

        The release's folder, the report and the results must be what their digests say, and the gate, asked again with
        the report's own configuration and evidence, must decide the same with the same numbers.
        """
        found = [*self._release_problems(), *self._report_problems()]
        try:
            repeat(self.report, *load_results(self.results))
        except UserError as error:
            found.append(f"the decision: {error.what}" + (f" ({error.why})" if error.why else ""))
        return found

    def _release_problems(self) -> list[str]:
        folder = self.bundle.folder
        if not folder.is_dir():
            return [f"the release: its folder {folder} is gone"]
        digest = digest_folder(folder)
        return [] if digest == self.event.digest else [f"the release: its content now has the digest {digest[:12]}"]

    def _report_problems(self) -> list[str]:
        try:
            check_gate_report(self.report)
        except ValueError as error:
            return [f"the report: {error}"]
        found = []
        if self.report["digest"] != self.event.report_digest:
            found.append("the report: it is not the one that allowed the promotion")
        if self.report["outcome"] != "PASS":
            found.append(f"the report: it says {self.report['outcome']}")
        candidate, digests = self.report["candidate"], self.bundle.digests
        others = [what for what in ("model", "template") if candidate[what] != digests.get(what)]
        found += [f"the report: it is about another {what}" for what in others]
        return found

    def told(self) -> list[str]:
        """The record in plain words, a line each."""
        event, report = self.event, self.report
        verb = {"promote": "promoted", "rollback": "rolled back"}[event.action]
        before = f", before it {event.previous[:12]}" if event.previous else ""
        lines = [
            f"{event.name}@{event.alias} points to release {event.digest[:12]}{before}",
            f"{verb} {event.time} by {event.who}: {event.why} (strop {event.strop_version})",
            f"gate: {report['outcome']} {report['created']}, decided by {report.get('who') or 'unknown'} "
            f"with strop {report.get('strop_version', 'unknown')}",
            f"report {report['digest']}",
            f"configuration {report['config_digest']}",
        ]
        lines += [f"{what} {digest}" for what, digest in self.bundle.digests.items()]
        for side in ("candidate", "baseline"):
            if report[side] is None:
                lines.append(f"{side}: none")
                continue
            lines.append(f"{side}: model {report[side]['model']}, template {report[side]['template']}")
            for name, suite in report[side]["suites"].items():
                lines.append(f"  suite {name} (version {suite.get('version', '1')}), {suite['num_items']} items")
                lines += [f"    {what} {suite[what]}" for what in ("suite", "verifier", "result")]
        lines += [f"evidence {one['name']}: {one['digest']}" for one in report.get("evidence", ())]
        return lines + [f"  {check['outcome']} {check['name']}: {check['reason']}" for check in report["checks"]]


def require_pass(release: Release) -> None:
    """Raises: ReleaseError unless the gate passed this very model with this very template."""
    report, name = release.report, release.bundle.name
    try:
        check_gate_report(report)
    except ValueError as error:
        raise ReleaseError(f"the gate report of {name} cannot be used", why=str(error)) from None
    if report["outcome"] != "PASS":
        reasons = [f"{c['name']}: {c['reason']}" for c in report["checks"] if c["outcome"] == report["outcome"]]
        raise ReleaseError(
            f"{name} ({release.digest[:12]}) may not be promoted: its gate says {report['outcome']}",
            why="; ".join(reasons[:3]),
            do="mend what failed, evaluate again, and add the result",
        )
    for what in ("model", "template"):
        evaluated, released = report["candidate"][what], release.bundle.digests.get(what)
        if evaluated != released:
            raise ReleaseError(
                f"{name} ({release.digest[:12]}) may not be promoted: its gate report is about another {what}",
                why=f"evaluated {str(evaluated)[:12]}, to be released {str(released)[:12]}",
                do="run the gate on the very model that is to be released",
            )


def keep_results(folder: Path, report: Mapping[str, Any], candidate: Results, baseline: Results | None) -> None:
    """Keep what the report decided on; what is there and whole stays.

    Raises: MismatchError if the decision does not come out of these results; OutputError.
    """
    repeat(report, candidate, baseline)
    try:
        repeat(report, *load_results(folder))
        return
    except UserError:
        pass  # not there, or torn: written again
    with new_folder(folder, replace=True) as fresh:
        write_json(fresh / "gate_report.json", dict(report))
        for side, results in (("candidate", candidate), ("baseline", baseline)):
            for result in (results or {}).values():
                result.save(fresh / side)


def load_results(folder: Path) -> tuple[Results, Results | None]:
    """Candidate and baseline of ``keep_results``, or below ``GATE_RESULTS``. Raises: MismatchError."""
    if not (folder / "candidate").is_dir():
        raise MismatchError("the results that the gate decided on were not kept", where=str(folder))
    sides = [load_all(folder / side) for side in ("candidate", "baseline")]
    return sides[0], sides[1] or None
